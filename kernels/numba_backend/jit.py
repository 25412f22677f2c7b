"""How every function of this back end is compiled, and how a function comes to have a one-thread and a many-thread build."""

import types
from functools import cached_property

from numba import get_num_threads, njit
from numba.core.imputils import impl_ret_borrowed
from numba.extending import intrinsic

from ..encoded import expanded, is_encoded, without_encoding
from ..spec import Job

# error_model: Python's zero-division check is a branch in every loop with a "/" and keeps LLVM from vectorising it (Adam: 10x).
OPTIONS = {"nogil": True, "cache": True, "error_model": "numpy"}
# Only explicit prange loops; array expressions would otherwise become parallel regions of their own.
PRANGE_ONLY = {
    "prange": True,
    "comprehension": False,
    "reduction": False,
    "inplace_binop": False,
    "setitem": False,
    "numpy": False,
    "stencil": False,
    "fusion": False,
}

# For Python and for jitted code; and for jitted code alone, without the conversion of Python's objects, which is long code.
public = njit(**OPTIONS)
jit = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **OPTIONS)


class UnknownNumber(ValueError):
    """A number that is not in the specification, or that this back end has no code for. Jitted code leaves the text to Python."""

    def __init__(self, what, number):
        super().__init__(f"there is no {what} number {number}")


@intrinsic
def readonly(typingctx, array):
    """The same array, as Numba types a read-only one.

    To Numba read-only and writable arrays are different types. Functions that callers enter by make all inputs read-only first,
    or whatever they call would be compiled anew for each mixture of the two.
    """

    def codegen(context, builder, signature, args):
        return impl_ret_borrowed(context, builder, signature.return_type, args[0])

    return array.copy(readonly=True)(array), codegen


class Threaded:
    """A function over ``prange(n_threads)``, or that calls such ones, in two builds; the parallel one is compiled at its first use.

    Merely compiling, or loading from the cache, a ``parallel=True`` function starts Numba's thread pool. So ``n_threads=1``
    runs a build in which prange is range. Jitted callers get that build too, whatever ``n_threads`` is: it does the same
    work in the same order, so the result has the same bits; a jitted caller who wants threads writes his own prange.
    """

    def __init__(self, function):
        self.serial = public(function)
        self.py_func = self.__wrapped__ = function
        self.__name__, self.__doc__ = function.__name__, function.__doc__

    @cached_property
    def parallel(self):
        """The build for many threads. It calls the same builds of what it calls."""
        # Starts the thread pool. Loaded from Numba's cache, code with prange does that itself, but not a caller that was compiled
        # when its callees came from the cache (Numba's issue 8578): it would call a null pointer.
        get_num_threads()
        function = self.py_func
        used = {name: function.__globals__.get(name) for name in function.__code__.co_names}
        builds = {name: value.parallel for name, value in used.items() if isinstance(value, Threaded)}
        twin = types.FunctionType(function.__code__, function.__globals__ | builds, function.__name__)
        # Numba names cache files by qualified name, not by options: without a name of its own one build would load the other.
        twin.__qualname__ = function.__qualname__ + "_parallel"
        options = {"parallel": PRANGE_ONLY} if "prange" in used else {}
        return njit(**options, **OPTIONS)(twin)

    def __call__(self, *args, **kwargs):
        n_threads = kwargs["n_threads"] if "n_threads" in kwargs else args[-1]
        return (self.parallel if n_threads > 1 else self.serial)(*args, **kwargs)

    @property
    def _numba_type_(self):
        """What Numba's typing sees when jitted code names this object: the one-thread build."""
        return self.serial._numba_type_


class ThreadedOnRows(Threaded):
    """A `Threaded` function that begins with a job, or with X in the form of the raw kernels; encoded rows become dense ones."""

    def __call__(self, *args):
        first, *others = args
        if isinstance(first, Job):
            return super().__call__(without_encoding(first), *others)
        if is_encoded(*others[:2]):
            indices, indptr, *others = others
            return super().__call__(expanded(first, indices), indptr, indptr, *others)
        return super().__call__(*args)
