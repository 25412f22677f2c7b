"""The rows of a layer table: their numbers, and where what a network computes for a chunk of rows of X is kept.

A block of memory has, for each row of X, as many numbers as a plan has columns; a matrix that begins at a column takes the numbers
from that column times the number of rows on.
"""

import numpy as np

from ..spec import KINDS
from .activations import check_activation, check_link, copy, derivative_from_z, fused
from .jit import UnknownNumber, jit
from .linear import column_at

LINEAR, ACTIVATION, DROPOUT, LAYER_NORM, BATCH_NORM, ADD, LINK = (
    KINDS[name] for name in ("linear", "activation", "dropout", "layer_norm", "batch_norm", "add", "link")
)
INNER_KINDS = LINEAR, ACTIVATION, DROPOUT, LAYER_NORM, BATCH_NORM, ADD
# Instead of a column: value 0 is X, of which a chunk is read where it is; the logits are computed in the outputs.
X, OUTPUTS = -1, -2

# For training. Of value i: the column where it is, that of the gradient with respect to it, and that where the gradients of its
# other uses, by add rows, are summed up, or -1. What row i saves: f'(z), or mean and rstd of the rows of X.
PLAN = np.dtype([(name, np.int64) for name in ("value", "delta", "branch", "saved")])


@jit
def check_program(layers):
    """Raise an error where a row has a kind, an activation or a link that there is not."""
    last = len(layers) - 1
    for i in range(last):
        if layers[i].kind not in INNER_KINDS:
            raise UnknownNumber("kind of layer", layers[i].kind)
        if layers[i].kind == ACTIVATION:
            check_activation(layers[i].code)
    if layers[last].kind != LINK:
        raise UnknownNumber("kind of last layer", layers[last].kind)
    check_link(layers[last].code)


@jit
def last_use(layers, value):
    """The last row that adds a value to another, or -1."""
    last = -1
    for i in range(len(layers) - 1):
        if layers[i].kind == ADD and layers[i].source == value:
            last = i
    return last


@jit
def widest(layers):
    """The largest number of columns of any value but X."""
    most = 0
    for i in range(len(layers)):
        most = max(most, layers[i].n_out)
    return most


@jit
def rows_of_kind(layers, kind):
    """The numbers of the rows of a kind."""
    rows = np.empty(len(layers), np.int64)
    n = 0
    for i in range(len(layers)):
        if layers[i].kind == kind:
            rows[n] = i
            n += 1
    return rows[:n]


@jit
def fused_activation(layers, i, in_place):
    """Whether row i is an activation that the product of the row before applies."""
    if i == 0 or i >= len(layers) - 1 or not in_place or layers[i].kind != ACTIVATION or layers[i - 1].kind != LINEAR:
        return False
    return fused(layers[i].code)


@jit
def inference_plan(layers):
    """(the column of each value, the number of columns). Values go to and fro between two halves, but what add rows use."""
    n = len(layers)
    places = np.empty(n, np.int64)
    half = widest(layers)
    n_columns = 2 * half
    places[0] = X
    for i in range(n - 1):
        kind, used_again = layers[i].kind, last_use(layers, i + 1) >= 0
        changes = kind in (ACTIVATION, DROPOUT, ADD)
        if used_again:
            places[i + 1] = n_columns
            n_columns += layers[i].n_out
        elif changes and i > 0 and last_use(layers, i) < 0:
            places[i + 1] = places[i]
        else:
            places[i + 1] = half if places[i] == 0 else 0
    # The logits, and what they are in place of.
    i, place = n - 1, places[n - 1]
    places[i] = OUTPUTS
    while places[i - 1] == place:
        i -= 1
        places[i] = OUTPUTS
    return places, n_columns


@jit
def training_plan(layers, first_column, n_gathered):
    """(plan, the number of columns); X, unless it is sparse, ``n_gathered`` columns, is at ``first_column``.

    A row works in place where nobody needs what was there: no add row, and no activation whose derivative is taken from its value.
    But dropout may be in place of such a one, as its scaling can be undone.
    """
    n = len(layers)
    plan = np.zeros(n, PLAN)
    plan[0].value = first_column
    column = first_column + n_gathered
    kept = False
    for i in range(n - 1):
        kind, n_out = layers[i].kind, layers[i].n_out
        from_z = kind == ACTIVATION and derivative_from_z(layers[i].code)
        from_a = kind == ACTIVATION and not from_z
        used_once = i > 0 and last_use(layers, i) < 0
        free = used_once and not kept
        in_place = used_once if kind == DROPOUT else free and (from_a or kind == ADD)
        plan[i + 1].value = plan[i].value if in_place else column
        column += 0 if in_place else n_out
        plan[i].saved = plan[i].value if from_z and free else column
        column += n_out if from_z and not free else 2 if kind == LAYER_NORM else 0
        kept = from_a or (kind == DROPOUT and in_place and kept)
    for i in range(n):
        plan[i].branch = -1
        if i > 0 and last_use(layers, i) >= 0:
            plan[i].branch = column
            column += layers[i].n_in
    plan[n - 1].delta = column if kept else plan[n - 1].value
    column += layers[n - 1].n_out if kept else 0
    # Gradients go to and fro between two places, of which the second is seldom needed; or over a value that nobody needs any more.
    first, second = column, column + widest(layers)
    column = second
    for i in range(n - 2, -1, -1):
        kind, above = layers[i].kind, plan[i + 1].delta
        if kind == ACTIVATION:
            plan[i].delta = plan[i].saved if derivative_from_z(layers[i].code) else plan[i + 1].value
        elif kind in (DROPOUT, ADD):
            plan[i].delta = above
        elif above != first:
            plan[i].delta = first
        else:
            plan[i].delta = second
            column = second + widest(layers)
    return plan, column


@jit
def add_rows(source, y):
    """y += source for matrices that do not overlap."""
    values, more = y.reshape(y.size), source.reshape(source.size)
    for i in range(len(values)):
        values[i] += more[i]


@jit
def add_sparse_rows(x, indices, indptr, rows, y):
    """y += X[rows] for sparse X."""
    for i in range(len(rows)):
        for at in range(indptr[rows[i]], indptr[rows[i] + 1]):
            y[i, column_at(indices, at, y.shape[1])] += x[0, at]


@jit
def branch_backward(dy, is_first, branch):
    """Sum up the gradient of a value that an add row has used, from the last such row on."""
    if is_first:
        copy(dy, branch)
    else:
        add_rows(dy, branch)
