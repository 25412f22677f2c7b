"""The upper limit of threads that threadpoolctl sets: ``threadpool_limits(1)`` applies to fastprop, too.

A limit that the main thread sets applies to all threads; a limit that another thread sets applies to that thread alone. So a block
around a pool of threads limits them, and blocks that overlap in several threads do not interfere.
"""

import math
import threading
from contextlib import contextmanager

_everywhere = math.inf  # what the main thread set


class _Here(threading.local):
    limit = math.inf  # what this thread set, if it is not the main thread


_here = _Here()


class Unlimited(int):
    """The number of threads that threadpoolctl reads if this thread has set no limit; setting it removes the limit."""


def thread_limit():
    """The maximum number of threads for a computation in this thread: an int, or inf."""
    return min(_everywhere, _here.limit)


def _own_limit():
    return _everywhere if _is_main() else _here.limit


def _set_own_limit(limit):
    global _everywhere
    if _is_main():
        _everywhere = limit
    else:
        _here.limit = limit


@contextmanager
def limited(limit):
    """A block of code in which this thread, which is not the main one, uses at most ``limit`` threads."""
    before = _here.limit
    _here.limit = min(before, limit)
    try:
        yield
    finally:
        _here.limit = before


def _is_main():
    return threading.current_thread() is threading.main_thread()


def _register():
    try:
        from threadpoolctl import LibController, register
    except ImportError:  # not installed, or older than 3.2
        return

    class FastpropController(LibController):
        user_api = internal_api = "fastprop"
        # threadpoolctl makes a controller for a shared library that it finds in the process. A back end may have none (Numba) or
        # several (the compiled modules); NumPy's library exists once, whatever the back end.
        filename_prefixes = ("_multiarray_umath",)

        def set_additional_attributes(self):
            from .kernels import active

            self.prefix, self.filepath = "fastprop", active.raw.__file__
            self.backend, self.isa = active.backend, active.isa

        def get_num_threads(self):
            from .threads import available_cores

            limit = _own_limit()
            return Unlimited(available_cores()) if limit == math.inf else limit

        def set_num_threads(self, num_threads):
            _set_own_limit(math.inf if isinstance(num_threads, Unlimited) else max(1, num_threads))

        def get_version(self):
            from . import __version__

            return __version__

    register(FastpropController)


_register()
