"""A network in C: a function from inputs to outputs, both float."""

from __future__ import annotations

import numpy as np

from .c_file import BYTES
from .c_text import floats, integers
from .quantization import quantized
from .steps import Member


def add_network(file, number: int, member: Member, is_int8: bool, limits: list[float] | None) -> int:
    """Add the function of a member, and return the bytes of its arrays on the stack.

    Hidden layers use two arrays in turn; steps after an affine step are done in place.
    """
    sizes = member.sizes
    places = ["ab"[i % 2] for i in range(len(sizes) - 2)] + ["out"]
    lines, value, layer = [], "x", -1
    for step in member.steps:
        if step.kind == "affine":
            layer += 1
            source, value = value, places[layer]
            arguments = source, sizes[layer], sizes[layer + 1], value
            limit = limits[layer] if limits else None
            lines.append((_affine_int8 if is_int8 else _affine)(file, f"{number}_{layer}", step, limit, *arguments))
        elif step.kind != "identity":
            numbers = [_number(file, f"{name}_{number}_{layer}", values) for name, values in step.numbers.items()]
            lines.append(file.call(step.kind, value, sizes[layer + 1], *numbers) + ";")
    widths: dict[str, int] = {}
    for place, width in zip(places[:-1], sizes[1:-1], strict=True):
        widths[place] = max(width, widths.get(place, 0))
    arrays = [("float", place, width) for place, width in widths.items()]
    if is_int8:
        arrays.append(("int8_t", "q", max(sizes[:-1])))
    declared = [f"{c_type} {name}[{size}];" for c_type, name, size in arrays]
    file.function(f"void PREFIX_network_{number}(const float *x, float *out)", declared + lines)
    return sum(BYTES[c_type] * size for c_type, _, size in arrays)


def _number(file, name, values):
    """The name of a table with an array, or the literal of a number."""
    return file.floats(name, values) if np.ndim(values) else floats([values], name)[0]


def _affine(file, label, step, limit, source, n_in, n_out, target):
    tables = [file.floats(f"{name}_{label}", values) for name, values in step.numbers.items()]
    return file.call("affine", source, n_in, n_out, *tables, target) + ";"


def _affine_int8(file, label, step, limit, source, n_in, n_out, target):
    integers_of_weight, scale = quantized(step.numbers["weight"])
    limit = file.call("largest", source, n_in) if limit is None else floats([limit], "X")[0]
    weight = file.table("int8_t", f"weight_{label}", integers(integers_of_weight.T))
    tables = [file.floats(f"{name}_{label}", values) for name, values in (("scale", scale), ("bias", step.numbers["bias"]))]
    return file.call("affine_int8", source, limit, n_in, n_out, weight, *tables, "q", target) + ";"
