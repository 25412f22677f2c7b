"""The small integers by which activations, losses and optimizers are known inside every back end.

The compiled modules repeat these numbers in ``cython_backend/codes.h``; ``tests/kernels/test_codes.py`` compares the two.
"""

ACTIVATIONS = {"identity": 0, "relu": 1, "sigmoid": 2, "tanh": 3}

# What turns the last layer's logits into outputs. The first and third are activations too, with the same numbers.
LINKS = {"identity": 0, "sigmoid": 2, "softmax": 4, "exp": 5}

LOSSES = {"softmax_cross_entropy": 0, "binary_cross_entropy": 1, "squared_error": 2, "poisson": 3}

# The link whose derivative cancels the loss's, so that dlogits = output - target.
CANONICAL_LINK = {
    "softmax_cross_entropy": "softmax",
    "binary_cross_entropy": "sigmoid",
    "squared_error": "identity",
    "poisson": "exp",
}

OPTIMIZERS = {"sgd": 0, "adam": 1}

# How many arrays of the size of the parameters an optimizer remembers: sgd (velocity), adam (m, v).
N_STATE_SLOTS = {"sgd": 1, "adam": 2}

# The scalars an optimizer needs, in the order in which the raw `train_epochs` takes them as its array `hyper`.
HYPER = {"sgd": ("lr", "momentum", "nesterov"), "adam": ("lr", "beta_1", "beta_2", "epsilon")}

# Columns of the layer table, an intp array with one row a layer. Layer l's weight matrix (n_in, n_out) begins at
# params[offset] in C order, and its bias (n_out,) follows directly, so that [weight; bias] is one (n_in + 1, n_out) matrix.
# dropout is the rate in units of 2^-53, 0 for none; seed and stream are those of the masks: see `layer_table`.
LAYER_COLUMNS = ("n_in", "n_out", "activation", "offset", "dropout", "seed", "stream")
