"""The file from which a fit goes on after its process was killed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from ..estimators.checkpoints import CheckpointFile, restore, stored

# Parameters that may be others when a fit goes on
OF_THE_PROCESS = {"client", "checkpoint", "round_timeout", "verbose", "n_jobs", "warm_start"}
LIMITS = {"max_iter", "max_time", "tol", "n_iter_no_change"}


def problem_of(estimator: Any, network: Any, counts: Sequence[int]) -> dict[str, Any]:
    """What a fit must have in common with the one that wrote the file."""
    parameters = {
        name: repr(value) for name, value in estimator.get_params(deep=False).items() if name not in OF_THE_PROCESS | LIMITS
    }
    if isinstance(estimator.random_state, np.random.RandomState):
        parameters["random_state"] = "a RandomState"
    size = {"sizes": network.sizes, "dtype": network.dtype.name, "rows of each partition": list(counts)}
    return parameters | size | {"samples seen before": getattr(estimator, "t_", 0)}


class Saved:
    """What is saved of a training after each epoch; without a path nothing but the seed.

    Parameters
    ----------
    path : str, path or None
        The file.
    problem : dict
        From `problem_of`.
    seed : int
        For a training that begins anew.
    """

    def __init__(self, path: str | os.PathLike[str] | None, problem: dict[str, Any], seed: int) -> None:
        self._file = None if path is None else CheckpointFile(path, problem)
        self._loaded = None if self._file is None else self._file.load()
        self.seed: int = seed if self._loaded is None else self._loaded[1]["seed"]

    def attach(self, network: Any, optimizer: Any, history: Any, verbose: bool | int) -> None:
        """Watch a training that has not begun; it goes on as the file says, if that was there."""
        self._network, self._optimizer, self._history = network, optimizer, history
        if self._file is None or self._loaded is None:
            return
        restore(network, optimizer, history, *self._loaded)
        network.buffers[:] = self._loaded[0]["buffers"]
        if verbose:
            print(f"Going on from {self._file.path} after iteration {history.n_epochs}")

    def resume(self, runner: Any, validation: Any) -> None:
        """Let the runner and the validation go on, too."""
        if self._loaded is None:
            return
        arrays, _ = self._loaded
        runner.skip(self._history.n_epochs)
        runner.outer.velocity = arrays.get("velocity")
        if validation is not None:
            validation.best_params[:], validation.best_buffers[:] = arrays["best_params"], arrays["best_buffers"]

    def rule(self, rule: Any, runner: Any) -> Any:
        """A rule that writes the file, too."""
        return rule if self._file is None else _SavingRule(self, rule, runner)

    def save(self, runner: Any, validation: Any) -> None:
        """Write the file."""
        assert self._file is not None
        arrays, values = stored(self._network, self._optimizer, self._history)
        arrays["buffers"] = self._network.buffers
        if runner.outer.velocity is not None:
            arrays["velocity"] = runner.outer.velocity
        if validation is not None:
            arrays |= {"best_params": validation.best_params, "best_buffers": validation.best_buffers}
        self._file.save(arrays, values | {"seed": self.seed})

    def finish(self) -> None:
        """Remove the file."""
        if self._file is not None:
            with suppress(FileNotFoundError):
                os.unlink(self._file.path)


class _SavingRule:
    def __init__(self, saved, rule, runner):
        self._saved, self._rule, self._runner = saved, rule, runner

    @property
    def sure_epochs(self):
        return self._rule.sure_epochs

    def epoch_ends(self, loss, later):
        stops = self._rule.epoch_ends(loss, later)
        if not stops:
            self._saved.save(self._runner, self._rule.validation)
        return stops
