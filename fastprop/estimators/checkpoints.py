"""Files from which a fit continues after its process was killed."""

from __future__ import annotations

import errno
import json
import math
import os
import re
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from ..files import replacing
from ..network import Network
from .held_out import Validation
from .parts import Summary
from .schedules import Averages, Masks, ScheduledOptimizer, fingerprint
from .stopping import History

# The version of the file format.
VERSION = 1
# Parameters that may differ when a fit continues
LIMITS = {"max_iter", "max_time", "tol", "n_iter_no_change"}


class CheckpointFile:
    """An npz file of arrays, and of other values as JSON. It is always replaced as a whole.

    Parameters
    ----------
    path : str or path
        The file.
    problem : dict
        What a fit must have in common with the fit that wrote the file: name -> a value that JSON can store.
    """

    def __init__(self, path: str | os.PathLike[str], problem: dict[str, Any]) -> None:
        self.path, self._problem = os.fspath(path), json.loads(json.dumps(problem))

    def save(self, arrays: dict[str, NDArray[Any]], values: dict[str, Any]) -> None:
        """Replace the file; after a crash, either the old or the new file exists."""
        header = json.dumps({"version": VERSION, "problem": self._problem, "values": values})
        with replacing(self.path) as file:
            np.savez(file, header=np.frombuffer(header.encode(), np.uint8), **arrays)

    def load(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]] | None:
        """(arrays, values), or None if there is no file; an error if it belongs to another fit or cannot be written."""
        folder = os.path.dirname(os.path.abspath(self.path))
        if not os.path.isdir(folder):
            raise FileNotFoundError(errno.ENOENT, "checkpoint needs a folder that exists", folder)
        try:
            with np.load(self.path, allow_pickle=False) as file:
                arrays = dict(file)
            header = json.loads(arrays.pop("header").tobytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            raise ValueError(f"{self.path} is no checkpoint: {type(error).__name__}") from error
        if header.get("version") != VERSION:
            raise ValueError(f"{self.path} has version {header.get('version')} of checkpoints; this fastprop reads {VERSION}")
        for name, here in self._problem.items():
            if (there := header["problem"].get(name)) != here:
                differs = f"{name} is {there} there and {here} here"
                raise ValueError(f"{self.path} belongs to another fit: {differs}; remove it to start again")
        return arrays, header["values"]


class Checkpoint:
    """What a training saves after epochs and continues from; without a file, only the seed of its orders.

    Parameters
    ----------
    file : CheckpointFile or None
        None if there is none, or if another process writes it.
    loaded : (dict, dict) or None
        The contents of the file.
    seed : int
        Seed of a training that starts from the beginning.
    pause : float
        Minimum number of seconds between two saves.
    """

    def __init__(self, file: CheckpointFile | None, loaded: Any, seed: int, pause: float = 0.0) -> None:
        self._file, self._loaded, self._pause, self._last = file, loaded, pause, -math.inf
        self.seed: int = seed if loaded is None else loaded[1]["seed"]

    @property
    def n_epochs(self) -> int:
        """Number of epochs done."""
        return self._history.n_epochs

    def attach(self, network: Network, optimizer: ScheduledOptimizer, history: History, verbose: bool | int) -> None:
        """Attach to a training that has not begun; with a file, restore its state from there."""
        self._network, self._optimizer, self._history = network, optimizer, history
        if self._loaded is None:
            return
        _restore(network, optimizer, history, *self._loaded)
        if verbose:
            print(f"Going on after iteration {history.n_epochs}, from a checkpoint")

    def resume(self, validation: Validation | None) -> dict[str, NDArray[Any]]:
        """Restore the state of a validation, too; return all arrays of the file."""
        arrays: dict[str, NDArray[Any]] = {} if self._loaded is None else self._loaded[0]
        if arrays and validation is not None:
            validation.best_params[:], validation.best_buffers[:] = arrays["best_params"], arrays["best_buffers"]
        return arrays

    def save(self, validation: Validation | None, **more: NDArray[Any]) -> None:
        """Write the file, with more arrays, unless the last save was less than ``pause`` seconds ago."""
        if self._file is None or time.monotonic() < self._last + self._pause:
            return
        arrays, values = _stored(self._network, self._optimizer, self._history)
        if validation is not None:
            more |= {"best_params": validation.best_params, "best_buffers": validation.best_buffers}
        self._file.save(arrays | more, values | {"seed": self.seed})
        self._last = time.monotonic()

    def finish(self) -> None:
        """Remove the file."""
        if self._file is not None:
            with suppress(FileNotFoundError):
                os.unlink(self._file.path)


def problem(estimator: Any, summary: Summary, counts: Sequence[int], without: Collection[str]) -> dict[str, Any]:
    """What a fit to parts must have in common with the fit that wrote a checkpoint; ``without`` are parameters that may differ."""
    parameters = described(estimator, {*without, *LIMITS, "random_state"})
    # A RandomState cannot be written down; what it drew is in the file.
    seed = estimator.random_state
    parameters["random_state"] = "a RandomState" if isinstance(seed, np.random.RandomState) else repr(seed)
    data = {"rows of each part": list(counts), "data": summary.digests, "dtype": summary.dtype.name}
    return parameters | data | {"samples seen before": getattr(estimator, "t_", 0)}


def described(estimator: Any, without: Collection[str]) -> dict[str, str]:
    """A text for each parameter of an estimator, the same in every process."""
    parameters = estimator.get_params(deep=False).items()
    return {name: re.sub(" at 0x[0-9a-fA-F]+", "", repr(value)) for name, value in parameters if name not in without}


def _stored(network: Network, optimizer: ScheduledOptimizer, history: History) -> Any:
    """(arrays, values) of a training between two epochs, for `CheckpointFile.save`."""
    arrays = {"params": network.params, "memory": optimizer.rule.memory, "buffers": network.buffers}
    values = {"t": optimizer.t, "n_epochs": optimizer.n_epochs, "history": asdict(history)}
    if optimizer.masks is not None:
        values["masks"] = vars(optimizer.masks)
    if optimizer.averages is not None:
        arrays["average"] = optimizer.averages.average
    if hasattr(optimizer, "_rate"):
        values["rate"] = optimizer._rate
    return arrays, values


def _restore(network: Network, optimizer: ScheduledOptimizer, history: History, arrays: Any, values: Any) -> None:
    """Restore a training that has not begun from the result of `_stored`."""
    network.params[:] = arrays["params"]
    optimizer.rule.memory[...], network.buffers[:] = arrays["memory"], arrays["buffers"]
    optimizer.rule.t, optimizer.n_epochs = values["t"], values["n_epochs"]
    if "masks" in values:
        optimizer.masks = Masks(**values["masks"])
    if "rate" in values:
        optimizer._rate = values["rate"]  # type: ignore[attr-defined]
    if "average" in arrays:
        network.params[:] = arrays["average"]
        optimizer.averages = Averages(arrays["average"], arrays["params"], fingerprint(network))
    vars(history).update(values["history"])
