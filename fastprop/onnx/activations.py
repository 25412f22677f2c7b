"""The activations, composed of operators that ONNX has had since version 7, and that onnxruntime computes in double too.

onnxruntime has no Elu, Selu, Softplus, LeakyRelu and Erf for double; Gelu, Mish and Swish are recent. The formulas are those of
`kernels.reference.activations`. None overflows for large z.
"""

import math
from functools import cache

import numpy as np
from numpy.polynomial import chebyshev
from scipy.special import erfcx

from ..kernels.reference.activations import LEAKY_SLOPE, SELU_ALPHA, SELU_SCALE, SOFTPLUS_THRESHOLD

# The polynomial for erfc: with this degree the error of GELU is below 5e-16.
CENTRE, DEGREE = 3.0, 24


def _leaky_relu(graph, z):
    return graph.compute("Sub", graph.compute("Relu", z), graph.compute("Mul", _negative_part(graph, z), LEAKY_SLOPE))


def _elu(graph, z, scale=1.0, alpha=1.0):
    positive = graph.compute("Mul", graph.compute("Relu", z), scale)
    expm1 = graph.compute("Sub", graph.compute("Exp", graph.compute("Neg", _negative_part(graph, z))), 1)
    return graph.compute("Add", positive, graph.compute("Mul", expm1, scale * alpha))


def _selu(graph, z):
    return _elu(graph, z, SELU_SCALE, SELU_ALPHA)


def _gelu(graph, z):
    if graph.dtype is np.float64 or graph.opset < 9:
        # z Phi(z) = max(z, 0) - |z| Phi(-|z|), and Phi(-|z|) is erfc(|z| / sqrt(2)) / 2
        size = graph.compute("Abs", z)
        tail = graph.compute("Mul", graph.compute("Mul", size, 0.5), _erfc(graph, graph.compute("Mul", size, math.sqrt(0.5))))
        return graph.compute("Sub", graph.compute("Relu", z), tail)
    twice_phi = graph.compute("Add", graph.compute("Erf", graph.compute("Mul", z, math.sqrt(0.5))), 1)
    return graph.compute("Mul", graph.compute("Mul", z, 0.5), twice_phi)


def _silu(graph, z):
    return graph.compute("Mul", z, graph.compute("Sigmoid", z))


def _mish(graph, z):
    return graph.compute("Mul", z, graph.compute("Tanh", graph.compute("Add", graph.compute("Relu", z), _log1p_exp(graph, z))))


def _softplus(graph, z):
    is_curved = graph.as_number(graph.compute("Not", graph.compute("Greater", z, SOFTPLUS_THRESHOLD)))
    return graph.compute("Add", graph.compute("Relu", z), graph.compute("Mul", _log1p_exp(graph, z), is_curved))


def _log1p_exp(graph, z):
    """log(1 + exp(-|z|)): what log(1 + exp(z)) is above max(z, 0)."""
    small = graph.compute("Exp", graph.compute("Neg", graph.compute("Abs", z)))
    return graph.compute("Log", graph.compute("Add", small, 1))


def _negative_part(graph, z):
    """max(-z, 0)."""
    return graph.compute("Relu", graph.compute("Neg", z))


def _erfc(graph, x):
    """erfc(x) for x >= 0, a polynomial in t = (x - c) / (x + c) times exp(-x^2) / (1 + 2 x).

    Shepherd, Laframboise, *Chebyshev approximation of (1 + 2x) exp(x^2) erfc x in 0 <= x < infinity* (1981).
    """
    t = graph.compute("Div", graph.compute("Sub", x, CENTRE), graph.compute("Add", x, CENTRE))
    highest, second, *others = _erfc_coefficients()
    value = graph.compute("Add", graph.compute("Mul", t, highest), second)
    for coefficient in others:  # Horner's scheme
        value = graph.compute("Add", graph.compute("Mul", value, t), coefficient)
    gauss = graph.compute("Exp", graph.compute("Neg", graph.compute("Mul", x, x)))
    return graph.compute("Mul", gauss, graph.compute("Div", value, graph.compute("Add", graph.compute("Mul", x, 2), 1)))


@cache
def _erfc_coefficients():
    """Those of the polynomial, the highest power's first."""

    def scaled(t):
        x = CENTRE * (1 + t) / (1 - t)
        return (1 + 2 * x) * erfcx(x)

    return chebyshev.cheb2poly(chebyshev.chebinterpolate(scaled, DEGREE))[::-1].tolist()


def _node(kind):
    return lambda graph, z: graph.compute(kind, z)


# name -> the function that adds the nodes for z to a `Graph` and returns the name of a
FORMULAS = {
    "identity": lambda graph, z: z,
    "relu": _node("Relu"),
    "sigmoid": _node("Sigmoid"),
    "tanh": _node("Tanh"),
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "selu": _selu,
    "gelu": _gelu,
    "silu": _silu,
    "mish": _mish,
    "softplus": _softplus,
}
