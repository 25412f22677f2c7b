"""A model as one C file."""

from __future__ import annotations

import numpy as np

from .c_encodings import add_features, check_categories
from .c_file import BYTES, CFile
from .c_interface import Interface
from .c_network import add_network
from .c_text import doubles, integers
from .steps import Model


def c_source(model: Model, name: str, is_int8: bool, limits: list[list[float]] | None) -> str:
    """The text of the file; ``limits`` are the limits of the inputs of each layer of each member."""
    check_categories(model)
    interface = Interface(model, name)
    file = CFile(name, interface.out_type)
    n_bytes = 0
    if not _is_constant(model):
        for encoder in range(len(model.encoders)):
            add_features(file, model, encoder)
        networks = [add_network(file, i, member, is_int8, limits[i] if limits else None) for i, member in enumerate(model.members)]
        n_bytes = max(networks)
    n_bytes += _add_outputs(file, model, interface)
    if model.task != "values":
        n_bytes += _add_decision(file, model, interface)
    how = "float32" if not is_int8 else "int8 with ranges of given rows" if limits else "int8 with a range for each row"
    return file.text(interface.text(n_bytes, how))


def _is_constant(model):
    return model.is_tabular and model.task == "classes" and len(model.classes) == 1


def _add_outputs(file, model, interface):
    """Add the function that writes probabilities or values; return the bytes of its arrays."""
    if _is_constant(model):
        arrays, lines = [], ["(void)x;", "out[0] = 1.0;"]
    else:
        arrays, lines = (_mean_of_members if model.is_tabular else _one_network)(file, model)
    declared = [f"{c_type} {name}[{size}];" for c_type, name, size in arrays]
    file.function(interface.predict if model.task == "values" else interface.proba, declared + lines, static=False)
    return sum(BYTES[c_type] * size for c_type, _, size in arrays)


def _one_network(file, model):
    arrays, lines, x, n = [], [], "x", model.n_features(0)
    if model.encoders or model.standardizations:
        arrays.append(("float", "features", n))
    if model.encoders:
        lines.append(f"{file.name}_features_0(x, features);")
        x = "features"
    for i, (mean, scale) in enumerate(model.standardizations):
        with np.errstate(over="ignore"):  # `floats` raises an error for it
            rest = mean - mean.astype(np.float32)
        tables = [file.floats(f"{key}_{i}", values) for key, values in (("mean", mean), ("rest", rest), ("std", scale))]
        lines.append(file.call("standardize", x, n, *tables, "features") + ";")
        x = "features"
    is_binary = model.task == "classes" and model.n_outputs == 1
    lines.append(f"{file.name}_network_0({x}, out{' + 1' * is_binary});")
    if is_binary:
        lines.append("out[0] = 1.0f - out[1];")
    if model.ranks is not None:
        lines.append(file.call("sort", "out", model.n_outputs) + ";")
        if (np.diff(model.ranks) < 0).any():
            arrays.append(("float", "sorted", model.n_outputs))
            ranks = file.table("int", "ranks", integers(model.ranks))
            lines += [f"for (int i = 0; i < {model.n_outputs}; i++)", "    sorted[i] = out[i];"]
            lines += [f"for (int i = 0; i < {model.n_outputs}; i++)", f"    out[i] = sorted[{ranks}[i]];"]
    return arrays, lines


def _mean_of_members(file, model):
    n, total = model.n_outputs, sum(member.weight for member in model.members)
    n_features = max(map(model.n_features, range(len(model.encoders))))
    arrays, lines, add = [("float", "features", n_features), ("float", "outputs", n)], [], "add"
    if model.targets is not None:
        add = "add_targets"
        for key, values in vars(model.targets).items():
            file.table("double", key, doubles(values))
    is_binary = model.task == "classes" and n == 1
    lines += ["out[1] = 0.0;"] if is_binary else [f"for (int i = 0; i < {n}; i++)", "    out[i] = 0.0;"]
    for encoder in range(len(model.encoders)):
        lines.append(f"{file.name}_features_{encoder}(x, features);")
        for i, member in enumerate(model.members):
            if member.encoder == encoder:
                lines.append(f"{file.name}_network_{i}(features, outputs);")
                lines.append(file.call(add, "outputs", n, *doubles([member.weight / total]), f"out{' + 1' * is_binary}") + ";")
    if model.targets is not None:
        lines.append(file.call("finish_targets", "out", n) + ";")
    elif is_binary:
        lines.append("out[0] = 1.0 - out[1];")
    else:
        lines.append(file.call("normalize", "out", n) + ";")
    return arrays, lines


def _add_decision(file, model, interface):
    """Add the function that makes decisions from the probabilities; return the bytes of its arrays."""
    n = model.n_outputs if model.task == "labels" else max(len(model.classes), 1 if model.is_tabular else 2)
    lines = [f"{interface.out_type} proba[{n}];", f"{file.name}_predict_proba(x, proba);"]
    if model.task == "labels":
        lines += [f"for (int i = 0; i < {n}; i++)", "    out[i] = proba[i] > 0.5f;"]
    elif len(model.classes) == 1:
        lines = ["(void)x;", "return 0;"]
    else:
        lines.append(f"return {file.call('argmax', 'proba', n)};")
    file.function(interface.predict, lines, static=False)
    return BYTES[interface.out_type] * n
