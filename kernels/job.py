"""Making a `spec.Job`: the arguments of a call of the training loop, with what is not given filled in."""

import numpy as np

from .checks import FLOATS, NO_INDICES, NO_LABELS
from .spec import Job, Rows

# What has no default must be given.
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
    """What is not given, for parameters of a dtype."""
    nothing = np.empty(0, dtype)
    rows = Rows(nothing.reshape(0, 0), NO_INDICES, NO_INDICES, NO_LABELS, nothing.reshape(0, 0), nothing)
    blocks = dict.fromkeys(("buffers", "average", "best_params", "best_buffers"), nothing)
    return DEFAULTS | blocks | dict(zip(VALIDATION, rows, strict=True))


BLANK = {dtype.char: _blank(dtype) for dtype in FLOATS.values()}


def new_job(rows, params, *, validation=None, **given):
    """A job on `Rows`, with those of a validation or None; the other arguments are the fields of `spec.Job` by name."""
    fields = BLANK[params.dtype.char] | given
    fields["params"] = params
    fields |= zip(Rows._fields, rows, strict=True)
    if validation is not None:
        fields |= zip(VALIDATION, validation, strict=True)
    return Job(**fields)


def raw_for(kernels, job):
    """The module of raw functions of `Kernels` that does a job, which may ask for bfloat16."""
    return kernels.bfloat16 if job.bfloat16 else kernels.raw
