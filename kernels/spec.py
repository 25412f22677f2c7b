"""The only list of kernels, activations, links, losses, optimizers, kinds of layers, and arguments of the training loop.

Every back end looks up names here, or is compiled with the files that `generate` writes for C and Cython; a test compares them. A
back end raises an error for a number that it does not know. CONTRIBUTING.md explains how to add one of each.
"""

from typing import Any, Literal, NamedTuple

import numpy as np


class Activation(NamedTuple):
    """An activation a = f(z): its number, and whether f' is computed from a or from z."""

    code: int
    derivative: Literal["a", "z"]


class Loss(NamedTuple):
    """A loss of logits: its number, its link, its parameters with defaults, and which numbers its targets may be.

    With ``per_output`` each output has its own parameters.
    """

    code: int
    link: str
    hyper: dict[str, float] = {}  # noqa: RUF012 (never written)
    per_output: bool = False
    targets: Literal["any", "positive", "not negative"] = "any"


class Optimizer(NamedTuple):
    """An optimizer: its number, how many arrays of the size of the parameters it remembers, and its hyperparameters with defaults.

    Every optimizer also has the hyperparameters of `COMMON_HYPER`.
    """

    code: int
    n_slots: int
    hyper: dict[str, float]


ACTIVATIONS = {
    "identity": Activation(0, "a"),
    "relu": Activation(1, "a"),
    "sigmoid": Activation(2, "a"),
    "tanh": Activation(3, "a"),
    "leaky_relu": Activation(4, "z"),
    "elu": Activation(5, "z"),
    "selu": Activation(6, "z"),
    "gelu": Activation(7, "z"),
    "silu": Activation(8, "z"),
    "mish": Activation(9, "z"),
    "softplus": Activation(10, "z"),
}

# Links turn the last layer's logits into outputs. Identity and sigmoid are also activations, with the same numbers; the numbers of
# the others are beyond all activations.
LINKS = {"identity": 0, "sigmoid": 2, "exp": 101, "softmax": 102}

LOSSES = {
    "softmax_cross_entropy": Loss(0, "softmax"),
    "binary_cross_entropy": Loss(1, "sigmoid"),
    "squared_error": Loss(2, "identity"),
    "poisson": Loss(3, "exp", targets="not negative"),
    "absolute_error": Loss(4, "identity"),
    "huber": Loss(5, "identity", {"delta": 1.0}),
    "quantile": Loss(6, "identity", {"quantile": 0.5}, per_output=True),
    "gamma": Loss(7, "exp", targets="positive"),
    "tweedie": Loss(8, "exp", {"power": 1.5}, targets="not negative"),
}
# The losses with probabilities as targets, to which label smoothing applies.
CROSS_ENTROPIES = "softmax_cross_entropy", "binary_cross_entropy"

# g = c (gradient) + l2 p for every parameter p, where c is the factor of clipping; p is multiplied by 1 - lr weight_decay before
# the step.
COMMON_HYPER = {"lr": 1e-3, "l2": 0.0, "weight_decay": 0.0}

# The kernels' array `hyper` has the common hyperparameters, then these, in this order. The defaults are scikit-learn's if it has
# the optimizer, else PyTorch's.
OPTIMIZERS = {
    "sgd": Optimizer(0, 1, {"momentum": 0.9, "nesterov": True}),
    "adam": Optimizer(1, 2, {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8}),
    "momentum": Optimizer(2, 1, {"momentum": 0.9, "nesterov": False}),
    "rmsprop": Optimizer(3, 1, {"alpha": 0.99, "epsilon": 1e-8}),
    "adamw": Optimizer(4, 2, {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8}),
}

# The kinds of rows of a layer table. Row i takes value number i, (n, n_in), to value number i + 1, (n, n_out). Value 0 is X.
#   linear       y = x @ weight + bias; at `offset` the weight (n_in, n_out) in C order, then the bias: one (n_in + 1, n_out) matrix
#   activation   y = f(x), f by `code`
#   dropout      in training y = x / (1 - rate) where kept: the masks of update s, counted from 1, are those of (seed, stream + s)
#   layer_norm   every row normalised; at `offset` gamma (n,), then beta (n,); `epsilon`
#   batch_norm   every column normalised, in training over the batch; at `buffers` the running mean (n,), then the running variance:
#                after a batch each is (1 - momentum) times its last value plus momentum times that of the batch
#   add          y = x + value number `source`
#   link         the last row: outputs = link(logits), by `code`; in training it belongs to the loss
KINDS = {"linear": 0, "activation": 1, "dropout": 2, "layer_norm": 3, "batch_norm": 4, "add": 5, "link": 6}

