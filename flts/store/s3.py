"""An object store on S3: AWS, MinIO, SeaweedFS and other services with conditional writes.

Large objects travel in parts, a few at once, so that memory stays bounded.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from flts.boundary.retries import RetryPolicy
from flts.diagnostics.system import reason
from flts.errors import BadInputError, ObjectNotFoundError, PreconditionFailedError, ServiceUnavailableError
from flts.store.atomic_download import atomic_file
from flts.store.base import ObjectInfo, list_by_key
from flts.store.keys import check_bucket, check_key
from flts.store.parallel import map_in_order
from flts.store.s3_client import S3Client
from flts.store.s3_errors import BucketNotFoundError, EmptyRangeError, TruncatedError
from flts.store.s3_parts import ranges, read_one_version, regroup
from flts.store.s3_writing import TOKEN, Fields, etag, quote_etag, write, write_parts

T = TypeVar("T")

_PART = 8 << 20
_WRITTEN_PART = 6 << 20  # of each of many writers; allows 60 GB
_MAX_PARTS = 10_000
_COPIED_PART = 256 << 20  # few enough bytes for one response in time
_DOWNLOAD_THREADS = 5  # some of the parts wait to be hashed and written
_READ_THREADS = 3  # of each of many readers


class S3Store:
    """The ``ObjectStore`` on the S3 service that the environment names; threads may share it."""

    def __init__(self, retry_policy: RetryPolicy) -> None:
        """Connect at the first call."""
        self._s3 = S3Client(retry_policy)

    def get(self, bucket: str, key: str) -> tuple[bytes, ObjectInfo]:
        """Read a small object with its info."""
        target = _target(bucket, key)

        def read(client: Any) -> tuple[bytes, ObjectInfo]:
            response = client.get_object(**target)
            data = response["Body"].read()
            return data, ObjectInfo(key, len(data), etag(response))

        return self._s3.call(f"read {bucket}/{key}", read)

    def head(self, bucket: str, key: str) -> ObjectInfo | None:
        """Describe an object, or ``None`` when there is none."""
        target = _target(bucket, key)
        try:
            found: Fields = self._s3.call(f"look at {bucket}/{key}", lambda client: client.head_object(**target))
        except ObjectNotFoundError:
            self._check_credentials(target)
            return None
        return ObjectInfo(key, found["ContentLength"], etag(found))

    def put(
        self, bucket: str, key: str, data: bytes, *, if_match: str | None = None, if_none_match: bool = False
    ) -> ObjectInfo:
        """Write a small object, creating the bucket if it is missing."""
        target, token = _target(bucket, key), uuid4().hex
        condition: dict[str, Any] = {}
        if if_match is not None:
            condition["IfMatch"] = quote_etag(if_match)
        if if_none_match:
            condition["IfNoneMatch"] = "*"

        def put() -> str:
            return write(
                self._s3,
                f"write {bucket}/{key}",
                target,
                token,
                lambda client: client.put_object(
                    **target, **condition, **self._s3.encryption, Body=data, Metadata={TOKEN: token}
                ),
            )

        try:
            return ObjectInfo(
                key, len(data), put() if if_match is not None else self._create_bucket_if_missing(bucket, put)
            )
        except ObjectNotFoundError as error:
            if if_match is None:
                raise
            raise PreconditionFailedError(str(error)) from None

    def upload(self, bucket: str, key: str, path: Path, *, if_none_match: bool = False) -> ObjectInfo:
        """Write an object of any size from a file, with bounded memory."""
        target, token = _target(bucket, key), uuid4().hex
        try:
            source = path.open("rb")
        except OSError as error:
            raise BadInputError(f"cannot read {path}: {reason(error)}") from None
        with source:
            size = os.fstat(source.fileno()).st_size
            if size <= _PART:
                return self.put(bucket, key, source.read(), if_none_match=if_none_match)
            if if_none_match and self.head(bucket, key):
                raise PreconditionFailedError(f"{bucket}/{key} already exists")

            def pieces() -> Iterator[bytes]:
                for piece in ranges(0, size, max(_PART, -(-size // _MAX_PARTS))):
                    data = source.read(len(piece))
                    if len(data) < len(piece):
                        raise BadInputError(f"{path} was truncated while it was read")
                    yield data

            def put() -> str:
                source.seek(0)
                return write_parts(
                    self._s3,
                    f"write {bucket}/{key}",
                    target,
                    token,
                    pieces(),
                    lambda client, part, data: client.upload_part(**part, Body=data),
                    {"IfNoneMatch": "*"} if if_none_match else {},
                    checksums=self._s3.checksums,
                )

            return ObjectInfo(key, size, self._create_bucket_if_missing(bucket, put))

    def download(self, bucket: str, key: str, path: Path, *, sha256: str | None = None) -> ObjectInfo:
        """Read an object of any size into a file, whole or not at all."""
        _target(bucket, key)

        def download() -> ObjectInfo:
            first, info = self._piece(bucket, key, range(_PART))
            with atomic_file(f"{bucket}/{key}", path, sha256) as sink:
                sink.write(first)
                pieces = map_in_order(
                    lambda piece: self._piece(bucket, key, piece, info.etag)[0],
                    ranges(_PART, info.size, _PART),
                    _DOWNLOAD_THREADS,
                )
                for data in pieces:
                    sink.write(data)
            return info

        return read_one_version(f"{bucket}/{key}", download)

    def read(
        self, bucket: str, key: str, *, start: int = 0, stop: int | None = None
    ) -> tuple[ObjectInfo, Iterator[bytes]]:
        """Read bytes of an object of any size in pieces."""
        _target(bucket, key)
        if start or stop is not None:  # the range may lie outside of the object
            found = self.head(bucket, key)
            if found is None:
                raise ObjectNotFoundError(f"there is no object {bucket}/{key}")
            stop = found.size if stop is None else min(stop, found.size)
            if start >= stop:
                return found, iter(())
        first, info = self._piece(bucket, key, range(start, min(start + _PART, stop or start + _PART)))
        end = stop or info.size

        def pieces() -> Iterator[bytes]:
            yield first
            try:
                yield from map_in_order(
                    lambda piece: self._piece(bucket, key, piece, info.etag)[0],
                    ranges(start + _PART, end, _PART),
                    _READ_THREADS,
                )
            except PreconditionFailedError:
                raise ServiceUnavailableError(f"{bucket}/{key} changed while it was read") from None

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
        target, token, size = _target(bucket, key), uuid4().hex, 0
        parts = regroup(pieces, _WRITTEN_PART)
        first = [next(parts, b"")]
        if len(first[0]) < _WRITTEN_PART:
            return self.put(bucket, key, first[0], if_match=if_match, if_none_match=if_none_match)
        found = self.head(bucket, key) if if_match or if_none_match else None
        if (found and if_none_match) or (if_match and (found is None or found.etag != if_match)):
            raise PreconditionFailedError(f"{bucket}/{key} already exists, or has changed")

        def counted() -> Iterator[bytes]:
            nonlocal size
            size = len(first[0])
            yield first.pop()
            for part in parts:
                size += len(part)
                yield part

        condition = {"IfMatch": quote_etag(if_match)} if if_match else {"IfNoneMatch": "*"} if if_none_match else {}

        def put() -> str:
            return write_parts(
                self._s3,
                f"write {bucket}/{key}",
                target,
                token,
                counted(),
                lambda client, part, data: client.upload_part(**part, Body=data),
                condition,
                checksums=self._s3.checksums,
            )

        tag = self._create_bucket_if_missing(bucket, put)  # a missing bucket is noticed before the first part is taken
        return ObjectInfo(key, size, tag)

    def copy(self, bucket: str, source: str, target: str) -> ObjectInfo:
        """Copy an object within a bucket, replacing the target."""
        action, where = f"copy {bucket}/{source} to {target}", _target(bucket, target)

        def copy() -> ObjectInfo:
            info = self.head(bucket, source)
            if info is None:
                raise ObjectNotFoundError(f"there is no object {bucket}/{source} to copy")
            origin = {"CopySource": _target(bucket, source), "CopySourceIfMatch": quote_etag(info.etag)}
            if info.size <= _COPIED_PART:
                fields = {**where, **origin, **self._s3.encryption}
                copied = self._s3.call(action, lambda client: client.copy_object(**fields))
                return ObjectInfo(target, info.size, etag(copied["CopyObjectResult"]))

            def send(client: Any, part: Fields, piece: range) -> Fields:
                bounds = f"bytes={piece.start}-{piece.stop - 1}"
                result = client.upload_part_copy(**part, **origin, CopySourceRange=bounds)["CopyPartResult"]
                return {"ETag": result["ETag"]}

            pieces = ranges(0, info.size, max(_COPIED_PART, -(-info.size // _MAX_PARTS)))
            # Without checksums: with them MinIO and others demand one for each part, which is unknown in a copy.
            tag = write_parts(self._s3, action, where, uuid4().hex, pieces, send, {}, checksums=False)
            return ObjectInfo(target, info.size, tag)

        return read_one_version(f"{bucket}/{source}", copy)

    def page(
        self, bucket: str, prefix: str = "", *, after: str = "", limit: int = 1000
    ) -> tuple[Sequence[ObjectInfo], str]:
        """List a page of the objects whose key begins with ``prefix``, in the service's order."""
        check_bucket(bucket)
        fields = {"Bucket": bucket, "Prefix": prefix, "MaxKeys": limit}
        fields |= {"ContinuationToken": after} if after else {}
        try:
            response: Fields = self._s3.call(f"list {bucket}/{prefix}", lambda client: client.list_objects_v2(**fields))
        except BucketNotFoundError:
            return [], ""
        found = [ObjectInfo(item["Key"], item["Size"], etag(item)) for item in response.get("Contents", ())]
        return found, response["NextContinuationToken"] if response["IsTruncated"] else ""

    def list(self, bucket: str, prefix: str = "") -> Iterator[ObjectInfo]:
        """List objects whose key begins with ``prefix``, in key order; nothing for a missing bucket."""
        return list_by_key(self, bucket, prefix)

    def delete(self, bucket: str, key: str) -> None:
        """Remove an object; no error when there is none."""
        target = _target(bucket, key)
        try:
            self._s3.call(f"delete {bucket}/{key}", lambda client: client.delete_object(**target))
        except ObjectNotFoundError:
            return

    def _check_credentials(self, target: dict[str, str]) -> None:
        """Distinguish a missing object from an unknown user: versitygw answers 404 to both.

        The response to a HEAD has no body that would tell. Once any request succeeded, the credentials are right.

        Raises:
            RefusedError: The service does not know the user.
        """
        if self._s3.credentials_accepted:
            return
        with suppress(ObjectNotFoundError, EmptyRangeError):
            self._s3.call(
                f"look at {target['Bucket']}/{target['Key']}",
                lambda client: client.get_object(**target, Range="bytes=0-0")["Body"].read(),
            )
        self._s3.credentials_accepted = True

    def _piece(self, bucket: str, key: str, piece: range, tag: str | None = None) -> tuple[bytes, ObjectInfo]:
        """Read a part of an object, with the info of the whole; ``tag`` is the etag that the object must still have."""
        condition = {"IfMatch": quote_etag(tag)} if tag else {}

        def read(client: Any) -> tuple[bytes, ObjectInfo]:
            response = client.get_object(
                Bucket=bucket, Key=key, Range=f"bytes={piece.start}-{piece.stop - 1}", **condition
            )
            data = response["Body"].read()
            size = int(response.get("ContentRange", f"/{len(data)}").rpartition("/")[2])
            if len(data) != min(piece.stop, size) - piece.start:
                raise TruncatedError(f"{len(data)} of {len(piece)} bytes arrived")
            return data, ObjectInfo(key, size, etag(response))

        try:
            return self._s3.call(f"read {bucket}/{key}", read)
        except EmptyRangeError:
            return self.get(bucket, key)

    def _create_bucket_if_missing(self, bucket: str, put: Callable[[], T]) -> T:
        try:
            return put()
        except BucketNotFoundError:
            self._create_bucket(bucket)
            return put()

    def _create_bucket(self, bucket: str) -> None:
        region = self._s3.region
        place = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}

        def create(client: Any) -> None:
            try:
                client.create_bucket(Bucket=bucket, **place)
            except (client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists):
                return  # another process was faster

        self._s3.call(f"create the bucket {bucket}", create)


def _target(bucket: str, key: str) -> dict[str, str]:
    check_bucket(bucket)
    check_key(key)
    return {"Bucket": bucket, "Key": key}
