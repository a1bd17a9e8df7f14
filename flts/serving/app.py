"""The server's routes."""

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
    INVOCATION_TAKES,
    INVOKED,
    PREDICT_TAKES,
    PREDICTED,
    REFUSED,
    UNAVAILABLE,
    Readiness,
    ServerState,
    problems_of,
)
from flts.serving.protocols.predict import PredictRequest, read_question, render_answer
from flts.serving.protocols.request_body import read_body, steps_asked, while_connected
from flts.serving.settings import KIB, ServingSettings
from flts.store import ObjectStore
from flts.version import __version__
from flts.web import errors
from flts.web.errors import HttpError
from flts.web.middleware import RequestMiddleware

if TYPE_CHECKING:
    from starlette.types import ASGIApp

# Answered however much there is to do.
PROBES = frozenset({"/healthz", "/ready", "/metrics", "/ping", "/v2/health/live", "/v2/health/ready"})
_SMALL_BODY, _FEW_STEPS = 4 * KIB, 100  # which are read and written faster than handed to a thread


def make_app(settings: ServingSettings, store: ObjectStore) -> "ASGIApp":
    """Make the server of the models that a store promotes."""
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
    errors.install_error_handlers(app, on_outage=lambda: None)  # the watch alone meets any, and counts them
    _add_forecasts(app, settings, watch, forecasts)  # first: they are looked for most
    _add_probes(app, watch, registry)
    _add_model(app, settings, watch)
    page.install(app)
    return RequestMiddleware(
        app,
        service=SERVICE,
        registry=registry,
        # Bodies that are being read, and answers that are being sent, are no forecasts that are waited for.
        most=2 * settings.queue_length + 64,
        seconds=settings.deadline_seconds + 30,
        free=PROBES,
    )


def _served(request: Request, watch: ModelWatcher) -> LoadedModel:
    """Return the model that is served now, and note it for the request's line in the log."""
    loaded = watch.loaded
    if loaded is None:
        raise HttpError(503, watch.nothing)
    request.scope.setdefault("state", {})["log"] = loaded.log
    return loaded


def _add_probes(app: FastAPI, watch: ModelWatcher, registry: CollectorRegistry) -> None:
    tags: Any = ["probes"]

    @app.get("/healthz", tags=tags, summary="Whether the server runs")
    @app.get("/v2/health/live", tags=tags, summary="The same, as the Open Inference Protocol asks")
    async def healthz() -> ServerState:
        return ServerState(status="ok")

    @app.get("/ready", tags=tags, summary="Whether forecasts are made", responses=problems_of(503))
    @app.get(
        "/v2/health/ready",
        tags=tags,
        summary="The same, as the Open Inference Protocol asks",
        responses=problems_of(503),
    )
    @app.get("/ping", tags=tags, summary="The same, as MLflow and SageMaker ask", responses=problems_of(503))
    async def ready(request: Request) -> Readiness:
        identity = _served(request, watch).identity
        return Readiness(status="ready", **identity, problem=watch.problem or None, notice=watch.notice or None)

    @app.get("/version", tags=tags, summary="Version of MLflow's scoring protocol", response_class=PlainTextResponse)
    async def version() -> str:
        return mlflow_version()

    @app.get("/metrics", tags=tags, summary="Metrics for Prometheus", response_class=PlainTextResponse)
    async def metrics() -> Response:
        return Response(generate_latest(registry), media_type="text/plain; version=0.0.4; charset=utf-8")


class _Plain(APIRoute):
    """A route whose function gets the request as it is: FastAPI documents it, and costs it nothing."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the function itself."""
        handler: Callable[[Request], Coroutine[Any, Any, Response]] = self.endpoint
        return handler


def _add_forecasts(app: FastAPI, settings: ServingSettings, watch: ModelWatcher, forecasts: ForecastService) -> None:
    tags: list[str | Enum] = ["forecasts"]

    async def make(
        request: Request, read: Callable[[bytes, int | None], PredictRequest], render: Callable[[ForecastResult], bytes]
    ) -> Response:
        loaded = _served(request, watch)
        body = await read_body(request, settings.max_body_mib)
        steps = steps_asked(request)
        question = read(body, steps) if len(body) < _SMALL_BODY else await forecasts.aside(lambda: read(body, steps))
        making = forecasts.make(loaded, question.steps, None if question.columns is None else question.history)
        made = await (making if question.steps < _FEW_STEPS else while_connected(request, making))
        content = render(made) if question.steps < _FEW_STEPS else await forecasts.aside(lambda: render(made))
        return Response(content, media_type="application/json")

    async def predict(request: Request) -> Response:
        with forecasts.counting_refusals():
            return await make(request, read_question, render_answer)

    async def invoke(request: Request) -> Response:
        content_type = request.headers.get("content-type", "")
        read = partial(read_invocation, content_type=content_type)
        with forecasts.counting_refusals():
            return await make(request, read, render_invocation)

    app.router.add_api_route(
        "/predict",
        predict,
        methods=["POST"],
        route_class_override=_Plain,
        tags=tags,
        summary="Forecast onward from the stored data, or from data of your own",
        responses=PREDICTED | REFUSED,
        openapi_extra=PREDICT_TAKES,
    )
    app.router.add_api_route(
        "/invocations",
        invoke,
        methods=["POST"],
        route_class_override=_Plain,
        tags=tags,
        summary="Forecast onward from a table, as MLflow's and SageMaker's clients ask",
        responses=INVOKED | REFUSED | problems_of(415),
        openapi_extra=INVOCATION_TAKES,
    )

    @app.get(
        "/predict_ping",
        tags=tags,
        summary="Forecast a step and tell that it went well",
        responses=problems_of(400, 429) | UNAVAILABLE,
    )
    async def predict_ping(request: Request) -> ServerState:
        with forecasts.counting_refusals():
            await forecasts.make(_served(request, watch), 1, None)
        return ServerState(status="ok")


def _add_model(app: FastAPI, settings: ServingSettings, watch: ModelWatcher) -> None:
    tags: Any = ["model"]

    @app.get("/model", tags=tags, summary="The model that is served, and the promotions so far", responses=UNAVAILABLE)
    async def model(request: Request) -> Response:
        loaded = _served(request, watch)
        return JSONResponse(describe(loaded, watch.background, problem=watch.problem, notice=watch.notice))

    @app.post(
        "/reload_latest",
        tags=tags,
        summary="Look at once for what is promoted",
        responses=problems_of(400) | UNAVAILABLE,
    )
    async def reload_latest(request: Request) -> dict[str, Any]:
        try:
            async with asyncio.timeout(settings.deadline_seconds):
                changed = await asyncio.to_thread(watch.look)
        except TimeoutError:
            raise HttpError(504, "the store or MLflow did not answer in time") from None
        return {"status": "reloaded" if changed else "unchanged", **_served(request, watch).identity}
