"""Routes of the gateway: objects of a store over HTTP."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CollectorRegistry, Counter, generate_latest

from flts.errors import FltsError, PreconditionFailedError, RefusedError
from flts.gateway.access import AccessControl
from flts.gateway.objects import MAX_PAGE, ObjectRoutes
from flts.gateway.openapi import ALWAYS, BODY, BYTES, STORED, ObjectPage, StoredObject, error_responses
from flts.gateway.requests import ObjectRef, PathGuard, object_ref
from flts.gateway.settings import GatewaySettings
from flts.gateway.transfer import TransferThreads
from flts.store import ObjectStore
from flts.version import __version__
from flts.web import errors
from flts.web.errors import HttpError
from flts.web.middleware import RequestMiddleware
from flts.web.openapi import Answers

if TYPE_CHECKING:
    from starlette.types import ASGIApp

SERVICE = "gateway"
# Answered under any load.
PROBES = frozenset({"/healthz", "/ready", "/metrics"})
_READY_SECONDS = 5.0
_PROBED_BUCKET, _PROBED_KEY = "flts-ready", "flts-ready"

_Object = Annotated[ObjectRef, Depends(object_ref)]


def make_app(settings: GatewaySettings, store: ObjectStore, access: AccessControl) -> "ASGIApp":
    """Return the gateway's application for a store."""
    registry = CollectorRegistry()
    app = FastAPI(
        title="FLTS object gateway",
        version=__version__,
        description="Objects in buckets. Writes are atomic, and conditional with `If-Match` and `If-None-Match: *`.",
        redirect_slashes=False,
    )
    failures = Counter("flts_store_errors", "Requests that the store failed.", registry=registry)
    errors.install_error_handlers(app, failures.inc)
    _add_probes(app, partial(_probe_write, store, sorted(settings.bucket_names) or [_PROBED_BUCKET]), registry)
    _add_objects(app, ObjectRoutes(settings, store, access))
    return RequestMiddleware(
        PathGuard(app),
        service=SERVICE,
        registry=registry,
        most=settings.max_requests,
        seconds=settings.deadline_seconds,
        free=PROBES,
    )


def _probe_write(store: ObjectStore, buckets: Sequence[str]) -> None:
    """Check that the store accepts writes to one of the buckets, without writing: no object has that etag.

    Raises the store's errors; when every bucket is refused, the error of the last one.
    """
    refused: RefusedError | None = None
    for bucket in buckets:
        try:
            store.put(bucket, _PROBED_KEY, b"", if_match="0" * 32)
        except PreconditionFailedError:
            return
        except RefusedError as error:
            refused = error
        else:
            return
    if refused:
        raise refused


def _add_probes(app: FastAPI, check: Callable[[], None], registry: CollectorRegistry) -> None:
    threads = TransferThreads(2)

    @app.get("/healthz", tags=["probes"], summary="Whether the gateway runs")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get(
        "/ready", tags=["probes"], summary="Whether the store answers, and takes writes", responses=error_responses(503)
    )
    async def ready() -> dict[str, str]:
        try:
            async with asyncio.timeout(_READY_SECONDS):
                await threads.run(check)
        except TimeoutError:
            raise HttpError(503, f"the store did not answer within {_READY_SECONDS:g} seconds") from None
        except FltsError as error:
            raise HttpError(503, str(error)) from None
        return {"status": "ready"}

    @app.get("/metrics", tags=["probes"], summary="Metrics for Prometheus", response_class=PlainTextResponse)
    async def metrics() -> Response:
        return Response(generate_latest(registry), media_type="text/plain; version=0.0.4; charset=utf-8")


def _add_objects(app: FastAPI, objects: ObjectRoutes) -> None:
    unchanged: Answers = {304: {"description": "It is still the one that `If-None-Match` names."}}
    read = unchanged | {200: {**BYTES, "description": "The bytes."}, 206: {**BYTES, "description": "The range."}}
    described = unchanged | {200: {"description": "In the headers."}}
    tags: Any = ["objects"]

    @app.post(
        "/upload/{bucket}/{object:path}",
        tags=tags,
        summary="Write an object",
        response_model=StoredObject,
        responses=STORED | ALWAYS | error_responses(408, 412, 413),
        openapi_extra=BODY,
    )
    async def upload(
        request: Request,
        at: _Object,
        empty: Annotated[bool, Query(description="an object without any byte is meant")] = False,
    ) -> Response:
        return _stored_response(*await objects.upload(request, at, may_be_empty=empty))

    @app.get(
        "/download/{bucket}/{object:path}",
        tags=tags,
        summary="Read an object, or a range of it",
        responses=read | ALWAYS | error_responses(404, 412, 416),
        response_class=Response,
    )
    async def download(request: Request, at: _Object) -> Any:
        return await objects.download(request, at)

    @app.head(
        "/download/{bucket}/{object:path}",
        tags=tags,
        summary="Size and etag of an object",
        responses=described | ALWAYS | error_responses(404, 412),
        response_class=Response,
    )
    async def look(request: Request, at: _Object) -> Response:
        return await objects.head(request, at)

    @app.get("/objects/{bucket}", tags=tags, summary="List objects, page by page", responses=ALWAYS)
    async def page(
        request: Request,
        bucket: str,
        prefix: Annotated[str, Query(max_length=1024, examples=["run-001/"])] = "",
        after: Annotated[str, Query(max_length=2048, description="`next` of the page before")] = "",
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = MAX_PAGE,
    ) -> ObjectPage:
        return await objects.page(request, bucket, prefix, after, limit)

    @app.delete(
        "/objects/{bucket}/{object:path}",
        tags=tags,
        summary="Remove an object, if there is one",
        status_code=204,
        responses=ALWAYS,
    )
    async def delete(request: Request, at: _Object) -> None:
        await objects.delete(request, at)

    @app.post(
        "/copy/{bucket}/{object:path}",
        tags=tags,
        summary="Copy an object within its bucket, replacing the target",
        response_model=StoredObject,
        responses=STORED | ALWAYS | error_responses(404),
    )
    async def copy(
        request: Request,
        at: _Object,
        source: Annotated[str, Query(min_length=1, max_length=1024, description="key of what is copied")],
    ) -> Response:
        return _stored_response(*await objects.copy(request, at, source))


def _stored_response(stored: StoredObject, etag: str) -> Response:
    return JSONResponse(stored.model_dump(), headers={"ETag": etag})
