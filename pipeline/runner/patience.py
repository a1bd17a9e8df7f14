"""Waiting for a service that is away before the first stage, as the stages themselves wait for it later."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from flts import environment
from flts.errors import ServiceUnavailableError

T = TypeVar("T")
Say = Callable[[str], None]

VARIABLE = "FLTS_PATIENCE_SECONDS"
STORE_SECONDS, MLFLOW_SECONDS = 120, 180
_TELL_SECONDS = 60.0
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 8.0


def patiently(ask: Callable[[], T], say: Say, *, default: int) -> T:
    """Ask a service again and again while it is away.

    Args:
        ask: What needs the service, and takes no time where it answers; may be called many times.
        say: Told at once what is waited for and why, then once a minute, and when that is over.
        default: Seconds to wait where ``FLTS_PATIENCE_SECONDS`` does not say how many.

    Raises:
        ServiceUnavailableError: It was away for that long.
        BadInputError: The variable is no whole number, or what ``ask`` raises.
    """
    seconds = environment.patience(default=default)
    failed = told = None  # when it first did not answer, and when that was last said
    pause = _FIRST_PAUSE
    while True:
        try:
            with _asking_once():
                found = ask()
        except ServiceUnavailableError as error:
            now = time.monotonic()
            failed = now if failed is None else failed
            left = failed + seconds - now
            if left <= 0:
                raise
            if told is None or now - told >= _TELL_SECONDS:
                told = now
                say(f"waiting, for another {left:.0f} s at most: {error}")
            time.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE)
        else:
            if failed is not None:
                say(f"it answers, after {time.monotonic() - failed:.0f} s")
            return found


@contextmanager
def _asking_once() -> Iterator[None]:
    """Have whatever asks a service not wait for it by itself: who waits here also says so."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = "0"
    try:
        yield
    finally:
        if before is None:
            del os.environ[VARIABLE]
        else:
            os.environ[VARIABLE] = before
