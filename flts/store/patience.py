"""How long a store asks again while its service is away, and what it says meanwhile."""

import logging
import time
from collections.abc import Callable
from threading import Lock
from typing import TypeVar

from flts import environment

T = TypeVar("T")

_SECONDS = 120
# For whoever answers others or stands before a person: a service that refuses connections is given up after 14 s.
_ATTEMPTS = 8
_SECONDS_BETWEEN_LINES = 60.0
_SLOW_SECONDS = 1.0
_LOG = logging.getLogger("flts")


class Patience:
    """What one store has: a stage's, which waits and says so, or that of a server or a person, who ask again."""

    def __init__(self, *, patient: bool) -> None:
        """Read how long a stage waits.

        Raises:
            BadInputError: The variable is no number of seconds.
        """
        self._patient = patient
        self._seconds = environment.patience(default=_SECONDS) if patient else _SECONDS
        self._told_at: float | None = None
        self._telling = Lock()

    def ask(self, service: str, ask: Callable[[], T], passing: Callable[[Exception], str]) -> T:
        """Return ``ask()``, asking again while that may help.

        Args:
            service: What is waited for, as a sentence names it.
            ask: Asks once.
            passing: Says why an error may pass; empty for one that stays. The last one is raised.
        """
        import stamina

        begun, failures = time.monotonic(), 0

        def may_pass(error: Exception) -> bool:
            nonlocal failures
            reason = passing(error)
            failures += 1
            # A failure that the next try mends within a second is nobody's matter.
            if reason and self._patient and (failures > 1 or time.monotonic() - begun > _SLOW_SECONDS):
                self._tell(f"waiting for {service}, {self._seconds} s at most: {reason}")
            return bool(reason)

        caller = stamina.RetryingCaller(
            attempts=None if self._patient else _ATTEMPTS,
            timeout=max(self._seconds, _SLOW_SECONDS),
            wait_initial=0.1,
        )
        answer = caller.on(may_pass)(ask)
        with self._telling:
            self._told_at = None
        return answer

    def _tell(self, sentence: str) -> None:
        with self._telling:
            now = time.monotonic()
            if self._told_at is not None and now - self._told_at < _SECONDS_BETWEEN_LINES:
                return
            self._told_at = now
        _LOG.warning("%s", sentence)
