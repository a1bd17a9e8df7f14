"""Time for a last word: a process that is told to end has less than a second, and more while it tells others so."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_under_way = threading.Event()


@contextmanager
def last_messages() -> Iterator[None]:
    """Tell in the body, to a service, that this process ends."""
    _under_way.set()
    try:
        yield
    finally:
        _under_way.clear()


def is_under_way() -> bool:
    """Tell whether a last word is being said."""
    return _under_way.is_set()