# Limits for linear rows that multiply 8-bit integers in a quantized prediction: with fewer inputs or outputs this saves no time,
# and with more inputs sums of products would not fit into 32 bits.
INT8_FEWEST_IN, INT8_FEWEST_OUT, INT8_MOST_IN = 32, 16, 2**16

# What a column of encoded rows holds, and the values that it stands for in the wide matrix, in columns from `offset` on. There are
# no gaps between the values of different columns.
#   plain             x: the number itself
#   piecewise_linear  x = number of the bin + how far through the bin, in [0, n]: n values clip(x - k, 0, 1) - 1/2
#   one_hot           x = number of the category: n values, 1 where x == k and 0 elsewhere; all 0 if x is another number
ENCODINGS = {"plain": 0, "piecewise_linear": 1, "one_hot": 2}

# The fields of a column, 8 bytes each: a C struct.
COLUMN_FIELDS = {"kind": np.int64, "offset": np.int64, "n": np.int64}
COLUMN = np.dtype(list(COLUMN_FIELDS.items()))

# The fields of a row, 8 bytes each: a C struct. Fields that a kind does not use are 0.
LAYER_FIELDS = {
    "kind": np.int64,
    "n_in": np.int64,
    "n_out": np.int64,
    "offset": np.int64,
    "code": np.int64,
    "source": np.int64,
    "buffers": np.int64,
    "seed": np.int64,
    "stream": np.int64,
    "rate": np.float64,
    "epsilon": np.float64,
    "momentum": np.float64,
}
LAYER = np.dtype(list(LAYER_FIELDS.items()))


class Rows(NamedTuple):
    """Rows of data with their targets, in the form of the raw kernels; an empty array means "not given".

    Dense X is ``x`` (n, n_in); sparse X is ``x`` (1, n_entries) with ``indices`` and ``indptr`` of its CSR form; encoded X is ``x``
    (n, n_columns) with a table of `COLUMN` (n_columns,) as ``indices``, and no ``indptr``. One of ``labels`` (n,) and ``targets``
    (n, n_out) is empty; ``sample_weight`` is (n,) or empty.
    """

    x: Any
    indices: Any
    indptr: Any
    labels: Any
    targets: Any
    sample_weight: Any


class Job(NamedTuple):
    """A call of the training loop: what `train_epochs` of a back end reads and writes. See `reference.train_epochs`."""

    # Data: as in `Rows`
    x: Any
    indices: Any
    indptr: Any
    labels: Any
    targets: Any
    sample_weight: Any
    # (n_epochs, n_visits) intp: the rows of each epoch, in their order
    orders: Any
    # Network: the layer table, its blocks of parameters and running statistics; both are updated
    layers: Any
    params: Any
    buffers: Any
    # Whether values between layers, and the factors of their products, are bfloat16. Then the parameters are float32, and dense
    # rows are the bits of bfloat16 in uint16.
    bfloat16: bool
    # Loss: number; its parameters, float64, `n_loss_hyper` of them; factors of its gradient and of its reported value; label
    # smoothing; clipping of the probabilities for the reported loss; L2 term
    loss: int
    loss_hyper: Any
    gradient_scale: float
    value_scale: float
    smoothing: float
    clip: float
    alpha: float
    # Optimizer: number, hyperparameters (common ones first), factors of lr for each step of the call (or empty), whether
    # biases and norms are exempt from weight decay, largest norm of the gradient (0: any), memory, steps done before and after
    # (1,); the decay of the exponential moving average of the parameters, and this average, updated (or empty)
    optimizer: int
    hyper: Any
    rates: Any
    exempt: bool
    clip_norm: float
    state: Any
    step: Any
    ema_decay: float
    average: Any
    batch_size: int
    # Written: the mean loss of each epoch, float64
    losses: Any
    # Validation, or empty: rows as in `Rows`; the loss after each epoch, float64; [the best loss so far, the step where it was];
    # the parameters, or their average where there is one, and running statistics there
    validation_x: Any
    validation_indices: Any
    validation_indptr: Any
    validation_labels: Any
    validation_targets: Any
    validation_weight: Any
    validation_losses: Any
    best: Any
    best_params: Any
    best_buffers: Any


