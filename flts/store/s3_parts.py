"""Large objects in parts."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from flts.errors import PreconditionFailedError, ServiceUnavailableError

T = TypeVar("T")

_MAX_READS = 5


def ranges(begin: int, end: int, part: int) -> Iterator[range]:
    """Cut the bytes [begin, end) into parts."""
    return (range(at, min(at + part, end)) for at in range(begin, end, part))


def regroup(pieces: Iterable[bytes], size: int) -> Iterator[bytes]:
    """Join and split pieces of any size into parts of ``size`` bytes; the last may be smaller."""
    buffer = bytearray()
    for piece in pieces:
        buffer += piece
        while len(buffer) >= size:
            with memoryview(buffer) as view:
                part = bytes(view[:size])
            del buffer[:size]
            yield part
            del part  # else it would stay in memory until the next one is ready
    if buffer:
        yield bytes(buffer)


def read_one_version(name: str, read: Callable[[], T]) -> T:
    """Call ``read`` again while the object is replaced during the read: its parts must be of the same version."""
    for _ in range(_MAX_READS):
        try:
            return read()
        except PreconditionFailedError:
            continue
    raise ServiceUnavailableError(f"{name} changed during each of {_MAX_READS} attempts to read it")
