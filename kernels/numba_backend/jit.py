"""How every function of this back end is compiled, and how a function comes to have a one-thread and a many-thread build."""

import types

from numba import njit
from numba.core.imputils import impl_ret_borrowed
from numba.extending import intrinsic

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

jit = njit(**OPTIONS)


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
    """A function over ``prange(n_threads)`` in two builds, of which the parallel one is compiled at its first use.

    Merely compiling, or loading from the cache, a ``parallel=True`` function starts Numba's thread pool. So ``n_threads=1``
    runs a build in which prange is range. Jitted callers get that build too, whatever ``n_threads`` is: it does the same
    work in the same order, so the result has the same bits; a jitted caller who wants threads writes his own prange.
    """

    def __init__(self, function):
        # Numba names cache files by qualified name, not by options: without a name of its own one build would load the other.
        twin = types.FunctionType(function.__code__, function.__globals__, function.__name__)
        twin.__qualname__ = function.__qualname__ + "_parallel"
        self.serial = jit(function)
        self.parallel = njit(parallel=PRANGE_ONLY, **OPTIONS)(twin)
        self.py_func = self.__wrapped__ = function
        self.__name__, self.__doc__ = function.__name__, function.__doc__

    def __call__(self, *args, **kwargs):
        n_threads = kwargs["n_threads"] if "n_threads" in kwargs else args[-1]
        return (self.parallel if n_threads > 1 else self.serial)(*args, **kwargs)

    @property
    def _numba_type_(self):
        """What Numba's typing sees when jitted code names this object: the one-thread build."""
        return self.serial._numba_type_
