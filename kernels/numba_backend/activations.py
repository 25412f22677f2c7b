"""Activations and links over whole arrays; in the network they run in place over a chunk of rows that is still in the cache."""

import numpy as np

from ..codes import ACTIVATIONS, LINKS
from .jit import jit, readonly
from .vmath import exp, sigmoid, tanh

IDENTITY, RELU, SIGMOID, TANH = ACTIVATIONS.values()
SOFTMAX, EXP = LINKS["softmax"], LINKS["exp"]
BLOCK = 1024  # numbers that go through a buffer at a time: it stays in the L1 cache


@jit
def copy(source, target):
    """target = source, for contiguous arrays of one size: Numba's assignment to a slice takes four times as long."""
    read, written = source.reshape(source.size), target.reshape(target.size)
    for i in range(len(written)):
        written[i] = read[i]


@jit
def activate(activation, z):
    """z = f(z) for z (n, n_out); any activation or link but ReLU, which `matmul_bias` has applied."""
    if activation == SOFTMAX:
        softmax(z, z)
    else:
        activate_elementwise(activation, z)


@jit
def activate_elementwise(activation, z):
    """z = f(z) for z (n, n_out): sigmoid, tanh or exp; nothing for another code."""
    values = z.reshape(z.size)
    if activation == SIGMOID:
        for i in range(len(values)):
            values[i] = sigmoid(values[i])
    elif activation == TANH:
        for i in range(len(values)):
            values[i] = tanh(values[i])
    elif activation == EXP:
        for i in range(len(values)):
            values[i] = exp(values[i])


@jit
def relu(z):
    """z = max(z, 0), where `matmul_bias` has not applied it; NaN stays."""
    values, zero = z.reshape(z.size), z.dtype.type(0)
    for i in range(len(values)):
        values[i] = zero if values[i] < zero else values[i]


@jit
def activation_forward(z, activation, a, n_threads):
    """a = f(z) for z, a (n, n_units), a may be z; any activation. ``n_threads`` is ignored."""
    z = readonly(z)
    copy(z, a)
    if activation == RELU:
        relu(a)
    else:
        activate_elementwise(activation, a)


@jit
def activation_backward(da, a, activation, dz, n_threads):
    """dz = da f'(z) for da, a, dz (n, n_units), dz may be da. ``n_threads`` is ignored."""
    a, outer, result = readonly(a).reshape(a.size), readonly(da).reshape(da.size), dz.reshape(dz.size)
    block = np.empty(min(BLOCK, len(result)), dz.dtype)
    for start in range(0, len(result), BLOCK):
        stop = min(start + BLOCK, len(result))
        inner = block[: stop - start]
        copy(a[start:stop], inner)
        chain(activation, outer[start:stop], inner)
        copy(inner, result[start:stop])


@jit
def chain(activation, da, a):
    """a = da f'(z), by the derivative from a = f(z): 1, a > 0, a (1 - a), 1 - a^2; arrays that do not overlap.

    Written over a and not over da: of a loop that stores what it loaded, or zero, LLVM makes masked stores of zero, for which an
    EPYC takes 13 cycles each. And of two arrays that may be one it makes a loop over single numbers.
    """
    value, gradient = a.reshape(a.size), da.reshape(da.size)
    zero, one = a.dtype.type(0), a.dtype.type(1)
    if activation == RELU:
        for i in range(len(value)):
            above = gradient[i]
            value[i] = above if value[i] > zero else zero
    elif activation == SIGMOID:
        for i in range(len(value)):
            value[i] *= gradient[i] * (one - value[i])
    elif activation == TANH:
        for i in range(len(value)):
            value[i] = gradient[i] * (one - value[i] * value[i])
    else:
        copy(gradient, value)


@jit
def softmax(logits, probs):
    """probs = exp(logits) / their sum over the row, from logits - max, so that nothing overflows. probs may be logits."""
    n, n_classes = logits.shape
    for i in range(n):
        highest = row_max(logits, i)
        for c in range(n_classes):
            probs[i, c] = logits[i, c] - highest
    # Rows are short; the exponentials of all rows in one loop fill the vectors.
    activate_elementwise(EXP, probs)
    for i in range(n):
        total = row_sum(probs, i)
        for c in range(n_classes):
            probs[i, c] /= total


@jit
def row_max(values, i):
    """The largest of row i, NaN passed over: what is computed from a NaN of the row becomes NaN in any case."""
    highest = values.dtype.type(-np.inf)
    for c in range(values.shape[1]):
        highest = values[i, c] if values[i, c] > highest else highest
    return highest


@jit
def row_sum(values, i):
    """The sum of row i."""
    total = values.dtype.type(0)
    for c in range(values.shape[1]):
        total += values[i, c]
    return total
