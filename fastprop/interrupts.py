"""Ctrl-C for training in a thread that is not the main one: the code that started the thread sets its event.

Python raises KeyboardInterrupt in the main thread alone. The training loop calls `check` between two compiled calls.
"""

import threading
from contextlib import contextmanager

_here = threading.local()


@contextmanager
def interruptible(event):
    """A block of code in which `check` raises KeyboardInterrupt once the event is set, in this thread."""
    before = getattr(_here, "event", None)
    _here.event = event
    try:
        yield
    finally:
        _here.event = before


def check():
    """Raise KeyboardInterrupt if this thread was interrupted."""
    event = getattr(_here, "event", None)
    if event is not None and event.is_set():
        raise KeyboardInterrupt
