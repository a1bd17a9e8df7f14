"""Numbers from environment variables."""

import math
import os

from flts.diagnostics.terminal import printable
from flts.errors import BadInputError

_MOST_THREADS = 1024
_MOST = 10**9
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def threads() -> int:
    """Return the number of compute threads, ``FLTS_THREADS``: one by default, so that results do not depend on cores.

    Raises:
        BadInputError: The variable is not a whole number from 1 to 1024.
    """
    return whole_number("FLTS_THREADS", default=1, minimum=1, maximum=_MOST_THREADS)


def limit_threads() -> None:
    """Set the threads of the numeric libraries, which read these variables when they are imported."""
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, str(threads())))


def whole_number(variable: str, *, default: int, minimum: int, maximum: int = _MOST) -> int:
    """Return the whole number in an environment variable, ``default`` where it is empty or not set.

    Raises:
        BadInputError: It is not a whole number from ``minimum`` to ``maximum``.
    """
    text = os.environ.get(variable) or str(default)
    # Python refuses to read a number of thousands of digits.
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 100 else -1
    if not minimum <= number <= maximum:
        limits = f"of at least {minimum}" if maximum == _MOST else f"from {minimum} to {maximum}"
        raise BadInputError(f"environment variable {variable} must be a whole number {limits}, got {text[:80]!r}")
    return number


def seconds(variable: str, *, default: float, maximum: float = math.inf) -> float:
    """Return the number of seconds in an environment variable, ``default`` where it is empty or not set.

    Raises:
        BadInputError: It is not a finite number greater than 0, or it is more than ``maximum``.
    """
    text = os.environ.get(variable) or str(default)
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not (0 < number <= maximum and math.isfinite(number)):
        limit = f", at most {maximum:g}" if math.isfinite(maximum) else ""
        raise BadInputError(
            f"environment variable {variable} must be a number of seconds{limit}, got {printable(text)[:80]!r}"
        )
    return number
