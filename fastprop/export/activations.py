"""The activations, and the elementwise links, in C: a from z, both float.

The formulas are those of `kernels.reference.activations`. None returns NaN for a finite z, and all return NaN for NaN.
"""

from ..kernels.reference.activations import LEAKY_SLOPE, SELU_ALPHA, SELU_SCALE, SOFTPLUS_THRESHOLD

# name -> an expression of z with functions of math.h
FORMULAS = {
    "relu": "z < 0.0f ? 0.0f : z",
    "sigmoid": "1.0f / (1.0f + expf(-z))",
    "tanh": "tanhf(z)",
    "leaky_relu": f"z > 0.0f ? z : {LEAKY_SLOPE!r}f * z",
    "elu": "z > 0.0f ? z : expm1f(z)",
    "selu": f"{SELU_SCALE!r}f * (z > 0.0f ? z : {SELU_ALPHA!r}f * expm1f(z))",
    "gelu": "0.5f * z * erfcf(-0.70710678f * z)",
    "silu": "z / (1.0f + expf(-z))",
    "mish": "z * tanhf(log1pf(expf(-fabsf(z))) + (z < 0.0f ? 0.0f : z))",
    "softplus": f"z > {SOFTPLUS_THRESHOLD!r}f ? z : log1pf(expf(z))",
    "exp": "expf(z)",
}
