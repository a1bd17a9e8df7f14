"""Writes to S3 that survive lost responses: single requests, and uploads in parts."""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from typing import Any, TypeVar

from flts.errors import FltsError, ObjectNotFoundError, PreconditionFailedError
from flts.store.parallel import map_in_order, start
from flts.store.s3_client import S3Client

Part = TypeVar("Part")
Fields = Mapping[str, Any]

# A request whose response was lost is sent again, and may then find its own object: this metadata tells.
TOKEN = "flts-write"  # noqa: S105 - a name
_UPLOAD_THREADS = 4
_ABORT_SECONDS = 5


def write(s3: S3Client, action: str, target: Fields, token: str, request: Callable[[Any], Fields]) -> str:
    """Write an object, and return its etag.

    Args:
        s3: The client.
        action: Description for errors, such as ``write bucket/key``.
        target: ``Bucket`` and ``Key``.
        token: Value of `TOKEN` in the object's metadata that ``request`` sends; unique for every write.
        request: Sends the request.

    Raises:
        PreconditionFailedError: The condition did not hold, and not because an earlier attempt had succeeded.
        ObjectNotFoundError: The bucket or the upload is missing.
    """
    tries = 0

    def counted(client: Any) -> Fields:
        nonlocal tries
        tries += 1
        return request(client)

    try:
        return etag(s3.call(action, counted))
    except (PreconditionFailedError, ObjectNotFoundError):
        if tries > 1:
            with suppress(ObjectNotFoundError):
                found: Fields = s3.call(action, lambda client: client.head_object(**target))
                if found["Metadata"].get(TOKEN) == token:
                    return etag(found)
        raise


def write_parts(
    s3: S3Client,
    action: str,
    target: Fields,
    token: str,
    parts: Iterable[Part],
    send: Callable[[Any, Fields, Part], Fields],
    condition: Fields,
    *,
    checksums: bool,
) -> str:
    """Write an object in parts, a few in parallel, and return its etag; a failed upload leaves nothing.

    Args:
        s3: The client.
        action: Description for errors.
        target: ``Bucket`` and ``Key``.
        token: As for `write`.
        parts: The parts in order; taken one by one.
        send: Given boto3's client, the fields that identify the part, and the part: sends it, and returns its ``ETag``
            and checksums.
        condition: ``IfNoneMatch``, ``IfMatch``, or nothing.
        checksums: Whether each part has a checksum; services then insist on it.
    """
    fields = {**target, **s3.encryption, **({"ChecksumAlgorithm": "CRC32"} if checksums else {})}
    created = s3.call(action, lambda client: client.create_multipart_upload(**fields, Metadata={TOKEN: token}))
    upload = {**target, "UploadId": created["UploadId"]}

    def send_one(numbered: tuple[int, Part]) -> Fields:
        number, part = numbered
        sent = s3.call(action, lambda client: send(client, {**upload, "PartNumber": number}, part))
        return {"PartNumber": number, **{name: sent[name] for name in ("ETag", "ChecksumCRC32") if name in sent}}

    try:
        sent = {"Parts": list(map_in_order(send_one, enumerate(parts, 1), _UPLOAD_THREADS))}
        return write(
            s3,
            action,
            target,
            token,
            lambda client: client.complete_multipart_upload(**upload, MultipartUpload=sent, **condition),
        )
    except BaseException:
        aborting = start(lambda: s3.call(action, lambda client: client.abort_multipart_upload(**upload)))
        with suppress(FltsError, FutureTimeoutError):  # the service removes it later, see docs/stores.md
            aborting.result(timeout=_ABORT_SECONDS)
        raise


def etag(response: Fields) -> str:
    """Return a response's etag without quotes; some services leave them out in some responses."""
    return str(response["ETag"]).strip('"')


def quote_etag(etag: str) -> str:
    """Return an etag in quotes, as conditions need it."""
    return f'"{etag}"'
