"""The protocol of every object store."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class ObjectInfo:
    """What a store knows of an object: ``size`` in bytes, ``etag`` changes whenever the content does."""

    key: str
    size: int
    etag: str


def list_by_key(store: "ObjectStore", bucket: str, prefix: str) -> "Iterator[ObjectInfo]":
    """Read a whole list, and sort it: not every store has its keys in order, as SeaweedFS goes by folders."""
    found: list[ObjectInfo] = []
    after = ""
    while True:
        page, after = store.page(bucket, prefix, after=after)
        found += page
        if not after:
            return iter(sorted(found, key=lambda info: info.key))


class ObjectStore(Protocol):
    """Objects in buckets, with conditional writes.

    Every write is atomic: readers see the old object or the new one, whole. Errors of every method:
    ``BadInputError`` for a bucket or key outside the rules or refused credentials, ``ServiceUnavailableError``
    when the store stays out of reach.
    """

    def get(self, bucket: str, key: str) -> tuple[bytes, ObjectInfo]:
        """Read a small object and its info in one step; ``ObjectNotFoundError`` when there is none."""
        ...

    def head(self, bucket: str, key: str) -> ObjectInfo | None:
        """Describe an object, or ``None`` when there is none."""
        ...

    def put(
        self, bucket: str, key: str, data: bytes, *, if_match: str | None = None, if_none_match: bool = False
    ) -> ObjectInfo:
        """Write a small object, making the bucket when missing.

        Args:
            bucket: Name of the bucket.
            key: Key within it, ``/``-separated.
            data: The content.
            if_match: Write only while the object has this etag.
            if_none_match: Write only while there is no such object.

        Raises:
            PreconditionFailedError: The condition did not hold; nothing was written.
        """
        ...

    def upload(self, bucket: str, key: str, path: Path, *, if_none_match: bool = False) -> ObjectInfo:
        """Write an object from a file of any size, with bounded memory; conditions as in ``put``."""
        ...

    def download(self, bucket: str, key: str, path: Path, *, sha256: str | None = None) -> ObjectInfo:
        """Read an object of any size into a file, whole or not at all.

        Raises:
            ObjectNotFoundError: There is no such object.
            ChecksumMismatchError: Its SHA-256 is not ``sha256``; no file is left.
        """
        ...

    def read(
        self, bucket: str, key: str, *, start: int = 0, stop: int | None = None
    ) -> tuple[ObjectInfo, Iterator[bytes]]:
        """Read the bytes [start, stop) of an object of any size, piece by piece; all of one version.

        Bytes beyond its end are left out. ``ServiceUnavailableError`` between two pieces means that they are no whole.

        Raises:
            ObjectNotFoundError: There is no such object.
        """
        ...

    def write(
        self,
        bucket: str,
        key: str,
        pieces: Iterable[bytes],
        *,
        if_match: str | None = None,
        if_none_match: bool = False,
    ) -> ObjectInfo:
        """Write an object from pieces, with bounded memory; conditions as in ``put``.

        Where taking the next piece fails, nothing is written, and the error goes on.
        """
        ...

    def copy(self, bucket: str, source: str, target: str) -> ObjectInfo:
        """Copy an object within a bucket, replacing the target."""
        ...

    def page(
        self, bucket: str, prefix: str = "", *, after: str = "", limit: int = 1000
    ) -> tuple[Sequence[ObjectInfo], str]:
        """List some of the objects whose key begins with ``prefix``, in an order of the store's own.

        Args:
            bucket: Name of the bucket; a missing one has no objects.
            prefix: What keys begin with.
            after: What came with the page before; empty for the first one.
            limit: How many objects at most, 1 to 1000.

        Returns:
            The objects, and what leads to the next page: empty when this is the last.
        """
        ...

    def list(self, bucket: str, prefix: str = "") -> Iterator[ObjectInfo]:
        """List objects whose key begins with ``prefix``, in key order; nothing for a missing bucket."""
        ...

    def delete(self, bucket: str, key: str) -> None:
        """Remove an object; no error when there is none."""
        ...
