"""Ctrl-C and SIGTERM: they interrupt the work, and end the process in time even where it does not react to them."""

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

from flts.observability.shutdown import in_grace_period

SIGNALS = (signal.SIGINT, signal.SIGTERM)

# After the signal.
_SECONDS_TO_END = 0.8
_SECONDS_WITH_GRACE_PERIOD = 3.0
_SECONDS_TO_REPORT = 0.1

_publishing = threading.Lock()


class Stopped(BaseException):
    """The process was stopped by a signal; raised in the working code, so that everything on the stack cleans up."""


class SignalWatch:
    """Raises ``Stopped`` in the body of ``with`` when a signal arrives, and ends the process where that does not.

    Python handles a signal between two of its own instructions. Native code (a query, an epoch, the reading of a file)
    may take minutes to return to them, and a thread pool waits for its threads. So a thread watches for the signal as
    well: the system writes a byte to a socket that the thread reads.

    Attributes:
        number: The signal that arrived, if one did.
    """

    def __init__(self, clean_up: Callable[[], None], report: Callable[[int], object]) -> None:
        """Set up the watch; it begins with the body of ``with``.

        Args:
            clean_up: Removes the files of the process; called in another thread than the one that made them.
            report: Reports that a signal ended the process.
        """
        self.number: int | None = None
        self._clean_up = clean_up
        self._report = report
        self._over = threading.Event()

    def __enter__(self) -> Self:
        """Begin; only the main thread can do so."""
        # Background jobs of a shell ignore Ctrl-C, and keep ignoring it.
        handled = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        self._previous_handlers = {number: signal.signal(number, self._stop) for number in handled}
        self._other_children = _children()
        self._receiver, self._sender = socket.socketpair()
        self._sender.setblocking(False)
        self._previous_fd = signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._wait, daemon=True).start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Restore the earlier handlers."""
        signal.set_wakeup_fd(self._previous_fd)
        self._over.set()
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)
        self._sender.close()

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        # A second signal must not interrupt the cleaning up.
        if self.number is None and not self._over.is_set():
            self.number = number
            raise Stopped

    def _wait(self) -> None:
        """Wait for a signal, and make sure that the process ends; runs in a thread."""
        with self._receiver:
            while (received := self._receiver.recv(1)) and received[0] not in self._previous_handlers:
                pass
            if received:
                self._ensure_end(received[0])

    def _ensure_end(self, number: int) -> None:
        grace_until = time.monotonic() + _SECONDS_WITH_GRACE_PERIOD
        self._kill_children()
        if self._over.wait(_SECONDS_TO_END):
            return
        while in_grace_period() and time.monotonic() < grace_until:
            if self._over.wait(0.05):
                return
        with _publishing:
            self._kill_children()
            self._clean_up()
            # The reader of stderr may have stopped reading.
            reporting = threading.Thread(target=self._report, args=(number,), daemon=True)
            reporting.start()
            reporting.join(_SECONDS_TO_REPORT)
            os._exit(128 + number)

    def _kill_children(self) -> None:
        """Kill the processes that the body started, such as CmdStan, for which a thread may be waiting."""
        for child in _children() - self._other_children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)


@contextmanager
def signals_blocked() -> Iterator[None]:
    """Block signals for the short time in which outputs are renamed."""
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
