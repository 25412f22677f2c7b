"""A run's JSON file as a list of cases."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from .rounds import spread


@dataclass(frozen=True)
class Case:
    """One row of one table: times in seconds, and what `extra_info` says of it."""

    name: str  # the test's, which is the same in every run
    group: str
    median: float
    iqr: float
    q1: float
    q3: float
    min: float
    info: dict = field(default_factory=dict)

    def __getattr__(self, name):
        """What extra_info says, or None: family, contender, dtype, n_threads, configuration, ..."""
        if name.startswith("__"):
            raise AttributeError(name)
        return self.info.get(name)

    @property
    def spread(self):
        return spread(self.median, self.iqr)


@dataclass(frozen=True)
class Run:
    """A JSON file of pytest-benchmark: its cases, when, what and on which machine."""

    cases: list
    facts: list
    date: str
    commit: str
    machine: dict

    @property
    def versions(self):
        return {"fastprop": self.machine.get("version", "?")} | self.machine.get("versions", {})


def cases_of(benchmarks):
    """The cases of pytest-benchmark's dicts that belong to the suite."""
    return [
        Case(each["fullname"], each["group"], info=each["extra_info"], **{k: each["stats"][k] for k in FIELDS})
        for each in benchmarks
        if "family" in each["extra_info"]
    ]


FIELDS = ("median", "iqr", "q1", "q3", "min")


def read(path):
    """The run in a file.

    Raises
    ------
    ValueError
        If the file is no JSON of pytest-benchmark.
    """
    try:
        stored = json.loads(Path(path).read_text(encoding="utf-8"))
        cases, commit = cases_of(stored["benchmarks"]), stored.get("commit_info") or {}
        machine = stored["machine_info"].get("fastprop", {})
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no file of pytest --benchmark-json: {error!r}") from error
    commit = (commit.get("id") or "unknown")[:10] + (", with changes" if commit.get("dirty") else "")
    return Run(cases, stored.get("facts", []), stored.get("datetime", "")[:10], commit, machine)


def select(cases, **wanted):
    """The cases whose facts have these values."""
    return [case for case in cases if all(getattr(case, name) == value for name, value in wanted.items())]


def distinct(cases, name):
    """The values of a fact, in the order in which they come."""
    return list(dict.fromkeys(getattr(case, name) for case in cases if getattr(case, name) is not None))
