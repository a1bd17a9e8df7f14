"""Paths from outside, which must be text that files, messages and logs can hold."""

import re
from pathlib import Path

from flts.errors import BadInputError

# Python reads bytes that are not UTF-8 as surrogates.
_NOT_TEXT = re.compile("[\0\ud800-\udfff]")


def is_text(value: str) -> bool:
    """Tell whether files and services can store a value: it is UTF-8 and has no NUL."""
    return not _NOT_TEXT.search(value)


def read_path(value: str, label: str) -> Path:
    """Return a path; ``label`` names it in the sentence.

    Raises:
        BadInputError: It is empty, has a NUL, or is not UTF-8, in which messages to other stages are written.
    """
    if not value:
        raise BadInputError(f"{label} is empty, expected a path")
    if not is_text(value):
        raise BadInputError(f"{label} {value} is not UTF-8 text without NUL: rename it")
    return Path(value)
