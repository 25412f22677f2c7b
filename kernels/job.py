"""Make a `spec.Job`, the arguments of a call of the training loop, with defaults for fields that are not given."""

import numpy as np

from .checks import FLOATS, NO_INDICES, NO_LABELS
from .spec import Job, Rows

# Fields without a default must be given.
DEFAULTS = {
    "bfloat16": False,
    "loss_hyper": np.empty(0),
    "gradient_scale": 1.0,
    "value_scale": 1.0,
    "smoothing": 0.0,
    "clip": 0.0,
    "alpha": 0.0,
    "exempt": False,
    "clip_norm": 0.0,
    "rates": np.empty(0),
    "ema_decay": 0.0,
    "validation_losses": np.empty(0),
    "best": np.empty(0),
}
VALIDATION = tuple(name for name in Job._fields if name.startswith("validation_"))[: len(Rows._fields)]


def _blank(dtype):
    """The values of fields that are not given, for parameters of a dtype."""
    nothing = np.empty(0, dtype)
    rows = Rows(nothing.reshape(0, 0), NO_INDICES, NO_INDICES, NO_LABELS, nothing.reshape(0, 0), nothing)
    blocks = dict.fromkeys(("buffers", "average", "best_params", "best_buffers"), nothing)
    return DEFAULTS | blocks | dict(zip(VALIDATION, rows, strict=True))


BLANK = {dtype.char: _blank(dtype) for dtype in FLOATS.values()}


def new_job(rows, params, *, validation=None, **given):
    """A job on `Rows`; ``validation`` is the `Rows` of validation data or None, the other arguments are fields of `spec.Job`."""
    fields = BLANK[params.dtype.char] | given
    fields["params"] = params
    fields |= zip(Rows._fields, rows, strict=True)
    if validation is not None:
        fields |= zip(VALIDATION, validation, strict=True)
    return Job(**fields)


def raw_for(kernels, job):
    """The module of raw functions of `Kernels` for a job: the one for bfloat16 if the job asks for it."""
    return kernels.bfloat16 if job.bfloat16 else kernels.raw
