"""A report of what runs on this machine and why: ``fastprop.show_config()`` and ``fastprop info``."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

from . import __version__, kernels


def show_config() -> None:
    """Print the back end that runs and why, what else could run, threads, versions and the processor.

    Examples
    --------
    >>> import fastprop
    >>> fastprop.show_config()  # doctest: +SKIP
    """
    for name, value in _rows(kernels.describe()):
        print(f"{name:<16}{value}")


def backend_name(backend=kernels.active.backend, isa=kernels.active.isa):
    """A back end with its instruction set, if it has one, in words; without arguments, the active one."""
    return backend if isa is None else f"{backend} {isa}"


def processor_name():
    """The processor's name, or the machine type if the system does not give the name."""
    system = platform.system()
    try:
        if system == "Linux":
            lines = Path("/proc/cpuinfo").read_text().splitlines()
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
        if system == "Darwin":
            return subprocess.check_output(["sysctl", "-n", "machdep.cpu.brand_string"], text=True).strip()
    except (OSError, StopIteration, subprocess.SubprocessError):  # ARM's /proc/cpuinfo has no model name
        pass
    return platform.processor() or platform.machine()


def _rows(facts):
    """(name, value) pairs, one a line."""
    active = facts["backend"], facts["isa"]
    yield "fastprop", __version__
    yield "back end", f"{backend_name(*active)} ({facts['why']})"
    yield "bfloat16", facts["bfloat16"]
    yield "int8", facts["int8"]
    yield "also here", ", ".join(backend_name(*pair) for pair in kernels.available() if pair != active) or "none"
    for why, pairs in _by_reason(facts["unavailable"]).items():
        yield "not here", f"{', '.join(backend_name(*pair) for pair in pairs)}: {why}"
    yield "threads", _threads(facts)
    yield "processor", processor_name()
    yield "system", f"{platform.system()} {platform.machine()}"
    versions = {"Python": platform.python_version()} | facts["versions"]
    yield "versions", ", ".join(f"{name} {version or 'not installed'}" for name, version in versions.items())
    for name, value in facts["environment"].items():
        yield "environment", f"{name}={value}"


def _by_reason(unavailable):
    reasons = {}
    for pair, why in unavailable.items():
        reasons.setdefault(why, []).append(pair)
    return reasons


def _threads(facts):
    omp = facts["environment"].get("OMP_NUM_THREADS")
    return f"{facts['n_cpus']} cores usable; OMP_NUM_THREADS {'is not set' if omp is None else f'is {omp}'}"
