"""A longer time to shut down for a process that still has to tell a service of it.

A stopped process has less than a second to end; in a grace period it has some seconds.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_active = threading.Event()


@contextmanager
def shutdown_grace_period() -> Iterator[None]:
    """Let the body tell a service that this process ends."""
    _active.set()
    try:
        yield
    finally:
        _active.clear()


def in_grace_period() -> bool:
    """Tell whether a grace period is under way."""
    return _active.is_set()
