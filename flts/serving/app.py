"""The server's routes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CollectorRegistry, generate_latest

from flts.errors import BadInputError
from flts.serving import invocations
from flts.serving.answers import (
    INVOCATION_BODY,
    INVOKED,
    PREDICT_BODY,
    PREDICTED,
    REFUSED,
    UNAVAILABLE,
    Ready,
    State,
    problems_of,
)
from flts.serving.describing import describe
from flts.serving.documents import MOST_STEPS, Question, read_question, render_answer
from flts.serving.forecasts import Forecasts, Made
from flts.serving.loading import Loaded
from flts.serving.measures import add_model_metrics
from flts.serving.settings import KIB, MIB, ServingSettings
from flts.serving.watching import SERVICE, Watch
from flts.store import ObjectStore
from flts.version import __version__
from flts.web import problems
from flts.web.observing import Observed
from flts.web.problems import RefusedError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

# Answered however much there is to do.
PROBES = frozenset({"/healthz", "/ready", "/metrics", "/ping", "/v2/health/live", "/v2/health/ready"})
_SMALL_BODY = 4 * KIB  # which is read faster than handed to a thread

_Steps = Annotated[
    int | None, Query(ge=1, le=MOST_STEPS, description="steps to forecast; wins over the body", examples=[1])
]


def make_app(settings: ServingSettings, store: ObjectStore) -> "ASGIApp":
    """Make the server of the models that a store promotes."""
    registry = CollectorRegistry()
    watch, forecasts = Watch(store, settings, registry), Forecasts(settings, registry)
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
    problems.install(app, watch.outage)
    _add_probes(app, watch, registry)
    _add_forecasts(app, settings, watch, forecasts)
    _add_model(app, settings, watch)
    return Observed(
        app,
        service=SERVICE,
        registry=registry,
        # Bodies that are being read, and answers that are being sent, are no forecasts that are waited for.
        most=2 * settings.queue_length + 64,
        seconds=settings.deadline_seconds + 30,
        free=PROBES,
    )


def _served(request: Request, watch: Watch) -> Loaded:
    """Return the model that is served now, and note it for the request's line in the log."""
    loaded = watch.loaded
    if loaded is None:
        raise RefusedError(503, watch.nothing)
    request.scope.setdefault("state", {})["log"] = loaded.log
    return loaded


def _add_probes(app: FastAPI, watch: Watch, registry: CollectorRegistry) -> None:
    tags: Any = ["probes"]

    @app.get("/healthz", tags=tags, summary="Whether the server runs")
    @app.get("/v2/health/live", tags=tags, summary="The same, as the Open Inference Protocol asks")
    async def healthz() -> State:
        return State(status="ok")

    @app.get("/ready", tags=tags, summary="Whether forecasts are made", responses=problems_of(503))
    @app.get(
        "/v2/health/ready",
        tags=tags,
        summary="The same, as the Open Inference Protocol asks",
        responses=problems_of(503),
    )
    @app.get("/ping", tags=tags, summary="The same, as MLflow and SageMaker ask", responses=problems_of(503))
    async def ready(request: Request) -> Ready:
        promotion = _served(request, watch).promotion
        return Ready(
            status="ready",
            identifier=promotion.identifier,
            run_id=promotion.run_id,
            model_type=promotion.model_type,
            config_hash=promotion.config_hash,
            promotion_time=promotion.promotion_time,
            problem=watch.problem or None,
        )

    @app.get("/version", tags=tags, summary="Version of MLflow's scoring protocol", response_class=PlainTextResponse)
    async def version() -> str:
        return invocations.mlflow_version()

    @app.get("/metrics", tags=tags, summary="Metrics for Prometheus", response_class=PlainTextResponse)
    async def metrics() -> Response:
        return Response(generate_latest(registry), media_type="text/plain; version=0.0.4; charset=utf-8")


def _add_forecasts(app: FastAPI, settings: ServingSettings, watch: Watch, forecasts: Forecasts) -> None:
    tags: Any = ["forecasts"]
    most_bytes = settings.max_body_mib * MIB

    async def body_of(request: Request) -> bytes:
        announced = request.headers.get("content-length", "0")
        pieces, size = [], int(announced) if announced.isdecimal() else 0
        if size <= most_bytes:
            size = 0
            async for piece in request.stream():
                pieces.append(piece)
                size += len(piece)
                if size > most_bytes:
                    break
        if size > most_bytes:
            forecasts.refused.labels("too_large").inc()
            raise RefusedError(413, f"a body may have at most {settings.max_body_mib} MiB here")
        return b"".join(pieces)

    async def make(request: Request, read: Any, render: Any) -> Response:
        try:
            loaded = _served(request, watch)
        except RefusedError:
            forecasts.refused.labels("no_model").inc()
            raise
        body = await body_of(request)
        try:
            small = len(body) < _SMALL_BODY
            question: Question = read(body) if small else await forecasts.aside(lambda: read(body))
            made: Made = await forecasts.make(
                loaded, question.steps, None if question.columns is None else question.history
            )
        except BadInputError:
            forecasts.refused.labels("bad_request").inc()
            raise
        content = render(made) if question.steps < 100 else await forecasts.aside(lambda: render(made))
        return Response(content, media_type="application/json")

    @app.post(
        "/predict",
        tags=tags,
        summary="Forecast onward from the stored data, or from data of your own",
        responses=PREDICTED | REFUSED,
        openapi_extra=PREDICT_BODY,
    )
    async def predict(request: Request, inference_length: _Steps = None) -> Response:
        return await make(request, lambda body: read_question(body, inference_length), render_answer)

    @app.post(
        "/invocations",
        tags=tags,
        summary="Forecast onward from a table, as MLflow's and SageMaker's clients ask",
        responses=INVOKED | REFUSED | problems_of(415),
        openapi_extra=INVOCATION_BODY,
    )
    async def invoke(request: Request, inference_length: _Steps = None) -> Response:
        content_type = request.headers.get("content-type", "")
        return await make(
            request,
            lambda body: invocations.read_invocation(body, content_type, inference_length),
            invocations.render_invocation,
        )

    @app.get(
        "/predict_ping",
        tags=tags,
        summary="Forecast a step and tell that it went well",
        responses=problems_of(400, 429) | UNAVAILABLE,
    )
    async def predict_ping(request: Request) -> State:
        await forecasts.make(_served(request, watch), 1, None)
        return State(status="ok")


def _add_model(app: FastAPI, settings: ServingSettings, watch: Watch) -> None:
    tags: Any = ["model"]

    @app.get("/model", tags=tags, summary="The model that is served, and the promotions so far", responses=UNAVAILABLE)
    async def model(request: Request) -> Response:
        loaded = _served(request, watch)
        return JSONResponse(describe(loaded, watch.background, watch.problem))

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
            raise RefusedError(504, "the store or MLflow did not answer in time") from None
        promotion = _served(request, watch).promotion
        return {
            "status": "reloaded" if changed else "unchanged",
            "identifier": promotion.identifier,
            "run_id": promotion.run_id,
            "model_type": promotion.model_type,
            "config_hash": promotion.config_hash,
            "promotion_time": promotion.promotion_time,
        }
