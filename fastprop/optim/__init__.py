"""The optimizers of the compiled training loop, of `fastprop.nn` and of the estimators.

An optimizer has a ``name``, under which the kernels have its formula, the numbers ``hyper`` that they read, one block of
``memory``, and the number of steps done, ``t``. Schedules and stopping rules are elsewhere; scikit-learn's are in
`fastprop.estimators`.
"""

from .base import Optimizer
from .rules import SGD, Adam, AdamW, RMSprop, StepSGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "RMSprop", "StepSGD"]
