"""Activations and links over whole arrays; in the network they run over a chunk of rows that is still in the cache.

Activations whose derivative is taken from a = f(z) are branches of `activate_elementwise` and `chain`. Each of the others is one
formula in `FORMULAS`, and nothing else: it gives a and f'(z) together, so that the training loop can keep f'(z) where z was.
Their loops are compiled once for each dtype, when this module is imported, and called through their addresses, as in ``gemm``.

Errors of the formulas, in units in the last place of the result, at most: leaky_relu 1, elu 2, selu 3, gelu 4, silu 3, mish 4,
softplus 3. Of the derivatives, in units in the last place of 1: 2.
"""

import numpy as np
from llvmlite import binding, ir
from numba import carray, cfunc, types
from numba.core import cgutils
from numba.extending import intrinsic

from ..spec import ACTIVATION_CODES, LINKS
from .jit import UnknownNumber, jit, public, readonly
from .tile import pointer_to
from .vmath import exp, exp_and_expm1, inlined, log1p_exp, normal, sigmoid, tanh

IDENTITY, RELU, SIGMOID, TANH = (ACTIVATION_CODES[name] for name in ("identity", "relu", "sigmoid", "tanh"))
SOFTMAX, EXP = LINKS["softmax"], LINKS["exp"]
KNOWN_LINKS = IDENTITY, SIGMOID, EXP, SOFTMAX
BLOCK = 1024  # numbers that go through a buffer at a time: it stays in the L1 cache

# The formulas: a = f(z) and f'(z) of one number


@inlined
def leaky_relu(z):
    slope = type(z)(0.01)
    return (z, type(z)(1)) if z > 0 else (slope * z, slope)


@inlined
def elu(z):
    e, below = exp_and_expm1(type(z)(0) if z > 0 else z)
    return z if z > 0 else below, e


SELU_SCALE, SELU_ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717


@inlined
def selu(z):
    scale, both = type(z)(SELU_SCALE), type(z)(SELU_SCALE * SELU_ALPHA)
    e, below = exp_and_expm1(type(z)(0) if z > 0 else z)
    return (scale * z if z > 0 else both * below), (scale if z > 0 else both * e)


@inlined
def gelu(z):
    cumulative, density = normal(z)
    return z * cumulative, cumulative + z * density * type(z)(0.3989422804014327)  # 1 / sqrt(2 pi)


@inlined
def silu(z):
    one = type(z)(1)
    s = sigmoid(z)
    return z * s, s * (one + z * sigmoid(-z))


@inlined
def mish(z):
    # tanh(log(1 + e^z)) = (w^2 + 2 w) / (w^2 + 2 w + 2) with w = e^z, for z > 0 divided by w^2, so that nothing overflows
    one, two = type(z)(1), type(z)(2)
    e = exp(-abs(z))
    above = one + two * e if z > 0 else e * (e + two)
    rest = two * e * e if z > 0 else two
    below = above + rest
    t = above / below
    s = (one if z > 0 else e) / (one + e)
    return z * t, t + z * s * rest * (above + below) / (below * below)


@inlined
def softplus(z):
    linear = z > 20  # PyTorch's threshold
    return (z if linear else log1p_exp(z)), (type(z)(1) if linear else sigmoid(z))


FORMULAS = {
    "leaky_relu": leaky_relu,
    "elu": elu,
    "selu": selu,
    "gelu": gelu,
    "silu": silu,
    "mish": mish,
    "softplus": softplus,
}
FROM_Z = tuple(ACTIVATION_CODES[name] for name in FORMULAS)
KNOWN = IDENTITY, RELU, SIGMOID, TANH, *FROM_Z

# What a loop does with the numbers at z: z = f(z); z = f'(z); a = f(z) and z = f'(z)
VALUE, DERIVATIVE, BOTH = 0, 1, 2


def _loop(formula):
    """The loops over n numbers with one formula."""

    def loop(what, z, a, n):
        values, results = carray(z, n), carray(a, n)
        if what == VALUE:
            for i in range(n):
                values[i] = formula(values[i])[0]
        elif what == DERIVATIVE:
            for i in range(n):
                values[i] = formula(values[i])[1]
        else:
            for i in range(n):
                results[i], values[i] = formula(values[i])

    return loop


def _signature(real):
    return types.void(types.intp, types.CPointer(real), types.CPointer(real), types.intp)


