"""Routes of the forecast server."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.routing import APIRoute
from prometheus_client import CollectorRegistry, generate_latest

from flts.serving import page
from flts.serving.forecasts import ForecastResult, ForecastService
from flts.serving.loading import LoadedModel
from flts.serving.metrics import add_model_metrics
from flts.serving.model_info import describe
from flts.serving.model_watcher import SERVICE, ModelWatcher
from flts.serving.protocols.mlflow import mlflow_version, read_invocation, render_invocation
from flts.serving.protocols.openapi import (
    FORECAST_ERRORS,
    INVOCATION_REQUEST,
    INVOCATION_RESPONSE,
    OUTAGE_ERRORS,
    PREDICT_REQUEST,
    PREDICT_RESPONSE,
    Readiness,
    ServerState,
    error_responses,
)
from flts.serving.protocols.predict import PredictRequest, read_predict, render_predict
from flts.serving.protocols.request_body import cancel_on_disconnect, query_steps, read_body
from flts.serving.settings import KIB, ServingSettings
from flts.store import ObjectStore
from flts.version import __version__
from flts.web import errors
from flts.web.errors import HttpError
from flts.web.middleware import RequestMiddleware

if TYPE_CHECKING:
    from starlette.types import ASGIApp

# Answered however busy the server is.
PROBES = frozenset({"/healthz", "/ready", "/metrics", "/ping", "/v2/health/live", "/v2/health/ready"})
_SMALL_BODY, _FEW_STEPS = 4 * KIB, 100  # up to these, working in the event loop is faster than using a thread


def make_app(settings: ServingSettings, store: ObjectStore) -> "ASGIApp":
    """Create the app that serves the model promoted in a store."""
    registry = CollectorRegistry()
    watch, forecasts = ModelWatcher(store, settings, registry), ForecastService(settings, registry)
    add_model_metrics(watch, registry)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        watch.start()
        yield
        watch.end()
        forecasts.end()

    app = FastAPI(
        title="FLTS live forecasts",
        version=__version__,
        description="Forecasts with the promoted model, in original units.",
        redirect_slashes=False,
        lifespan=lifespan,
    )
    errors.install_error_handlers(app, on_outage=lambda: None)  # the watcher counts outages itself
    _add_forecasts(app, settings, watch, forecasts)  # first, because routes are matched in this order
    _add_probes(app, watch, registry)
    _add_model(app, settings, watch)
    page.add_page(app)
    return RequestMiddleware(
        app,
        service=SERVICE,
        registry=registry,
        # More than the queue: bodies being read and responses being sent do not count as pending forecasts.
        most=2 * settings.queue_length + 64,
        seconds=settings.deadline_seconds + 30,
        free=PROBES,
    )


def _current_model(request: Request, watch: ModelWatcher) -> LoadedModel:
    """Return the model being served, and note it for the request's log line.

    Raises:
        HttpError: 503 while there is none.
    """
    loaded = watch.loaded
    if loaded is None:
        raise HttpError(503, watch.missing_reason)
    request.scope.setdefault("state", {})["log"] = loaded.log
    return loaded


def _add_probes(app: FastAPI, watch: ModelWatcher, registry: CollectorRegistry) -> None:
    tags: Any = ["probes"]

    @app.get("/healthz", tags=tags, summary="Liveness: the server is running")
    @app.get("/v2/health/live", tags=tags, summary="Liveness under the path of the Open Inference Protocol")
    async def healthz() -> ServerState:
        return ServerState(status="ok")

    @app.get("/ready", tags=tags, summary="Readiness: a model is loaded", responses=error_responses(503))
    @app.get(
        "/v2/health/ready",
        tags=tags,
        summary="Readiness under the path of the Open Inference Protocol",
        responses=error_responses(503),
    )
    @app.get(
        "/ping", tags=tags, summary="Readiness under the path of MLflow and SageMaker", responses=error_responses(503)
    )
    async def ready(request: Request) -> Readiness:
        identity = _current_model(request, watch).identity
        return Readiness(status="ready", **identity, problem=watch.problem or None, notice=watch.notice or None)

    @app.get(
        "/version",
        tags=tags,
        summary="MLflow version whose scoring protocol is spoken",
        response_class=PlainTextResponse,
    )
    async def version() -> str:
        return mlflow_version()

    @app.get("/metrics", tags=tags, summary="Metrics for Prometheus", response_class=PlainTextResponse)
    async def metrics() -> Response:
        return Response(generate_latest(registry), media_type="text/plain; version=0.0.4; charset=utf-8")


class _PlainRoute(APIRoute):
    """A route that FastAPI documents but whose function gets the raw request, without parsing or validation."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the route's own function."""
        handler: Callable[[Request], Coroutine[Any, Any, Response]] = self.endpoint
        return handler


