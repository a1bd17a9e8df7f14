"""Writes to S3 that survive lost answers: single requests, and uploads in parts."""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from typing import Any, TypeVar

from flts.errors import FltsError, ObjectNotFoundError, PreconditionFailedError
from flts.store.parallel import in_order, start
from flts.store.s3_client import S3Client

Part = TypeVar("Part")
Fields = Mapping[str, Any]

# A request whose answer was lost is sent again, and may then meet what it wrote itself: this metadata tells.
TOKEN = "flts-write"  # noqa: S105 - a name
AT_ONCE = 4
_ABORT_SECONDS = 5


def write(s3: S3Client, doing: str, target: Fields, token: str, ask: Callable[[Any], Fields]) -> str:
    """Make a write, and return the object's etag.

    Args:
        s3: The client.
        doing: What this is, for errors.
        target: ``Bucket`` and ``Key``.
        token: What ``ask`` puts under `TOKEN` into the object's metadata; another one for every write.
        ask: The request.

    Raises:
        PreconditionFailedError: The condition did not hold, and not because this write had been successful before.
        ObjectNotFoundError: Bucket or upload are missing.
    """
    tries = 0

    def counted(client: Any) -> Fields:
        nonlocal tries
        tries += 1
        return ask(client)

    try:
        return etag(s3.call(doing, counted))
    except (PreconditionFailedError, ObjectNotFoundError):
        if tries > 1:
            with suppress(ObjectNotFoundError):
                found: Fields = s3.call(doing, lambda client: client.head_object(**target))
                if found["Metadata"].get(TOKEN) == token:
                    return etag(found)
        raise


def write_parts(
    s3: S3Client,
    doing: str,
    target: Fields,
    token: str,
    parts: Iterable[Part],
    send: Callable[[Any, Fields, Part], Fields],
    condition: Fields,
    *,
    checksums: bool,
) -> str:
    """Write an object in parts, a few at once, and return its etag; nothing is left of an upload that fails.

    Args:
        s3: The client.
        doing: What this is, for errors.
        target: ``Bucket`` and ``Key``.
        token: As for `write`.
        parts: What the parts are made of, in order; taken one by one.
        send: Given boto3's client, the fields that name the part, and the part: sends it and returns its ``ETag`` and
            checksums.
        condition: ``IfNoneMatch``, ``IfMatch``, or nothing.
        checksums: Whether each part has one, on which services then insist.
    """
    begun = {**target, **s3.encryption, **({"ChecksumAlgorithm": "CRC32"} if checksums else {})}
    created = s3.call(doing, lambda client: client.create_multipart_upload(**begun, Metadata={TOKEN: token}))
    upload = {**target, "UploadId": created["UploadId"]}

    def send_one(numbered: tuple[int, Part]) -> Fields:
        number, part = numbered
        sent = s3.call(doing, lambda client: send(client, {**upload, "PartNumber": number}, part))
        return {"PartNumber": number, **{name: sent[name] for name in ("ETag", "ChecksumCRC32") if name in sent}}

    try:
        sent = {"Parts": list(in_order(send_one, enumerate(parts, 1), AT_ONCE))}
        return write(
            s3,
            doing,
            target,
            token,
            lambda client: client.complete_multipart_upload(**upload, MultipartUpload=sent, **condition),
        )
    except BaseException:
        aborting = start(lambda: s3.call(doing, lambda client: client.abort_multipart_upload(**upload)))
        with suppress(FltsError, FutureTimeoutError):  # the service forgets it some day, see docs/stores.md
            aborting.result(timeout=_ABORT_SECONDS)
        raise


def etag(answer: Fields) -> str:
    """Return an answer's etag without the quotes, which some services leave out in some answers."""
    return str(answer["ETag"]).strip('"')


def quoted(etag: str) -> str:
    """Return an etag as conditions name it."""
    return f'"{etag}"'