def _symbol(name, real):
    return f"fastprop_{name}_{real}"


# Kept alive by this dict: jitted code, from the cache too, finds them by the names registered here.
_COMPILED = {
    _symbol(name, real): cfunc(_signature(real), cache=True, error_model="numpy")(_loop(formula))
    for name, formula in FORMULAS.items()
    for real in (types.float32, types.float64)
}
for _name, _function in _COMPILED.items():
    binding.add_symbol(_name, _function.address)


@intrinsic
def _call_loop(typingctx, activation, what, z, a, n):
    """The loop of one of `FORMULAS`, from jitted code; nothing for another activation."""
    signature = types.void(types.intp, *_signature(z.dtype).args)

    def codegen(context, builder, signature, args):
        number, *operands = args
        kind = ir.FunctionType(ir.VoidType(), [operand.type for operand in operands])
        done = builder.append_basic_block("formula.done")
        switch = builder.switch(number, done)
        for name, code in zip(FORMULAS, FROM_Z, strict=True):
            block = builder.append_basic_block(f"formula.{name}")
            switch.add_case(number.type(code), block)
            builder.position_at_end(block)
            builder.call(cgutils.get_or_insert_function(builder.module, kind, _symbol(name, signature.args[2].dtype)), operands)
            builder.branch(done)
        builder.position_at_end(done)
        return context.get_dummy_value()

    return signature, codegen


# Numbers of activations and links


@jit
def check_activation(activation):
    if activation not in KNOWN:
        raise UnknownNumber("activation", activation)


@jit
def check_link(link):
    if link not in KNOWN_LINKS:
        raise UnknownNumber("link", link)


@jit
def derivative_from_z(activation):
    """Whether backward needs z of an activation, and not a."""
    return activation in FROM_Z


@jit
def fused(activation):
    """Whether `matmul_bias` can apply the activation."""
    return activation == RELU


@jit
def scaled_derivative(activation):
    """Whether the derivative from a needs a itself, and not only its sign."""
    return activation in (SIGMOID, TANH)


# Over arrays


@jit
def copy(source, target):
    """target = source, for contiguous arrays of one size: Numba's assignment to a slice takes four times as long."""
    read, written = source.reshape(source.size), target.reshape(target.size)
    for i in range(len(written)):
        written[i] = read[i]


@jit
def activate(activation, z):
    """z = f(z) for z (n, n_units); any activation."""
    if derivative_from_z(activation):
        _call_loop(activation, VALUE, pointer_to(z), pointer_to(z), z.size)
    elif activation == RELU:
        relu(z)
    else:
        activate_elementwise(activation, z)


@jit
def activate_and_derive(activation, z, a):
    """a = f(z), and z = f'(z), for an activation whose derivative is taken from z; arrays that do not overlap."""
    _call_loop(activation, BOTH, pointer_to(z), pointer_to(a), z.size)


@jit
def apply_link(link, z):
    """z = link(z) for z (n, n_out)."""
    if link == SOFTMAX:
        softmax(z, z)
    else:
        activate_elementwise(link, z)


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


@public
def activation_forward(z, activation, a, n_threads):
    """a = f(z) for z, a (n, n_units), a may be z; any activation. ``n_threads`` is ignored."""
    check_activation(activation)
    copy(readonly(z), a)
    activate(activation, a)


@public
def activation_backward(da, a, activation, dz, n_threads):
    """dz = da f'(z) for da, a or z, dz (n, n_units), dz may be da. ``n_threads`` is ignored."""
    check_activation(activation)
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
    """a = da f'(z), by the derivative from a = f(z), 1, a > 0, a (1 - a), 1 - a^2, or from z; arrays that do not overlap.

    Written over a and not over da: of a loop that stores what it loaded, or zero, LLVM makes masked stores of zero, for which an
    EPYC takes 13 cycles each. And of two arrays that may be one it makes a loop over single numbers.
    """
    value, gradient = a.reshape(a.size), da.reshape(da.size)
    zero, one = a.dtype.type(0), a.dtype.type(1)
    if derivative_from_z(activation):
        _call_loop(activation, DERIVATIVE, pointer_to(a), pointer_to(a), a.size)
        multiply(gradient, value)
    elif activation == RELU:
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
def multiply(factors, values):
    """values *= factors, for flat arrays that do not overlap."""
    for i in range(len(values)):
        values[i] *= factors[i]


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
