"""What the gateway's routes do: uploads, downloads, lists."""

import base64
from typing import TYPE_CHECKING

from fastapi import Request, Response

from flts.errors import BadInputError, ObjectNotFoundError, ServiceUnavailableError
from flts.gateway.access import Access, AccessControl
from flts.gateway.openapi import ObjectEntry, ObjectPage, StoredObject
from flts.gateway.requests import ObjectRef, byte_range, check_read_conditions, quoted, write_conditions
from flts.gateway.settings import MIB, GatewaySettings
from flts.gateway.transfer import Download, Idempotency, TransferThreads, Upload
from flts.store import ObjectInfo, ObjectStore
from flts.store.keys import check_bucket, check_key
from flts.web.errors import HttpError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

LONGEST_PAGE = 1000


class ObjectRoutes:
    """Objects of a store, for those whom the gate lets in."""

    def __init__(self, settings: GatewaySettings, store: ObjectStore, gate: AccessControl) -> None:
        """Use a store behind a gate."""
        self._settings, self._store, self._gate = settings, store, gate
        self._threads = TransferThreads(settings.max_requests)
        self._once = Idempotency()

    async def upload(self, request: Request, at: ObjectRef, *, may_be_empty: bool) -> tuple[StoredObject, str]:
        """Write the body as an object; returns what was stored, and its etag."""
        self._admit(request, at.bucket, "write")
        if_match, if_none_match = write_conditions(request)
        most = self._settings.max_upload_mib * MIB
        announced = request.headers.get("content-length", "0")
        if announced.isdecimal() and int(announced) > most:
            raise HttpError(413, f"an object may have at most {self._settings.max_upload_mib} MiB here")
        body = Upload(aiter(request.stream()), most, self._settings.idle_seconds)
        await body.begin(may_be_empty=may_be_empty)

        def write() -> ObjectInfo:
            return self._store.write(at.bucket, at.key, body.pieces(), if_match=if_match, if_none_match=if_none_match)

        key = request.headers.get("idempotency-key", "")[:128]
        return _stored(at, await self._once.run(key and f"{at} {key}", lambda: self._threads.run(write)))

    async def look(self, request: Request, at: ObjectRef) -> Response:
        """Answer with the headers of an object."""
        self._admit(request, at.bucket, "read")
        info = await self._look(at)
        if check_read_conditions(request, info):
            return Response(status_code=304, headers={"ETag": quoted(info)})
        return Response(headers=_headers(info) | {"Content-Length": str(info.size)})

    async def download(self, request: Request, at: ObjectRef) -> "ASGIApp":
        """Answer with an object, or a range of it."""
        self._admit(request, at.bucket, "read")
        # A whole object whose version does not matter needs no look at it first.
        plain = not {"range", "if-match", "if-none-match"} & set(request.headers)
        wanted, seen = None, None
        if not plain:
            seen = await self._look(at)
            if check_read_conditions(request, seen):
                return Response(status_code=304, headers={"ETag": quoted(seen)})
            wanted = byte_range(request, seen)
        start, stop = (wanted.start, wanted.stop) if wanted else (0, None)
        info, pieces = await self._threads.run(lambda: self._store.read(at.bucket, at.key, start=start, stop=stop))
        if seen and info.etag != seen.etag:
            raise ServiceUnavailableError(f"{at.bucket}/{at.key} changed while it was read")
        headers = _headers(info) | {"Content-Length": str(len(wanted) if wanted else info.size)}
        if wanted:
            headers["Content-Range"] = f"bytes {wanted.start}-{wanted.stop - 1}/{info.size}"
        return Download(pieces, self._threads, 206 if wanted else 200, headers, self._settings.idle_seconds)

    async def copy(self, request: Request, at: ObjectRef, source: str) -> tuple[StoredObject, str]:
        """Copy the object ``source`` of the same bucket; returns what was stored, and its etag."""
        self._admit(request, at.bucket, "write")
        check_key(source)
        return _stored(at, await self._threads.run(lambda: self._store.copy(at.bucket, source, at.key)))

    async def delete(self, request: Request, at: ObjectRef) -> None:
        """Remove an object."""
        self._admit(request, at.bucket, "write")
        await self._threads.run(lambda: self._store.delete(at.bucket, at.key))

    async def page(self, request: Request, bucket: str, prefix: str, after: str, limit: int) -> ObjectPage:
        """List at most ``limit`` objects, from where the page before ended."""
        check_bucket(bucket)
        self._admit(request, bucket, "read")
        place = _read_place(after)
        found, following = await self._threads.run(lambda: self._store.page(bucket, prefix, after=place, limit=limit))
        shown = [ObjectEntry(object=info.key, size_bytes=info.size, etag=info.etag) for info in found]
        return ObjectPage(bucket=bucket, prefix=prefix, objects=shown, next=_place(following) if following else None)

    def _admit(self, request: Request, bucket: str, access: Access) -> None:
        name = self._gate.check(request.headers.get("authorization", ""), bucket, access)
        request.state.log = {"bucket": bucket, **({"token": name} if name else {})}

    async def _look(self, at: ObjectRef) -> ObjectInfo:
        info = await self._threads.run(lambda: self._store.head(at.bucket, at.key))
        if info is None:
            raise ObjectNotFoundError(f"there is no object {at.bucket}/{at.key}")
        return info


def _stored(at: ObjectRef, info: ObjectInfo) -> tuple[StoredObject, str]:
    return StoredObject(bucket=at.bucket, object_name=at.key, size_bytes=info.size), quoted(info)


def _headers(info: ObjectInfo) -> dict[str, str]:
    return {"ETag": quoted(info), "Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}


def _place(following: str) -> str:
    return base64.urlsafe_b64encode(following.encode()).decode().rstrip("=")


def _read_place(text: str) -> str:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode()
    except ValueError:
        raise BadInputError("after must be what the page before gave as next") from None
