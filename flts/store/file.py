"""An object store in a folder: ``<root>/<bucket>/<key>``.

Writers fill a file under ``<root>/.tmp`` and rename it, so that readers never see part of an object. Conditional
writes hold a lock file while they compare and rename; the kernel releases the lock of a process that dies, so that a
killed process blocks nobody.
"""

import fcntl
import hashlib
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import BinaryIO, Self
from urllib.parse import unquote
from uuid import uuid4

from flts.diagnostics.system import reason, refused
from flts.errors import BadInputError, ObjectNotFoundError, PreconditionFailedError
from flts.store.atomic_download import atomic_file
from flts.store.base import ObjectInfo
from flts.store.keys import check_bucket, check_key

_CHUNK = 1 << 20
_HASHED_UP_TO = 1 << 20
_LOCKS = 64
_ABANDONED_AFTER_SECONDS = 60


class FileStore:
    """The ``ObjectStore`` of one machine; any number of processes may use the same folder at once."""

    def __init__(self, root: Path) -> None:
        """Use the folder ``root``; the first write creates it."""
        self.root = root
        self._swept = False

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Open the store at ``file:///dir``; ``BadInputError`` when the address has another host or no folder."""
        host, slash, path = url.removeprefix("file://").partition("/")
        if host not in ("", "localhost") or not slash or not path.strip("/") or "\0" in unquote(path):
            raise BadInputError(f"gateway_url {url!r} does not name a folder: expected file:///dir")
        return cls(Path(unquote(f"/{path}")))

    def get(self, bucket: str, key: str) -> tuple[bytes, ObjectInfo]:
        """Read a small object with its info."""
        with self._open(bucket, key) as source:
            data = source.read()
            return data, ObjectInfo(key, len(data), _etag(os.fstat(source.fileno()), data))

    def head(self, bucket: str, key: str) -> ObjectInfo | None:
        """Describe an object, or ``None`` when there is none."""
        try:
            with self._open(bucket, key) as source:
                return _describe(key, source)
        except ObjectNotFoundError:
            return None

    def put(
        self, bucket: str, key: str, data: bytes, *, if_match: str | None = None, if_none_match: bool = False
    ) -> ObjectInfo:
        """Write a small object, creating the bucket if it is missing."""
        return self.write(bucket, key, [data], if_match=if_match, if_none_match=if_none_match)

    def upload(self, bucket: str, key: str, path: Path, *, if_none_match: bool = False) -> ObjectInfo:
        """Write an object of any size from a file, with bounded memory."""
        try:
            source = path.open("rb")
        except OSError as error:
            raise BadInputError(f"cannot read {path}: {reason(error)}") from None
        with source:
            return self.write(bucket, key, iter(partial(source.read, _CHUNK), b""), if_none_match=if_none_match)

    def download(self, bucket: str, key: str, path: Path, *, sha256: str | None = None) -> ObjectInfo:
        """Read an object of any size into a file, whole or not at all."""
        with self._open(bucket, key) as source:
            with atomic_file(f"{bucket}/{key}", path, sha256) as sink:
                while chunk := source.read(_CHUNK):
                    sink.write(chunk)
            return _describe(key, source)

    def read(
        self, bucket: str, key: str, *, start: int = 0, stop: int | None = None
    ) -> tuple[ObjectInfo, Iterator[bytes]]:
        """Read bytes of an object of any size in pieces."""
        source = self._open(bucket, key)
        info = _describe(key, source)

        def pieces() -> Iterator[bytes]:
            with source:
                source.seek(start)
                left = (info.size if stop is None else min(stop, info.size)) - start
                while left > 0 and (chunk := source.read(min(_CHUNK, left))):
                    left -= len(chunk)
                    yield chunk

        return info, pieces()

    def write(
        self,
        bucket: str,
        key: str,
        pieces: Iterable[bytes],
        *,
        if_match: str | None = None,
        if_none_match: bool = False,
    ) -> ObjectInfo:
        """Write an object from pieces, with bounded memory."""
        target = self._path(bucket, key)
        with self._temporary(f"{bucket}/{key}") as (temporary, sink):
            for piece in pieces:
                sink.write(piece)
            return self._publish(bucket, key, temporary, sink, target, if_match, if_none_match)

    def copy(self, bucket: str, source: str, target: str) -> ObjectInfo:
        """Copy an object within a bucket, replacing the target."""
        with self._open(bucket, source):
            return self.upload(bucket, target, self._path(bucket, source))

    def page(
        self, bucket: str, prefix: str = "", *, after: str = "", limit: int = 1000
    ) -> tuple[Sequence[ObjectInfo], str]:
        """List a page of the objects whose key begins with ``prefix``, in key order; ``after`` is a key."""
        found = [*islice(self._list(bucket, prefix, after), limit + 1)]
        return found[:limit], found[limit - 1].key if len(found) > limit else ""

    def list(self, bucket: str, prefix: str = "") -> Iterator[ObjectInfo]:
        """List objects whose key begins with ``prefix``, in key order; nothing for a missing bucket."""
        return self._list(bucket, prefix, "")

    def _list(self, bucket: str, prefix: str, after: str) -> Iterator[ObjectInfo]:
        check_bucket(bucket)
        folder = self.root / bucket
        for key in sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()):
            if key > after and key.startswith(prefix) and (info := self.head(bucket, key)):
                yield info

    def delete(self, bucket: str, key: str) -> None:
        """Remove an object; no error when there is none."""
        path = self._path(bucket, key)
        with self._lock(bucket, key), refused(f"delete {bucket}/{key}"), suppress(FileNotFoundError):
            path.unlink()

    def _path(self, bucket: str, key: str) -> Path:
        check_bucket(bucket)
        check_key(key)
        return self.root / bucket / key

    def _open(self, bucket: str, key: str) -> BinaryIO:
        path = self._path(bucket, key)
        try:
            return path.open("rb")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise ObjectNotFoundError(f"there is no object {bucket}/{key} in file://{self.root}") from None
        except OSError as error:
            raise BadInputError(f"cannot read {path}: {reason(error)}") from None

    @contextmanager
    def _temporary(self, name: str) -> Iterator[tuple[Path, BinaryIO]]:
        """Yield a locked file on the same filesystem; it is removed afterwards unless it was renamed."""
        folder = self.root / ".tmp"
        with refused(f"write {name} under {self.root}"):
            folder.mkdir(parents=True, exist_ok=True)
            if not self._swept:
                _sweep(folder)
                self._swept = True
            path = folder / uuid4().hex
            try:
                with path.open("w+b") as sink:
                    fcntl.flock(sink, fcntl.LOCK_EX)
                    yield path, sink
            finally:
                path.unlink(missing_ok=True)

    def _publish(
        self,
        bucket: str,
        key: str,
        temporary: Path,
        sink: BinaryIO,
        target: Path,
        if_match: str | None,
        if_none_match: bool,
    ) -> ObjectInfo:
        """Check the condition and rename, with the lock of all writers of this key."""
        sink.flush()
        os.fsync(sink.fileno())
        info = _describe(key, sink)
        with self._lock(bucket, key):
            if if_none_match or if_match is not None:
                current = self.head(bucket, key)
                if if_none_match and current is not None:
                    raise PreconditionFailedError(f"{bucket}/{key} already exists")
                if if_match is not None and (current is None or current.etag != if_match):
                    raise PreconditionFailedError(f"{bucket}/{key} no longer has the etag {if_match}")
            _move(temporary, target)
        return info

    @contextmanager
    def _lock(self, bucket: str, key: str) -> Iterator[None]:
        """Hold the lock that all writers of this key take; some other keys share it."""
        folder = self.root / ".locks"
        number = int.from_bytes(hashlib.blake2b(f"{bucket}/{key}".encode(), digest_size=2).digest()) % _LOCKS
        with refused(f"lock {bucket}/{key} under {self.root}"):
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / f"{number:02d}").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield


