"""Errors of the operating system, as sentences for the person who can fix them."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flts.errors import BadInputError

_ENVIRONMENT_TROUBLE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}
_DISK_FULL_TEXTS = ("No space left on device", "database or disk is full")
_NO_MEMORY_TEXTS = ("can't allocate memory", "out of memory")
NO_MEMORY = "there is not enough memory: give it more, take fewer rows, or a smaller model"


def reason(error: BaseException) -> str:
    """Return an operating system error in words: ``permission denied``."""
    text = getattr(error, "strerror", None) or str(error)
    return text[:1].lower() + text[1:]


@contextmanager
def refused(action: str) -> Iterator[None]:
    """Turn errors of the operating system in the body into ``cannot <action>: <reason>``.

    Raises:
        BadInputError: The body raised an ``OSError``.
    """
    try:
        yield
    except OSError as error:
        raise BadInputError(f"cannot {action}: {reason(error)}") from None


def environment_trouble(error: BaseException, output_dir: Path | None = None) -> str | None:
    """Tell a full disk, missing permissions or too little memory from a bug, anywhere in the chain of causes.

    Args:
        error: The error.
        output_dir: The folder to name where the error names no file, or one inside it.

    Returns:
        The sentence for the person who can fix it, or ``None``.
    """
    link: BaseException | None = error
    while link is not None:
        # Some libraries put the system's message into errors of their own.
        if (
            isinstance(link, MemoryError)
            or getattr(link, "errno", None) == errno.ENOMEM
            or _says(link, _NO_MEMORY_TEXTS)
        ):
            return NO_MEMORY
        full = _says(link, _DISK_FULL_TEXTS)
        if full or (isinstance(link, OSError) and link.errno in _ENVIRONMENT_TROUBLE):
            words = "no space left on device" if full else reason(link)
            place = getattr(link, "filename", None)
            if output_dir and (not place or Path(place).is_relative_to(output_dir)):
                return f"--output-dir {output_dir} cannot be written: {words}"
            return f"{place}: {words}" if place else words
        link = link.__cause__ or link.__context__
    return None


def _says(error: BaseException, texts: tuple[str, ...]) -> bool:
    return any(text in str(error) for text in texts)
