"""Files from which a fit goes on after its process was killed."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files import replacing
from ..network import Network
from .schedules import Averages, Masks, ScheduledOptimizer, fingerprint
from .stopping import History

# The number of the format, which a later version may have to know.
VERSION = 1


class CheckpointFile:
    """An npz file of arrays and of other values as JSON, which is replaced as a whole.

    Parameters
    ----------
    path : str or path
        The file.
    problem : dict
        What a fit must have in common with the one that wrote the file: name -> a value that JSON keeps.
    """

    def __init__(self, path: str | os.PathLike[str], problem: dict[str, Any]) -> None:
        self.path, self._problem = os.fspath(path), json.loads(json.dumps(problem))

    def save(self, arrays: dict[str, NDArray[Any]], values: dict[str, Any]) -> None:
        """Replace the file; after a crash there is the old one or the new one."""
        header = json.dumps({"version": VERSION, "problem": self._problem, "values": values})
        with replacing(self.path) as file:
            np.savez(file, header=np.frombuffer(header.encode(), np.uint8), **arrays)

    def load(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]] | None:
        """(arrays, values), or None where there is no file; an error where it is of another fit."""
        try:
            with np.load(self.path, allow_pickle=False) as file:
                arrays = dict(file)
            header = json.loads(arrays.pop("header").tobytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise ValueError(f"{self.path} is no checkpoint: {error}") from error
        if header.get("version") != VERSION:
            raise ValueError(f"{self.path} has version {header.get('version')} of checkpoints; this fastprop reads {VERSION}")
        for name, here in self._problem.items():
            if (there := header["problem"].get(name)) != here:
                differs = f"{name} is {there} there and {here} here"
                raise ValueError(f"{self.path} belongs to another fit: {differs}; remove it to begin anew")
        return arrays, header["values"]


def stored(network: Network, optimizer: ScheduledOptimizer, history: History) -> Any:
    """(arrays, values) of a training between two epochs, for `CheckpointFile.save`."""
    arrays = {"params": network.params, "memory": optimizer.rule.memory}
    values = {"t": optimizer.t, "n_epochs": optimizer.n_epochs, "history": asdict(history)}
    if optimizer.masks is not None:
        values["masks"] = vars(optimizer.masks)
    if optimizer.averages is not None:
        arrays["average"] = optimizer.averages.average
    if hasattr(optimizer, "_rate"):
        values["rate"] = optimizer._rate
    return arrays, values


def restore(network: Network, optimizer: ScheduledOptimizer, history: History, arrays: Any, values: Any) -> None:
    """Let a training that has not begun go on from what `stored` returned."""
    network.params[:] = arrays["params"]
    optimizer.rule.memory[...] = arrays["memory"]
    optimizer.rule.t, optimizer.n_epochs = values["t"], values["n_epochs"]
    if "masks" in values:
        optimizer.masks = Masks(**values["masks"])
    if "rate" in values:
        optimizer._rate = values["rate"]  # type: ignore[attr-defined]
    if "average" in arrays:
        network.params[:] = arrays["average"]
        optimizer.averages = Averages(arrays["average"], arrays["params"], fingerprint(network))
    vars(history).update(values["history"])
