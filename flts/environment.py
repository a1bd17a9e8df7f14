"""Whole numbers that environment variables give."""

import os

from flts.errors import BadInputError


def threads() -> int:
    """Return the number of compute threads, ``FLTS_THREADS``: one by default, so that results do not depend on cores.

    Raises:
        BadInputError: The variable is not a whole number of at least 1.
    """
    return whole_number("FLTS_THREADS", default=1, minimum=1)


def whole_number(variable: str, *, default: int, minimum: int) -> int:
    """Return what an environment variable says, ``default`` where it is empty or not set.

    Raises:
        BadInputError: It is not a whole number of at least ``minimum``.
    """
    text = os.environ.get(variable) or str(default)
    if not (text.isascii() and text.isdecimal() and int(text) >= minimum):
        raise BadInputError(
            f"environment variable {variable} must be a whole number of at least {minimum}, got {text!r}"
        )
    return int(text)
