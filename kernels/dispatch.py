"""Which back ends and instruction sets exist, which of them can run here, and which one runs. No other file has this knowledge.

The choice is made once, when this module is imported: the first entry of `REGISTRY` that can run, or the one that the environment
variables ``FASTPROP_BACKEND`` (cython, numba, reference) and ``FASTPROP_ISA`` (baseline, avx2, avx512) force. If a forced one
cannot run, an error says why: after a silent fallback, nobody would know what a measurement or a test was about.
"""

from __future__ import annotations

import functools
import importlib
import os
import warnings
from importlib import metadata, util
from typing import Any, Literal, NamedTuple, TypeAlias

from .public import Kernels

BackendName: TypeAlias = Literal["cython", "numba", "reference"]
IsaName: TypeAlias = Literal["baseline", "avx2", "avx512"]


class Candidate(NamedTuple):
    """One way to run the raw kernels; ``isa`` is None if the back end has no choice of instruction sets.

    ``bfloat16`` lists the modules that may have its bfloat16 kernels, best first.
    """

    backend: BackendName
    isa: IsaName | None
    module: str
    bfloat16: tuple[str, ...]

    def __str__(self) -> str:
        return self.backend if self.isa is None else f"{self.backend} {self.isa}"


def _compiled(isa):
    return f".cython_backend._{isa}"


# Best first. The compiled modules come from one source; a processor may lack the instructions of the first two. Only avx512bf16 has
# instructions that multiply bfloat16. Its module has nothing else, because the rest would be the same as in avx512. The module of
# avx512 has no bfloat16, because that of avx2 does it without the instructions.
REGISTRY = (
    Candidate("cython", "avx512", _compiled("avx512"), (_compiled("avx512bf16"), _compiled("avx2"), _compiled("baseline"))),
    Candidate("cython", "avx2", _compiled("avx2"), (_compiled("avx2"),)),
    Candidate("cython", "baseline", _compiled("baseline"), (_compiled("baseline"),)),
    Candidate("numba", None, ".numba_backend", (".reference",)),
    Candidate("reference", None, ".reference", (".reference",)),
)
BACKENDS = tuple(dict.fromkeys(candidate.backend for candidate in REGISTRY))
ISAS = tuple(candidate.isa for candidate in REGISTRY if candidate.isa)
ENVIRONMENT = ("FASTPROP_BACKEND", "FASTPROP_ISA")
# Other variables that decide how many threads run, and where.
THREAD_ENVIRONMENT = (
    "OMP_NUM_THREADS",
    "OMP_THREAD_LIMIT",
    "OMP_PROC_BIND",
    "OMP_PLACES",
    "GOMP_CPU_AFFINITY",
    "NUMBA_NUM_THREADS",
    "NUMBA_THREADING_LAYER",
)


def cpu_features():
    """The instruction sets out of `ISAS` and avx512bf16 that this processor has, according to the compiled baseline module."""
    return frozenset(_import(".cython_backend._baseline").supported_isas())


def _import(module):
    try:
        return importlib.import_module(module, __package__)
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith(__package__):
            raise ImportError(f"{error.name} is not installed") from error  # a package that our module imports
        raise ImportError(f"{__package__}{module} does not exist") from error


def _import_raw(module):
    """A module of `REGISTRY`; an ImportError says why it cannot run here."""
    # Checked before the import, which may already run instructions that the processor lacks.
    _, compiled, isa = module.partition(_compiled(""))
    if compiled and isa != "baseline" and isa not in cpu_features():
        raise ImportError(f"this processor lacks {isa}")
    return _import(module)


def _import_bfloat16(candidate):
    """The first module with bfloat16 kernels of a candidate that can run here."""
    for module in candidate.bfloat16:
        try:
            return _import_raw(module)
        except ImportError as error:
            obstacle = error
    raise obstacle


def _obstacle(candidate):
    """Why a candidate cannot run here, or None. Numba is only searched for, because importing it takes seconds."""
    if candidate.backend == "numba":
        return None if util.find_spec("numba") else "numba is not installed"
    try:
        _import_raw(candidate.module)
    except ImportError as error:
        return str(error)
    return None


def available() -> list[tuple[BackendName, IsaName | None]]:
    """List the back ends that can run here.

    Returns
    -------
    list of (str, str or None)
        Pairs (backend, isa), best first; isa is None for back ends without a choice of instruction sets.

    Examples
    --------
    >>> from fastprop import kernels
    >>> ("reference", None) in kernels.available()
    True
    """
    return [candidate[:2] for candidate in REGISTRY if _obstacle(candidate) is None]


def unavailable() -> dict[tuple[BackendName, IsaName | None], str]:
    """List the back ends that cannot run here, with the reasons.

    Returns
    -------
    dict
        The reason, as text, for each pair (backend, isa).

    Examples
    --------
    >>> from fastprop import kernels
    >>> reasons = kernels.unavailable()
    >>> ("reference", None) in reasons
    False
    """
    reasons = {candidate[:2]: _obstacle(candidate) for candidate in REGISTRY}
    return {pair: why for pair, why in reasons.items() if why is not None}