def _add_forecasts(app: FastAPI, settings: ServingSettings, watch: ModelWatcher, forecasts: ForecastService) -> None:
    tags: list[str | Enum] = ["forecasts"]

    async def make(
        request: Request,
        read: Callable[[bytes, int | None, str | None], PredictRequest],
        render: Callable[[ForecastResult], bytes],
    ) -> Response:
        loaded = _current_model(request, watch)
        body = await read_body(request, settings.max_body_mib)
        steps, quantiles = query_steps(request), request.query_params.get("quantiles")
        asked = (
            read(body, steps, quantiles)
            if len(body) < _SMALL_BODY
            else await forecasts.run_in_thread(lambda: read(body, steps, quantiles))
        )
        history = None if asked.columns is None else asked.history
        making = forecasts.make(loaded, asked.steps, history, asked.quantiles)
        result = await (making if asked.steps < _FEW_STEPS else cancel_on_disconnect(request, making))
        content = render(result) if asked.steps < _FEW_STEPS else await forecasts.run_in_thread(lambda: render(result))
        return Response(content, media_type="application/json")

    async def predict(request: Request) -> Response:
        with forecasts.count_refusals():
            return await make(request, read_predict, render_predict)

    async def invoke(request: Request) -> Response:
        content_type = request.headers.get("content-type", "")
        read = partial(read_invocation, content_type=content_type)
        with forecasts.count_refusals():
            return await make(request, read, render_invocation)

    app.router.add_api_route(
        "/predict",
        predict,
        methods=["POST"],
        route_class_override=_PlainRoute,
        tags=tags,
        summary="Forecast the steps after the stored data, or after data sent with the request",
        responses=PREDICT_RESPONSE | FORECAST_ERRORS,
        openapi_extra=PREDICT_REQUEST,
    )
    app.router.add_api_route(
        "/invocations",
        invoke,
        methods=["POST"],
        route_class_override=_PlainRoute,
        tags=tags,
        summary="Forecast the steps after a table, by the protocol of MLflow and SageMaker",
        responses=INVOCATION_RESPONSE | FORECAST_ERRORS | error_responses(415),
        openapi_extra=INVOCATION_REQUEST,
    )

    @app.get(
        "/predict_ping",
        tags=tags,
        summary="Forecast one step to check that forecasting works",
        responses=error_responses(400, 429) | OUTAGE_ERRORS,
    )
    async def predict_ping(request: Request) -> ServerState:
        with forecasts.count_refusals():
            await forecasts.make(_current_model(request, watch), 1, None)
        return ServerState(status="ok")


def _add_model(app: FastAPI, settings: ServingSettings, watch: ModelWatcher) -> None:
    tags: Any = ["model"]

    @app.get("/model", tags=tags, summary="The model being served and the latest promotions", responses=OUTAGE_ERRORS)
    async def model(request: Request) -> Response:
        loaded = _current_model(request, watch)
        return JSONResponse(describe(loaded, watch.background, problem=watch.problem, notice=watch.notice))

    @app.post(
        "/reload_latest",
        tags=tags,
        summary="Load the latest promotion now",
        responses=error_responses(400) | OUTAGE_ERRORS,
    )
    async def reload_latest(request: Request) -> dict[str, Any]:
        try:
            async with asyncio.timeout(settings.deadline_seconds):
                changed = await asyncio.to_thread(watch.look)
        except TimeoutError:
            raise HttpError(504, "the store or MLflow did not answer in time") from None
        return {"status": "reloaded" if changed else "unchanged", **_current_model(request, watch).identity}
