"""Waiting for what happens elsewhere: in a thread, a process or a server."""

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")

# Long enough for a machine that has ten times its work to do: a test that passes never waits for it.
PATIENCE_SECONDS = 120.0
_PAUSE_SECONDS = 0.02


def wait_until(
    condition: Callable[[], Found],
    timeout: float = PATIENCE_SECONDS,
    *,
    pause: float = _PAUSE_SECONDS,
    ignoring: tuple[type[Exception], ...] = (),
    state: Callable[[], object] = str,
) -> Found:
    """Ask again and again until a condition holds, and return what it gave.

    Args:
        condition: Is asked at least once.
        timeout: After so many seconds the test fails.
        pause: Seconds between two questions.
        ignoring: Errors that mean that it does not hold yet.
        state: Says, for the failed test, how things are instead.
    """
    deadline = time.monotonic() + timeout
    problem: Exception | None = None
    while True:
        try:
            if found := condition():
                return found
        except ignoring as error:
            problem = error
        assert time.monotonic() < deadline, f"not within {timeout:g} seconds: {problem or state()}"
        time.sleep(pause)