# The raw functions of a back end, with their parameters. The docstrings of `reference` say what they mean.
RAW = {
    "linear_forward": "x weight bias activation a n_threads",
    "linear_backward": "da x weight a activation accumulate dx dweight dbias n_threads",
    "activation_forward": "z activation a n_threads",
    "activation_backward": "da a activation dz n_threads",
    "dropout": "x key threshold scale y n_threads",
    "layer_norm_forward": "x gamma beta epsilon y mean rstd n_threads",
    "layer_norm_backward": "dy x gamma mean rstd accumulate dx dgamma dbeta n_threads",
    "batch_norm_forward": "x gamma beta epsilon y mean rstd n_threads",
    "batch_norm_backward": "dy x gamma mean rstd accumulate dx dgamma dbeta n_threads",
    "batch_norm_inference": "x gamma beta running_mean running_var epsilon y n_threads",
    "softmax_forward": "logits probs n_threads",
    "softmax_backward": "dprobs probs dlogits n_threads",
    "loss_forward": "loss loss_hyper logits labels targets sample_weight outputs n_threads",
    "loss_backward": "loss loss_hyper outputs labels targets sample_weight scale dlogits n_threads",
    "update": "optimizer params grad slot_1 slot_2 hyper step n_threads",
    "network_forward": "x indices indptr layers params buffers outputs n_threads",
    "bind_forward": "x layers params buffers bfloat16 codes scales outputs n_threads",
    "network_loss_gradient": "x indices indptr labels targets sample_weight layers params loss loss_hyper alpha clip gradient "
    "n_threads",
    "train_epochs": "job n_threads",
    "train_jobs": "jobs n_threads",
    "batch_sums": "job first_row sums n_threads",
    "apply_sums": "job sums n_threads",
    "all_finite": "x n_threads",
    "shuffle_orders": "rows random_state orders",
}


def codes(table):
    """The numbers in a table of the specification: a dict name -> number."""
    return {name: entry if isinstance(entry, int) else entry.code for name, entry in table.items()}


ACTIVATION_CODES, LOSS_CODES, OPTIMIZER_CODES = codes(ACTIVATIONS), codes(LOSSES), codes(OPTIMIZERS)


def hyper_names(optimizer):
    """The names of an optimizer's hyperparameters in the order of the kernels' array `hyper`."""
    return *COMMON_HYPER, *OPTIMIZERS[optimizer].hyper


def n_loss_hyper(loss, n_out):
    """The length of the kernels' array `loss_hyper` for a `Loss` of n_out outputs."""
    return len(loss.hyper) * (n_out if loss.per_output else 1)


