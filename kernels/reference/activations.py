"""Activations, and the affine map with one behind it.

The formulas and constants are PyTorch's: Clevert, Unterthiner, Hochreiter, *ELU* (2016); Klambauer et al., *Self-normalizing neural
networks* (2017); Hendrycks and Gimpel, *GELU* (2016), the exact form; Elfwing, Uchibe, Doya, *SiLU* (2018); Misra, *Mish* (2020).
"""

import math

import numpy as np
from scipy.special import erfc, expit

from ..bfloat16 import BITS, rounded, rounded_bits, widened
from ..spec import ACTIVATIONS, LINKS, codes

LEAKY_SLOPE = 0.01
SOFTPLUS_THRESHOLD = 20.0
SELU_SCALE, SELU_ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def _softplus(z):
    return np.where(z > SOFTPLUS_THRESHOLD, z, np.log1p(np.exp(np.minimum(z, SOFTPLUS_THRESHOLD))))


def _expm1_below(z):
    """exp(z) - 1 where z < 0; elsewhere 0, so that nothing overflows."""
    return np.expm1(np.minimum(z, 0))


def _normal_cdf(z):
    return erfc(-z * math.sqrt(0.5)) / 2


def _mish_derivative(z):
    t = np.tanh(np.logaddexp(z, 0))
    return t + z * expit(z) * (1 - t * t)


# name -> (a from z, dz from da and a or z, as the specification says). ReLU masks, so that 0 times infinity does not arise.
_FORMULAS = {
    "identity": (lambda z: z, lambda da, a: da),
    "relu": (lambda z: np.maximum(z, 0), lambda da, a: np.where(a > 0, da, 0)),
    "sigmoid": (expit, lambda da, a: da * a * (1 - a)),
    "tanh": (np.tanh, lambda da, a: da * (1 - a * a)),
    "leaky_relu": (lambda z: np.where(z > 0, z, LEAKY_SLOPE * z), lambda da, z: np.where(z > 0, da, LEAKY_SLOPE * da)),
    "elu": (lambda z: np.where(z > 0, z, _expm1_below(z)), lambda da, z: da * np.exp(np.minimum(z, 0))),
    "selu": (
        lambda z: SELU_SCALE * np.where(z > 0, z, SELU_ALPHA * _expm1_below(z)),
        lambda da, z: da * SELU_SCALE * np.where(z > 0, 1, SELU_ALPHA * np.exp(np.minimum(z, 0))),
    ),
    "gelu": (
        lambda z: z * _normal_cdf(z),
        lambda da, z: da * (_normal_cdf(z) + z * np.exp(-z * z / 2) / math.sqrt(2 * math.pi)),
    ),
    "silu": (lambda z: z * expit(z), lambda da, z: da * expit(z) * (1 + z * (1 - expit(z)))),
    "mish": (lambda z: z * np.tanh(np.logaddexp(z, 0)), lambda da, z: da * _mish_derivative(z)),
    "softplus": (_softplus, lambda da, z: np.where(z > SOFTPLUS_THRESHOLD, da, da * expit(z))),
}
_LINKS = {"identity": _FORMULAS["identity"][0], "sigmoid": expit, "exp": np.exp, "softmax": softmax}
_BY_CODE = {code: _FORMULAS[name] for name, code in codes(ACTIVATIONS).items()}
# Numbers of activations whose derivative is taken from z
FROM_Z = {a.code for a in ACTIVATIONS.values() if a.derivative == "z"}
# Numbers of activations that are part of a product
FUSED = {ACTIVATIONS["identity"].code, ACTIVATIONS["relu"].code}
_LINK_BY_CODE = {code: _LINKS[name] for name, code in LINKS.items()}


def formula(code):
    """(a from z, dz from da and a or z) of the activation with a number."""
    try:
        return _BY_CODE[int(code)]
    except KeyError:
        raise ValueError(f"there is no activation number {code}") from None


def apply_link(code, logits):
    """What the link with a number makes of logits."""
    try:
        return _LINK_BY_CODE[int(code)](logits)
    except KeyError:
        raise ValueError(f"there is no link number {code}") from None


def linear_forward(x, weight, bias, activation, a, n_threads):
    """a = f(x @ weight + bias).

    x and a may be bits of bfloat16, as uint16. Weights are then float32 and rounded for the product.
    """
    if x.dtype == BITS:
        x, weight = widened(x), rounded(weight)
        z = x @ weight + bias
        a[...] = rounded_bits(formula(activation)[0](z if activation in FUSED else rounded(z)))
        return
    a[...] = formula(activation)[0](x @ weight + bias)


def linear_backward(da, x, weight, a, activation, accumulate, dx, dweight, dbias, n_threads):
    """dz = da * f'(z); dx = dz @ weight.T, dweight (+)= x.T @ dz, dbias (+)= sum of dz over the rows.

    ``a`` is a, or z for an activation whose derivative the specification takes from z. da, x, a and dx may be bits of bfloat16, as
    in `linear_forward`; dz is then rounded too.
    """
    bfloat16 = da.dtype == BITS
    if bfloat16:
        da, x, a, weight = widened(da), widened(x), widened(a), rounded(weight)
    dz = formula(activation)[1](da, a)
    if bfloat16:
        dz = rounded(dz)
    if dx.size:
        dx[...] = rounded_bits(dz @ weight.T) if bfloat16 else dz @ weight.T
    dweight[...] = x.T @ dz + (dweight if accumulate else 0)
    dbias[...] = dz.sum(axis=0) + (dbias if accumulate else 0)


def activation_forward(z, activation, a, n_threads):
    """a = f(z)."""
    a[...] = formula(activation)[0](z)


def activation_backward(da, a, activation, dz, n_threads):
    """dz = da * f'(z), where ``a`` is a, or z for an activation whose derivative the specification takes from z."""
    dz[...] = formula(activation)[1](da, a)
