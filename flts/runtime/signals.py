"""Ctrl-C and SIGTERM: work is broken off where it is, and the process ends in time even where it does not listen."""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Self

from flts.observability.shutdown import is_under_way

SIGNALS = (signal.SIGINT, signal.SIGTERM)

# From the signal on; the latter while a service is told that the process ends.
_SECONDS_TO_END = 0.8
_SECONDS_FOR_FAREWELL = 3.0
_SECONDS_TO_SPEAK = 0.1

_publishing = threading.Lock()


class Stopped(BaseException):
    """The process was told to end; raised where it works, so that everything on the stack cleans up."""


class SignalWatch:
    """Raises ``Stopped`` in the body of ``with`` when a signal arrives, and ends the process if that does not.

    Python handles a signal between two of its own instructions. Code of other languages (a query, an epoch, a file that
    is read) may take minutes to come back to them, and a thread pool waits for its threads. So a thread hears of the
    signal as well: the system wakes it by a byte that it writes to a socket.

    Attributes:
        number: The signal that arrived, if one did.
    """

    def __init__(self, clean_up: Callable[[], None], say: Callable[[int], object]) -> None:
        """Prepare a watch.

        Args:
            clean_up: Removes what the process has made, from another thread than the one that made it.
            say: Tells that a signal ended the process.
        """
        self.number: int | None = None
        self._clean_up = clean_up
        self._say = say
        self._over = threading.Event()

    def __enter__(self) -> Self:
        """Begin; only the main thread can."""
        # A shell's background jobs ignore Ctrl-C, and go on doing so.
        heeded = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        self._before = {number: signal.signal(number, self._stop) for number in heeded}
        self._foreign = _children()
        self._bell, self._ringing = socket.socketpair()
        self._ringing.setblocking(False)
        self._bell_before = signal.set_wakeup_fd(self._ringing.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._wait, daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Leave everything as it was."""
        signal.set_wakeup_fd(self._bell_before)
        self._over.set()
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._ringing.close()

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        # A second one must not break off the cleaning up.
        if self.number is None and not self._over.is_set():
            self.number = number
            raise Stopped

    def _wait(self) -> None:
        """Thread: wait for a signal, and see to it that the process ends."""
        with self._bell:
            while (rung := self._bell.recv(1)) and rung[0] not in self._before:
                pass
            if rung:
                self._see_to_the_end(rung[0])

    def _see_to_the_end(self, number: int) -> None:
        farewell_until = time.monotonic() + _SECONDS_FOR_FAREWELL
        self._kill_children()
        if self._over.wait(_SECONDS_TO_END):
            return
        while is_under_way() and time.monotonic() < farewell_until:
            if self._over.wait(0.05):
                return
        with _publishing:
            self._kill_children()
            self._clean_up()
            # Whoever reads stderr may have stopped doing so.
            speaking = threading.Thread(target=self._say, args=(number,), daemon=True)
            speaking.start()
            speaking.join(_SECONDS_TO_SPEAK)
            os._exit(128 + number)

    def _kill_children(self) -> None:
        """Kill the processes that were started in the body, such as CmdStan, whose end a thread may be waiting for."""
        for child in _children() - self._foreign:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)


@contextmanager
def signals_blocked() -> Iterator[None]:
    """Let the short time in which outputs get their names pass without an interruption."""
    with _publishing:
        handlers = {number: signal.signal(number, signal.SIG_IGN) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)


def _children() -> set[int]:
    found: set[int] = set()
    for children in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):
            found |= {int(child) for child in children.read_text().split()}
    return found
