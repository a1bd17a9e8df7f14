"""Large objects as parts."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from flts.errors import PreconditionFailedError, ServiceUnavailableError

T = TypeVar("T")

_READS_OF_A_CHANGING_OBJECT = 5


def ranges(begin: int, end: int, part: int) -> Iterator[range]:
    """Cut the bytes [begin, end) into parts."""
    return (range(at, min(at + part, end)) for at in range(begin, end, part))


def parts_of(pieces: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Put pieces of any size together to parts, all but the last of ``size`` bytes."""
    gathered = bytearray()
    for piece in pieces:
        gathered += piece
        while len(gathered) >= size:
            with memoryview(gathered) as view:
                part = bytes(view[:size])
            del gathered[:size]
            yield part
            del part  # or it would stay until the next one is there
    if gathered:
        yield bytes(gathered)


def unchanged(name: str, read: Callable[[], T]) -> T:
    """Read again while somebody replaces the object meanwhile, as parts of two versions make none."""
    for _ in range(_READS_OF_A_CHANGING_OBJECT):
        try:
            return read()
        except PreconditionFailedError:
            continue
    raise ServiceUnavailableError(f"{name} changed during each of {_READS_OF_A_CHANGING_OBJECT} attempts to read it")
