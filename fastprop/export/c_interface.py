"""The interface of a C file, for readers and callers: the comment at its head, prototypes, labels."""

from __future__ import annotations

import numpy as np

from .. import __version__
from .c_text import comment, doubles, integers, quoted, string, table
from .steps import Model

# Kind of column -> how a value is passed. Other columns hold strings, or objects that become strings by `str`.
NUMBERS = {
    "numbers": "a number",
    "booleans": "0 or 1",
    "dates": "a date, in seconds since 1970",
    "durations": "a duration, in seconds",
    "nothing that counts": "any number, which is not read",
}


class Interface:
    """The types, prototypes and labels of a model.

    Parameters
    ----------
    model : Model
        The model to export.
    name : str
        Prefix of all names.
    """

    def __init__(self, model: Model, name: str) -> None:
        self._model, self._name = model, name
        self.in_type = "double" if model.encoders else "float"
        self.out_type = "double" if model.is_tabular else "float"
        self._labels = self._labels_of_classes() | self._labels_of_columns()

    @property
    def proba(self) -> str:
        """The declaration of the function that returns probabilities."""
        return f"void PREFIX_predict_proba(const {self.in_type} *x, {self.out_type} *out)"

    @property
    def predict(self) -> str:
        """The declaration of the function that returns values or decisions."""
        result = {"classes": "int", "labels": "void", "values": "void"}[self._model.task]
        out = {"classes": "", "labels": ", int *out", "values": f", {self.out_type} *out"}[self._model.task]
        return f"{result} PREFIX_predict(const {self.in_type} *x{out})"

    def text(self, n_bytes: int, how: str) -> str:
        """The comment, the prototypes and the tables of labels."""
        functions = [self.predict] if self._model.task == "values" else [self.proba, self.predict]
        declared = [f"extern const {c_type} {name}[{len(values)}];" for name, (c_type, values) in self._labels.items()]
        prototypes = [function.replace("PREFIX", self._name) + ";" for function in functions]
        tables = [table(c_type, name, values, static=False) for name, (c_type, values) in self._labels.items()]
        includes = "#include <math.h>\n#include <stdint.h>\n"
        return "\n".join([comment(self._head(n_bytes, how)), includes, "\n".join(declared + prototypes) + "\n", *tables])

    def _head(self, n_bytes, how):
        model = self._model
        networks = f"{len(model.members)} networks"
        if len(model.members) == 1:
            networks = f"a network {'-'.join(map(str, model.members[0].sizes))}"
        return [
            f"{self._name}: {model.title}, {networks}, {how}; written by fastprop {__version__}.",
            "",
            *self._about_functions(),
            "",
            *self._about_inputs(),
            "",
            "C99; of libraries it needs math.h alone. It allocates no memory and keeps no state: functions may be called from",
            f"several threads at once. Their arrays on the stack take about {n_bytes} bytes.",
        ]

    def _about_functions(self):
        model, name = self._model, self._name
        if model.task == "values":
            return [f"{name}_predict writes out[0] to out[{model.n_outputs - 1}], the targets in the order of fit."]
        if model.task == "labels":
            n = model.n_outputs
            return [
                f"{name}_predict_proba writes out[0] to out[{n - 1}], the probability of each label in the order of fit, and",
                f"{name}_predict whether it is above one half, 0 or 1.",
            ]
        classes = [f"  {i}: {quoted(label)}" for i, label in enumerate(model.classes)]
        table = [f"The labels are in {name}_classes."]
        return [
            f"{name}_predict_proba writes the probabilities of the classes, and {name}_predict returns the number of the most",
            "probable one. Their numbers:",
            *classes,
            *table,
        ]

    def _about_inputs(self):
        inputs = self._model.inputs
        missing = ["NaN is a missing value."] if self._model.encoders else ["All must be finite."]
        if not self._model.encoders and [column.name for column in inputs] == [f"x{i}" for i in range(len(inputs))]:
            return [f"x has {len(inputs)} numbers, the features in the order of fit. {missing[0]}"]
        return ["x has a number for each column:", *map(self._about_input, range(len(inputs))), *missing]

    def _about_input(self, i):
        column = self._model.inputs[i]
        what = NUMBERS.get(column.holds, "a string")
        if column.categories is not None and column.holds not in NUMBERS:
            what = f"the number of a category in {self._name}_categories_{i}; -1 is any other one"
            if not column.categories:
                what = "-1, as no category is frequent"
        elif column.categories is not None:
            what += ", a category"
        return f"  x[{i}]: {quoted(column.name)}, {what}"

    def _labels_of_classes(self):
        classes = self._model.classes
        if self._model.task != "classes":
            return {}
        name, kind = f"{self._name}_classes", classes.dtype.kind
        if kind in "biu":
            small = np.abs(classes.astype(object)).max() < 2**15
            if kind == "u" and classes.max() >= 2**63:
                raise NotImplementedError(f"class {classes.max()} cannot be exported to C: it is too large for long long")
            c_type = "int" if small else "long long"
            return {name: (c_type, integers(classes.astype(np.int64)) if small else [f"{label}LL" for label in classes.tolist()])}
        if kind == "f":
            return {name: ("double", doubles(classes))}
        labels = classes.tolist()
        if all(isinstance(label, str) for label in labels):
            return {name: ("char *const", [string(label) for label in labels])}
        found = next(label for label in labels if not isinstance(label, str))
        raise TypeError(f"classes must be integers, numbers or strings to be exported to C; got {type(found).__name__} {found!r}")

    def _labels_of_columns(self):
        return {
            f"{self._name}_categories_{i}": ("char *const", [string(category) for category in column.categories])
            for i, column in enumerate(self._model.inputs)
            if column.categories and isinstance(column.categories[0], str)
        }