def load(backend: BackendName | None = None, isa: IsaName | None = None) -> Kernels:
    """Return the kernels of one back end.

    Parameters
    ----------
    backend : {'cython', 'numba', 'reference'}, optional
        By default the active back end, or with ``isa`` alone, the back end that has that instruction set.
    isa : {'baseline', 'avx2', 'avx512'}, optional
        Only for 'cython'; by default the best that this processor has.

    Returns
    -------
    Kernels
        Every call with the same arguments returns the same object.

    Raises
    ------
    ValueError
        If there is no such back end or instruction set.
    ImportError
        If it exists but cannot run here; the message says why.

    Examples
    --------
    >>> import numpy as np
    >>> from fastprop import kernels
    >>> in_numpy = kernels.load("reference")
    >>> in_numpy
    <Kernels: reference>
    >>> in_numpy.softmax_forward(np.zeros((1, 2)))
    array([[0.5, 0.5]])
    """
    if backend is None and isa is None:
        return active
    return _first(_matching(backend, isa))[0]


def _matching(backend, isa):
    if backend is not None and backend not in BACKENDS:
        raise ValueError(f"backend (or FASTPROP_BACKEND) must be one of {list(BACKENDS)}; got {backend!r}")
    if isa is not None and isa not in ISAS:
        raise ValueError(f"isa (or FASTPROP_ISA) must be one of {list(ISAS)}; got {isa!r}")
    found = [c for c in REGISTRY if backend in (None, c.backend) and isa in (None, c.isa)]
    if not found:
        raise ValueError(f"isa (or FASTPROP_ISA) is only for the back end cython; got {isa!r} with {backend!r}")
    return found


def _first(candidates):
    """(kernels of the first candidate that can run, dict of the candidates before it -> why they cannot run)."""
    obstacles = {}
    for candidate in candidates:
        try:
            return _kernels(candidate), obstacles
        except (ImportError, RuntimeError) as error:  # Numba raises RuntimeError if it finds no folder for its cache
            obstacles[candidate] = str(error)
    reasons = "; ".join(f"{candidate}: {why}" for candidate, why in obstacles.items())
    others = ", ".join(str(c) for c in REGISTRY if c not in obstacles and _obstacle(c) is None) or "none"
    raise ImportError(f"cannot run here: {reasons}. Available: {others}")


@functools.cache
def _kernels(candidate):
    load_bfloat16 = functools.partial(_import_bfloat16, candidate)
    return Kernels(_import_raw(candidate.module), candidate.backend, candidate.isa, load_bfloat16)


def _choose() -> tuple[Kernels, str]:
    """The active kernels, and the reason for this choice as text."""
    forced = {name: os.environ[name] for name in ENVIRONMENT if os.environ.get(name)}
    kernels, obstacles = _first(_matching(*(forced.get(name) for name in ENVIRONMENT)))
    if forced:
        return kernels, "forced by " + " ".join(f"{name}={value}" for name, value in forced.items())
    if kernels.backend != "cython":
        names = {"numba": "Numba", "reference": "NumPy, which is slow"}
        reason = next(why for candidate, why in obstacles.items() if candidate.isa == "baseline")
        message = f"fastprop: no compiled module can run ({reason}); running on {names[kernels.backend]}"
        warnings.warn(message, RuntimeWarning, stacklevel=2)
    return kernels, "the best that can run here"


def describe() -> dict[str, Any]:
    """Say what runs and why: the source of ``fastprop.show_config()`` and ``fastprop info``.

    Returns
    -------
    dict
        'backend' and 'isa' of the active kernels; 'why', the reason as text; 'bfloat16' and 'int8', the instruction set that
        multiplies such numbers, or what is used instead of one, or why they cannot run; 'unavailable', as in `unavailable`;
        'n_cpus', the number of usable cores; 'environment', the variables that were read; 'versions' of the libraries, None for one
        that is not installed.

    Examples
    --------
    >>> from fastprop import kernels
    >>> kernels.describe()["backend"] == kernels.active.backend
    True
    """
    return {
        "backend": active.backend,
        "isa": active.isa,
        "why": why,
        "bfloat16": _describe_bfloat16(),
        "int8": _describe_int8(),
        "unavailable": unavailable(),
        "n_cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "environment": {name: os.environ[name] for name in ENVIRONMENT + THREAD_ENVIRONMENT if name in os.environ},
        "versions": {name: _version(name) for name in ("numpy", "scipy", "scikit-learn", "numba")},
    }


def _describe_bfloat16():
    try:
        name = getattr(active.bfloat16, "ISA", None)
    except ImportError as error:
        return f"cannot run here: {error}"
    if name == "avx512bf16":
        return name
    by = {None: "NumPy, very slow", "baseline": "baseline, slow"}.get(name, f"{name}, slower than float32")
    return f"emulated ({by})"


def _describe_int8():
    if active.backend != "cython":
        return "by NumPy, slow"
    return active.raw.INT8 or f"as 16 bits ({active.isa})"


def _version(distribution):
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


active, why = _choose()
