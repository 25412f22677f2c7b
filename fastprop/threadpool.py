"""The upper limit of threads that threadpoolctl sets: ``threadpool_limits(1)`` holds for fastprop, too.

A limit belongs to the context (PEP 567) in which it was set, which is that of one thread. So blocks that overlap in several threads
do not get in each other's way.
"""

import math
from contextvars import ContextVar

_limit = ContextVar("fastprop thread limit", default=math.inf)


class Unlimited(int):
    """The number of cores, which threadpoolctl reads while there is no limit; to set it, at the end of a block, lifts the limit."""


def thread_limit():
    """The most threads that a computation in this context may use: an int, or inf."""
    return _limit.get()


def _register():
    try:
        from threadpoolctl import LibController, register
    except ImportError:  # not installed, or older than 3.2
        return

    class FastpropController(LibController):
        user_api = internal_api = "fastprop"
        # threadpoolctl makes a controller for a shared library that it finds in the process. A back end may have none (Numba), or
        # several (the compiled modules); NumPy's is there once, whatever computes.
        filename_prefixes = ("_multiarray_umath",)

        def set_additional_attributes(self):
            from .kernels import active

            self.prefix, self.filepath = "fastprop", active.raw.__file__
            self.backend, self.isa = active.backend, active.isa

        def get_num_threads(self):
            from .threads import available_cores

            limit = thread_limit()
            return Unlimited(available_cores()) if limit == math.inf else limit

        def set_num_threads(self, num_threads):
            _limit.set(math.inf if isinstance(num_threads, Unlimited) else max(1, num_threads))

        def get_version(self):
            from . import __version__

            return __version__

    register(FastpropController)


_register()
