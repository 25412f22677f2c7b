"""The optimizers: one family under the compiled training loop, `fastprop.nn` and the estimators.

Each has its formula in the kernels under its `name`, the ``hyper`` that they read, one block of ``memory``, and the number of steps
done, ``t``. Schedules and stopping rules are not in here; scikit-learn's are in `fastprop.estimators`.
"""

from .base import Optimizer
from .rules import SGD, Adam, AdamW, RMSprop, StepSGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "RMSprop", "StepSGD"]
