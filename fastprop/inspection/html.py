"""The table of a traced step, for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..tables import Table

# Of an array with more numbers than this, only the corners are shown.
THRESHOLD = 200


class TraceTable:
    """What a trace with ``entries`` and ``loss`` shows in a notebook: every array with its shape, its norm and its numbers."""

    entries: Sequence[Any]
    loss: float | None
    _precision: int

    def _repr_html_(self) -> str:
        rows, place = [], ("", "")
        for entry in self.entries:
            # A stage and a layer are named once, where they begin.
            stage, layer = entry.stage if entry.stage != place[0] else "", entry.layer if entry[:2] != place else ""
            place = entry[:2]
            norm, numbers = f"{np.linalg.norm(entry.value):.3g}", self._numbers(entry)
            rows.append((stage, layer, entry.name, str(entry.value.shape), norm, numbers))
        head = ("stage", "layer", "array", "shape", "norm", "values")
        caption = f"{len(rows)} arrays" if self.loss is None else f"{len(rows)} arrays, loss {self.loss:.6g}"
        return Table(head, rows, "<<<<><", caption=caption).html()

    def _numbers(self, entry):
        return np.array2string(np.asarray(entry.value), precision=self._precision, suppress_small=True, threshold=THRESHOLD)
