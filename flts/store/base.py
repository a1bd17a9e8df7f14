"""The protocol of every object store."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class ObjectInfo:
    """Description of an object: ``size`` in bytes; ``etag`` changes whenever the content does."""

    key: str
    size: int
    etag: str


def list_by_key(store: "ObjectStore", bucket: str, prefix: str) -> "Iterator[ObjectInfo]":
    """Read all pages and sort them by key: not every store lists keys in order; SeaweedFS lists by folder."""
    found: list[ObjectInfo] = []
    after = ""
    while True:
        page, after = store.page(bucket, prefix, after=after)
        found += page
        if not after:
            return iter(sorted(found, key=lambda info: info.key))


class ObjectStore(Protocol):
    """Objects in buckets, with conditional writes.

    Every write is atomic: readers see the whole old object or the whole new one. Errors of every method:
    ``BadInputError`` for an invalid bucket or key and for refused credentials, ``ServiceUnavailableError`` when the
    store stays out of reach.
    """

    def get(self, bucket: str, key: str) -> tuple[bytes, ObjectInfo]:
        """Read a small object with its info; ``ObjectNotFoundError`` when there is none."""
        ...

    def head(self, bucket: str, key: str) -> ObjectInfo | None:
        """Describe an object, or ``None`` when there is none."""
        ...

    def put(
        self, bucket: str, key: str, data: bytes, *, if_match: str | None = None, if_none_match: bool = False
    ) -> ObjectInfo:
        """Write a small object, creating the bucket if it is missing.

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
        """Write an object of any size from a file, with bounded memory; conditions as in ``put``."""
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
        """Read the bytes [start, stop) of an object of any size, piece by piece; all from the same version.

        Bytes beyond its end are left out. After a ``ServiceUnavailableError`` the pieces are incomplete.

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

        When taking the next piece fails, nothing is written and the error is raised.
        """
        ...

    def copy(self, bucket: str, source: str, target: str) -> ObjectInfo:
        """Copy an object within a bucket, replacing the target."""
        ...

    def page(
        self, bucket: str, prefix: str = "", *, after: str = "", limit: int = 1000
    ) -> tuple[Sequence[ObjectInfo], str]:
        """List a page of the objects whose key begins with ``prefix``, in the store's own order.

        Args:
            bucket: Name of the bucket; a missing one has no objects.
            prefix: Beginning of the keys.
            after: Cursor that the previous page returned; empty for the first page.
            limit: Maximum number of objects, 1 to 1000.

        Returns:
            The objects, and the cursor of the next page; empty when this is the last.
        """
        ...

    def list(self, bucket: str, prefix: str = "") -> Iterator[ObjectInfo]:
        """List objects whose key begins with ``prefix``, in key order; nothing for a missing bucket."""
        ...

    def delete(self, bucket: str, key: str) -> None:
        """Remove an object; no error when there is none."""
        ...
