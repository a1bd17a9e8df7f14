"""Handlers of the gateway's routes: uploads, downloads, lists."""

import base64
from typing import TYPE_CHECKING

from fastapi import Request, Response

from flts.errors import BadInputError, ObjectNotFoundError, ServiceUnavailableError
from flts.gateway.access import Access, AccessControl
from flts.gateway.openapi import ObjectEntry, ObjectPage, StoredObject
from flts.gateway.requests import ObjectRef, byte_range, check_read_conditions, etag_header, write_conditions
from flts.gateway.settings import MIB, GatewaySettings
from flts.gateway.transfer import Download, Idempotency, TransferThreads, Upload
from flts.store import ObjectInfo, ObjectStore
from flts.store.keys import check_bucket, check_key
from flts.web.errors import HttpError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

MAX_PAGE = 1000


class ObjectRoutes:
    """Handlers of requests for objects, with access control."""

    def __init__(self, settings: GatewaySettings, store: ObjectStore, access: AccessControl) -> None:
        """Serve the objects of a store."""
        self._settings, self._store, self._access = settings, store, access
        self._threads = TransferThreads(settings.max_requests)
        self._idempotency = Idempotency()

    async def upload(self, request: Request, at: ObjectRef, *, may_be_empty: bool) -> tuple[StoredObject, str]:
        """Write the body as an object; return the stored object and its etag."""
        self._admit(request, at.bucket, "write")
        if_match, if_none_match = write_conditions(request)
        max_bytes = self._settings.max_upload_mib * MIB
        content_length = request.headers.get("content-length", "0")
        if content_length.isdecimal() and int(content_length) > max_bytes:
            raise HttpError(413, f"an object may have at most {self._settings.max_upload_mib} MiB here")
        body = Upload(aiter(request.stream()), max_bytes, self._settings.idle_seconds)
        await body.begin(may_be_empty=may_be_empty)

        def write() -> ObjectInfo:
            return self._store.write(at.bucket, at.key, body.pieces(), if_match=if_match, if_none_match=if_none_match)

        key = request.headers.get("idempotency-key", "")[:128]
        return _stored(at, await self._idempotency.run(key and f"{at} {key}", lambda: self._threads.run(write)))

    async def head(self, request: Request, at: ObjectRef) -> Response:
        """Respond with the headers of an object."""
        self._admit(request, at.bucket, "read")
        info = await self._describe(at)
        if check_read_conditions(request, info):
            return Response(status_code=304, headers={"ETag": etag_header(info)})
        return Response(headers=_headers(info) | {"Content-Length": str(info.size)})

    async def download(self, request: Request, at: ObjectRef) -> "ASGIApp":
        """Respond with an object, or a range of it."""
        self._admit(request, at.bucket, "read")
        # A whole object in any version can be read without describing it first.
        plain = not {"range", "if-match", "if-none-match"} & set(request.headers)
        selected, described = None, None
        if not plain:
            described = await self._describe(at)
            if check_read_conditions(request, described):
                return Response(status_code=304, headers={"ETag": etag_header(described)})
            selected = byte_range(request, described)
        start, stop = (selected.start, selected.stop) if selected else (0, None)
        info, pieces = await self._threads.run(lambda: self._store.read(at.bucket, at.key, start=start, stop=stop))
        if described and info.etag != described.etag:
            raise ServiceUnavailableError(f"{at.bucket}/{at.key} changed while it was read")
        headers = _headers(info) | {"Content-Length": str(len(selected) if selected else info.size)}
        if selected:
            headers["Content-Range"] = f"bytes {selected.start}-{selected.stop - 1}/{info.size}"
        return Download(pieces, self._threads, 206 if selected else 200, headers, self._settings.idle_seconds)

    async def copy(self, request: Request, at: ObjectRef, source: str) -> tuple[StoredObject, str]:
        """Copy the object ``source`` of the same bucket; return the stored object and its etag."""
        self._admit(request, at.bucket, "write")
        check_key(source)
        return _stored(at, await self._threads.run(lambda: self._store.copy(at.bucket, source, at.key)))

    async def delete(self, request: Request, at: ObjectRef) -> None:
        """Remove an object."""
        self._admit(request, at.bucket, "write")
        await self._threads.run(lambda: self._store.delete(at.bucket, at.key))

    async def page(self, request: Request, bucket: str, prefix: str, after: str, limit: int) -> ObjectPage:
        """List at most ``limit`` objects, beginning after the previous page."""
        check_bucket(bucket)
        self._admit(request, bucket, "read")
        cursor = _decode_cursor(after)
        found, following = await self._threads.run(lambda: self._store.page(bucket, prefix, after=cursor, limit=limit))
        shown = [ObjectEntry(object=info.key, size_bytes=info.size, etag=info.etag) for info in found]
        return ObjectPage(
            bucket=bucket, prefix=prefix, objects=shown, next=_encode_cursor(following) if following else None
        )

    def _admit(self, request: Request, bucket: str, access: Access) -> None:
        name = self._access.check(request.headers.get("authorization", ""), bucket, access)
        request.state.log = {"bucket": bucket, **({"token": name} if name else {})}

    async def _describe(self, at: ObjectRef) -> ObjectInfo:
        info = await self._threads.run(lambda: self._store.head(at.bucket, at.key))
        if info is None:
            raise ObjectNotFoundError(f"there is no object {at.bucket}/{at.key}")
        return info


def _stored(at: ObjectRef, info: ObjectInfo) -> tuple[StoredObject, str]:
    return StoredObject(bucket=at.bucket, object_name=at.key, size_bytes=info.size), etag_header(info)


def _headers(info: ObjectInfo) -> dict[str, str]:
    return {"ETag": etag_header(info), "Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}


def _encode_cursor(following: str) -> str:
    return base64.urlsafe_b64encode(following.encode()).decode().rstrip("=")


def _decode_cursor(text: str) -> str:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode()
    except ValueError:
        raise BadInputError("after must be what the page before gave as next") from None
