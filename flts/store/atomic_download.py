"""Downloads that appear as whole, verified files or not at all."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol
from uuid import uuid4

from flts.diagnostics.system import refused
from flts.errors import ChecksumMismatchError


class Sink(Protocol):
    """Writable end of a file."""

    def write(self, data: bytes, /) -> object:
        """Append bytes."""
        ...


class _HashingSink:
    def __init__(self, file: BinaryIO, *, hashing: bool) -> None:
        self._file = file
        self._digest = hashlib.sha256() if hashing else None

    def write(self, data: bytes, /) -> None:
        if self._digest is not None:
            self._digest.update(data)
        self._file.write(data)

    def sha256(self) -> str | None:
        return None if self._digest is None else self._digest.hexdigest()


@contextmanager
def atomic_file(name: str, path: Path, sha256: str | None) -> Iterator[Sink]:
    """Yield a sink whose content becomes the file ``path`` when the block ends without an error.

    Args:
        name: Name of the object, for errors.
        path: The file; an existing one is replaced.
        sha256: The expected SHA-256, if any.

    Raises:
        ChecksumMismatchError: The content has another SHA-256; ``path`` is left as it was.
        BadInputError: The file cannot be written.
    """
    partial = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        with refused(f"write {path}"), partial.open("wb") as file:
            sink = _HashingSink(file, hashing=sha256 is not None)
            yield sink
        if sink.sha256() != sha256:
            raise ChecksumMismatchError(f"{name} has sha256 {sink.sha256()}, but {sha256} was announced")
        with refused(f"write {path}"):
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
