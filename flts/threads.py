"""Threads that end soon after the main thread was interrupted."""

from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from threading import Event


class Stop:
    """Whether work in threads is still wanted; they call ``check`` between pieces of their work."""

    def __init__(self) -> None:
        self._event = Event()

    def set(self) -> None:
        """Let all work end."""
        self._event.set()

    def check(self) -> None:
        """Raise ``CancelledError`` when nobody waits for the work any more."""
        if self._event.is_set():
            raise CancelledError


@contextmanager
def stopping() -> Iterator[Stop]:
    """Tell threads to end when the block does: inside that of their pool, which waits for them.

        with ThreadPoolExecutor() as pool, stopping() as stop:
            results = list(pool.map(partial(work, stop=stop), jobs))

    A signal handler that raises ends the wait for a result, but not the threads: their pool would wait until all work
    is done. Threads that are left behind crash where they run native code while the process ends.
    """
    stop = Stop()
    try:
        yield stop
    finally:
        stop.set()
