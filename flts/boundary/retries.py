"""Asking a service again while it is away, and saying what is waited for."""

import logging
import time
from collections.abc import Callable
from threading import Lock
from typing import TypeVar

from flts.boundary.environment import whole_number

T = TypeVar("T")

# Time enough for a restart.
_STORE_SECONDS, _MLFLOW_SECONDS = 120, 180
# Who has no patience gives up a service that refuses connections after 14 s, and one that hangs after two minutes.
_ATTEMPTS, _SECONDS_WITHOUT = 8, 120
_SECONDS_BETWEEN_LINES = 60.0
# What the next try mends within a second is nobody's matter.
_SLOW_SECONDS = 1.0

_log = logging.getLogger("flts")


def for_store() -> int:
    """Return how many seconds a stage waits for an object store: ``FLTS_PATIENCE_SECONDS``, or two minutes.

    Raises:
        BadInputError: The variable is not a whole number.
    """
    return _seconds(_STORE_SECONDS)


def for_mlflow() -> int:
    """Return how many seconds a stage waits for MLflow: ``FLTS_PATIENCE_SECONDS``, or three minutes; errors alike."""
    return _seconds(_MLFLOW_SECONDS)


def _seconds(default: int) -> int:
    return whole_number("FLTS_PATIENCE_SECONDS", default=default, minimum=0)


class RetryPolicy:
    """What a stage has, which waits and says so; or that of a server or a person, who ask again by themselves."""

    def __init__(self, seconds: int | None) -> None:
        """Wait ``seconds`` at most; ``None``: ask a few times in silence."""
        self._seconds = seconds
        self._told_at: float | None = None
        self._telling = Lock()

    def ask(self, ask: Callable[[], T], passing: Callable[[Exception], str]) -> T:
        """Return ``ask()``, asking again while that may help.

        Args:
            ask: Asks once.
            passing: Says of an error that may pass which service is away, and why; empty for one that stays. The last
                error is raised.
        """
        import stamina

        begun, failures = time.monotonic(), 0

        def may_pass(error: Exception) -> bool:
            nonlocal failures
            sentence = passing(error)
            failures += 1
            if sentence and (failures > 1 or time.monotonic() - begun > _SLOW_SECONDS):
                self._tell(sentence)
            return bool(sentence)

        seconds = _SECONDS_WITHOUT if self._seconds is None else max(self._seconds, _SLOW_SECONDS)
        attempts = _ATTEMPTS if self._seconds is None else None
        answer = stamina.RetryingCaller(attempts=attempts, timeout=seconds, wait_initial=0.1).on(may_pass)(ask)
        with self._telling:
            self._told_at = None
        return answer

    def _tell(self, sentence: str) -> None:
        if not self._seconds:
            return
        with self._telling:
            now = time.monotonic()
            if self._told_at is not None and now - self._told_at < _SECONDS_BETWEEN_LINES:
                return
            self._told_at = now
        _log.warning("waiting, %d s at most: %s", self._seconds, sentence)
