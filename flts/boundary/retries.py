"""Retries of requests to a service that is away, with a log line that says what is waited for."""

import logging
import time
from collections.abc import Callable
from threading import Lock
from typing import TypeVar

from flts.boundary.environment import whole_number

T = TypeVar("T")

# Long enough for a restart.
_STORE_SECONDS, _MLFLOW_SECONDS = 120, 180
# Without a time to wait: 14 s for a service that refuses connections, and two minutes for one that hangs.
_ATTEMPTS, _SECONDS_WITHOUT = 8, 120
_SECONDS_BETWEEN_LINES = 60.0
# A failure that the next attempt fixes within a second is not worth a line.
_SLOW_SECONDS = 1.0

_log = logging.getLogger("flts")


def store_wait_seconds() -> int:
    """Return the time in seconds that a stage waits for an object store: ``FLTS_PATIENCE_SECONDS``, or two minutes.

    Raises:
        BadInputError: The variable is not a whole number.
    """
    return _seconds(_STORE_SECONDS)


def mlflow_wait_seconds() -> int:
    """Return the time that a stage waits for MLflow, by default three minutes; else as ``store_wait_seconds``."""
    return _seconds(_MLFLOW_SECONDS)


def _seconds(default: int) -> int:
    return whole_number("FLTS_PATIENCE_SECONDS", default=default, minimum=0)


class RetryPolicy:
    """Retries of a stage, which waits and logs it; or of a server or a person, who will ask again anyway."""

    def __init__(self, seconds: int | None) -> None:
        """Wait at most ``seconds``; ``None``: try a few times without a log line."""
        self._seconds = seconds
        self._logged_at: float | None = None
        self._logging = Lock()

    def call(self, request: Callable[[], T], describe_outage: Callable[[Exception], str]) -> T:
        """Return ``request()``, calling it again while that may help; the last error is raised.

        Args:
            request: Sends the request once.
            describe_outage: Returns, for an error that may pass, a sentence on which service is away and why; empty for
                any other error.
        """
        import stamina

        begun, failures = time.monotonic(), 0

        def is_transient(error: Exception) -> bool:
            nonlocal failures
            sentence = describe_outage(error)
            failures += 1
            if sentence and (failures > 1 or time.monotonic() - begun > _SLOW_SECONDS):
                self._log_outage(sentence)
            return bool(sentence)

        seconds = _SECONDS_WITHOUT if self._seconds is None else max(self._seconds, _SLOW_SECONDS)
        attempts = _ATTEMPTS if self._seconds is None else None
        answer = stamina.RetryingCaller(attempts=attempts, timeout=seconds, wait_initial=0.1).on(is_transient)(request)
        with self._logging:
            self._logged_at = None
        return answer

    def _log_outage(self, sentence: str) -> None:
        if not self._seconds:
            return
        with self._logging:
            now = time.monotonic()
            if self._logged_at is not None and now - self._logged_at < _SECONDS_BETWEEN_LINES:
                return
            self._logged_at = now
        _log.warning("waiting, %d s at most: %s", self._seconds, sentence)
