"""A network in C: a function from its inputs to its outputs, both float."""

from __future__ import annotations

from .c_file import BYTES
from .c_text import floats, integers
from .quantization import quantized
from .steps import Affine, LayerNorm, Member


def add_network(file, number: int, member: Member, is_int8: bool, limits: list[float] | None) -> int:
    """Add the function of a member, and return the bytes of its arrays on the stack.

    Values of hidden layers are in two arrays in turn; what comes behind an affine step is done in place.
    """
    affines = [step for step in member.steps if isinstance(step, Affine)]
    places = ["ab"[i % 2] for i in range(len(affines) - 1)] + ["out"]
    lines, value, layer = [], "x", -1
    for step in member.steps:
        if isinstance(step, Affine):
            layer += 1
            source, value, n = value, places[layer], step.weight.shape[1]
            limit = limits[layer] if limits else None
            make = _affine_int8 if is_int8 else _affine
            lines.append(make(file, f"{number}_{layer}", step, limit, source, value))
        elif isinstance(step, LayerNorm):
            gamma, beta = (file.floats(f"{key}_{number}_{layer}", getattr(step, key)) for key in ("gamma", "beta"))
            lines.append(file.call("layer_norm", value, n, gamma, beta, *floats(step.epsilon, "epsilon")) + ";")
        elif step.name != "identity":
            lines.append(file.call(step.name, value, n) + ";")
    arrays = [("float", place, _widest(affines, places, place)) for place in sorted(set(places[:-1]))]
    if is_int8:
        arrays.append(("int8_t", "q", max(affine.weight.shape[0] for affine in affines)))
    declared = [f"{c_type} {name}[{size}];" for c_type, name, size in arrays]
    file.function(f"void PREFIX_network_{number}(const float *x, float *out)", declared + lines)
    return sum(BYTES[c_type] * size for c_type, _, size in arrays)


def _widest(affines, places, place):
    return max(affine.weight.shape[1] for affine, own in zip(affines, places, strict=True) if own == place)


def _affine(file, label, step, limit, source, target):
    weight, bias = file.floats(f"weight_{label}", step.weight), file.floats(f"bias_{label}", step.bias)
    return file.call("affine", source, *step.weight.shape, weight, bias, target) + ";"


def _affine_int8(file, label, step, limit, source, target):
    step = quantized(step, limit)
    n_in, n_out = step.weight.shape
    limit = file.call("largest", source, n_in) if step.limit is None else floats([step.limit], "X")[0]
    weight = file.table("int8_t", f"weight_{label}", integers(step.weight.T))
    scale, bias = file.floats(f"scale_{label}", step.scale), file.floats(f"bias_{label}", step.bias)
    return file.call("affine_int8", source, limit, n_in, n_out, weight, scale, bias, "q", target) + ";"