def _move(path: Path, target: Path) -> None:
    """Rename a file, and remove the empty folders that deleted objects left at the target."""
    while True:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.rename(target)
        except FileNotFoundError:
            if not path.exists():
                raise
            continue  # another writer removed the folder
        except IsADirectoryError:
            for folder, _, _ in os.walk(target, topdown=False):
                os.rmdir(folder)
            continue
        return


def _etag(status: os.stat_result, data: bytes) -> str:
    """Derive an etag: from the content of small objects, from inode, size and time of large ones.

    Objects that change by compare-and-swap are small; hashing gigabytes to describe them would serve nobody.
    """
    if status.st_size > _HASHED_UP_TO:
        data = f"{status.st_ino}-{status.st_size}-{status.st_mtime_ns}".encode()
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _describe(key: str, source: BinaryIO) -> ObjectInfo:
    status = os.fstat(source.fileno())
    source.seek(0)
    data = source.read() if status.st_size <= _HASHED_UP_TO else b""
    return ObjectInfo(key, status.st_size, _etag(status, data))


def _sweep(folder: Path) -> None:
    """Remove the old, unlocked files that killed writers left."""
    for path in folder.iterdir():
        with suppress(OSError), path.open("rb") as file:
            if time.time() - path.stat().st_mtime > _ABANDONED_AFTER_SECONDS:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