# The table of compiled kernels, one for each real type, in C. Arrays are C-contiguous; one that is not given is NULL. Functions
# that allocate memory return 0, or -1 if that fails; then nothing is changed.
C_KERNELS = """
int linear_forward(const void *x, const void *weight, const void *bias, ptrdiff_t rows, ptrdiff_t n_in, ptrdiff_t n_out,
    int activation, void *a, int n_threads)
int linear_backward(const void *da, const void *x, const void *weight, const void *a, ptrdiff_t rows, ptrdiff_t n_in,
    ptrdiff_t n_out, int activation, int accumulate, void *dx, void *dweight, void *dbias, int n_threads)
void softmax_forward(const void *logits, ptrdiff_t rows, ptrdiff_t n_out, void *probs, int n_threads)
void softmax_backward(const void *dprobs, const void *probs, ptrdiff_t rows, ptrdiff_t n_out, void *dlogits, int n_threads)
int loss_forward(int loss, const double *loss_hyper, const void *logits, const ptrdiff_t *labels, const void *targets,
    const void *sample_weight, ptrdiff_t rows, ptrdiff_t n_out, void *outputs, double *loss_sum, int n_threads)
void loss_backward(int loss, const double *loss_hyper, const void *outputs, const ptrdiff_t *labels, const void *targets,
    const void *sample_weight, double scale, ptrdiff_t rows, ptrdiff_t n_out, void *dlogits, int n_threads)
void activation_forward(const void *z, ptrdiff_t n, int activation, void *a, int n_threads)
void activation_backward(const void *da, const void *a, ptrdiff_t n, int activation, void *dz, int n_threads)
void dropout(const void *x, ptrdiff_t n, uint64_t key, uint32_t threshold, double scale, void *y, int n_threads)
int all_finite(const void *x, ptrdiff_t n, int n_threads)
void layer_norm_forward(const void *x, const void *gamma, const void *beta, ptrdiff_t rows, ptrdiff_t n_units,
    double epsilon, void *y, void *mean, void *rstd, int n_threads)
void layer_norm_backward(const void *dy, const void *x, const void *gamma, const void *mean, const void *rstd,
    ptrdiff_t rows, ptrdiff_t n_units, int accumulate, void *dx, void *dgamma, void *dbeta, int n_threads)
void batch_norm_forward(const void *x, const void *gamma, const void *beta, ptrdiff_t rows, ptrdiff_t n_units,
    double epsilon, void *y, void *mean, void *rstd, int n_threads)
int batch_norm_backward(const void *dy, const void *x, const void *gamma, const void *mean, const void *rstd, ptrdiff_t rows,
    ptrdiff_t n_units, int accumulate, void *dx, void *dgamma, void *dbeta, int n_threads)
void batch_norm_inference(const void *x, const void *gamma, const void *beta, const void *running_mean,
    const void *running_var, ptrdiff_t rows, ptrdiff_t n_units, double epsilon, void *y, int n_threads)
void update(int optimizer, void *params, const void *grad, void *slot_1, void *slot_2, const double *hyper, ptrdiff_t step,
    ptrdiff_t n, int n_threads)
ptrdiff_t packed_bytes(const struct layer *layers, ptrdiff_t n_layers, int int8)
void pack(const struct layer *layers, ptrdiff_t n_layers, const void *params, const int8_t *codes, const float *scales,
    void *panels)
int network_forward(const struct rows *x, const struct layer *layers, ptrdiff_t n_layers, const void *params,
    const void *buffers, const void *panels, int int8, void *outputs, int n_threads)
int network_loss_gradient(const struct rows *data, const struct layer *layers, ptrdiff_t n_layers, const void *params,
    int loss, const double *loss_hyper, double alpha, double clip, void *gradient, double *loss_mean, int n_threads)
int train_epochs(const struct job *job, int n_threads)
int batch_sums(const struct job *job, ptrdiff_t first_row, void *sums, int n_threads)
int apply_sums(const struct job *job, const void *sums, int n_threads)
"""

# What api.pxi offers to Cython modules of users, with the comments that it gets.
C_API = {
    "linear_forward": "a = f(x @ weight + bias)",
    "linear_backward": "dz = da * f'(z); dx = dz @ weight.T (or dx NULL), dweight (+)= x.T @ dz, dbias (+)= column sums of dz; a\n"
    "is the output of IDENTITY, RELU, SIGMOID and TANH; for the other activations pass z = x @ weight + bias there",
    "activation_forward": "a = f(z) for n numbers; a may be z",
    "activation_backward": "dz = da * f'(z) for n numbers; a as for linear_backward; dz may be da",
    "softmax_forward": "",
    "softmax_backward": "",
    "loss_forward": "outputs = link(logits), may be the logits or NULL; labels (rows,) or dense targets (rows, n_out), the other\n"
    "NULL; loss_hyper has the parameters of the loss, NULL where there are none",
    "loss_backward": "dlogits = scale * the gradient, outputs - targets for many losses; may be the outputs",
    "update": "one step on n parameters in place; hyper is lr, l2, weight_decay, then the optimizer's own; slot_2 is NULL for an\n"
    "optimizer with one slot; step counts from 1",
}

# `Rows` as the compiled kernels take them: with the number n of rows, and wide = 1 if indices and indptr are int64. `columns` is
# NULL unless X is encoded; real = 1 if dense x has the type of the parameters although values between layers have another.
C_ROWS = """
const void *x
int real
const void *indices
const void *indptr
int wide
const struct column *columns
ptrdiff_t n_columns
ptrdiff_t n
const ptrdiff_t *labels
const void *targets
const void *sample_weight
"""

# A `Job` as the compiled kernels take it.
C_JOB = """
struct rows data
const ptrdiff_t *orders
ptrdiff_t n_epochs
ptrdiff_t n_visits
const struct layer *layers
ptrdiff_t n_layers
void *params
void *buffers
int loss
const double *loss_hyper
double gradient_scale
double value_scale
double smoothing
double clip
double alpha
int optimizer
const double *hyper
const double *rates
int exempt
double clip_norm
void *state
ptrdiff_t *step
double ema_decay
void *average
ptrdiff_t batch_size
double *losses
struct rows validation
double *validation_losses
double *best
void *best_params
void *best_buffers
"""
