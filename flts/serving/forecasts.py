"""Forecasts for requests, with a bounded queue and a deadline for each."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from flts.errors import BadInputError
from flts.models.bundle import Bundle
from flts.models.forecasting import Forecast
from flts.models.history import check_quantiles
from flts.models.intervals import Bounds
from flts.models.stepwise import StepwiseForecast
from flts.serving.batching import ForecastBatcher
from flts.serving.loading import LoadedModel
from flts.serving.settings import ServingSettings
from flts.timeseries.processed import ProcessedData
from flts.web.errors import HttpError

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

T = TypeVar("T")

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_REASONS = {400: "bad_request", 413: "too_large", 429: "full", 499: "gone", 503: "no_model", 504: "deadline"}
_NO_DATA = "the store has no inference data for this model: send data with the request"

ReadHistory = Callable[[Bundle], ProcessedData]


@dataclass(frozen=True)
class ForecastResult:
    """A forecast, its interval bounds if the model has intervals, and the model."""

    forecast: Forecast
    bounds: Bounds | None
    loaded: LoadedModel


class ForecastService:
    """Makes forecasts for requests, in batches across requests."""

    def __init__(self, settings: ServingSettings, registry: "CollectorRegistry") -> None:
        """Start the threads."""
        from prometheus_client import Counter, Gauge, Histogram

        self._max_pending, self._deadline = settings.queue_length, settings.deadline_seconds
        self._pending = 0
        self._batcher = ForecastBatcher(
            max_batch=settings.max_batch, window_seconds=settings.batch_window_ms / 1000, registry=registry
        )
        self._threads = ThreadPoolExecutor(settings.threads, thread_name_prefix="data")
        Gauge("flts_forecast_queue_length", "Forecasts pending now.", registry=registry).set_function(
            lambda: self._pending
        )
        self._seconds = Histogram(
            "flts_forecast_seconds",
            "Seconds from reading a request's body to its forecast.",
            registry=registry,
            buckets=_SECONDS,
        )
        self._refused = Counter(
            "flts_forecasts_refused", "Requests that got no forecast, by reason.", ("reason",), registry=registry
        )
        for reason in _REASONS.values():
            self._refused.labels(reason)

    def end(self) -> None:
        """Stop the threads."""
        self._batcher.end()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def run_in_thread(self, work: Callable[[], T]) -> T:
        """Run a function in a thread, so that the event loop keeps serving other requests."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    @contextmanager
    def count_refusals(self) -> Iterator[None]:
        """Count a request that fails in the block, by reason."""
        try:
            yield
        except HttpError as error:
            self._refused.labels(_REASONS.get(error.status, "bad_request")).inc()
            raise
        except BadInputError:
            self._refused.labels("bad_request").inc()
            raise

    async def make(
        self, loaded: LoadedModel, steps: int, read: ReadHistory | None, quantiles: Sequence[float] = ()
    ) -> ForecastResult:
        """Forecast the ``steps`` after the history that ``read`` returns, or after the stored data.

        Raises:
            HttpError: 429 when the queue is full, 504 past the deadline.
            BadInputError: The data cannot be forecast from, or the model has no quantiles.
        """
        check_quantiles(loaded.bundle, quantiles)
        if self._pending >= self._max_pending:
            raise HttpError(429, f"{self._max_pending} forecasts are already pending: try again in a moment")
        self._pending += 1
        begun = time.monotonic()
        try:
            async with asyncio.timeout(self._deadline):
                result = await (
                    self._forecast_history(loaded, steps, read, quantiles)
                    if read
                    else self._forecast_stored(loaded, steps, quantiles)
                )
        except TimeoutError:
            raise HttpError(504, f"the forecast took longer than {self._deadline:g} seconds") from None
        finally:
            self._pending -= 1
        self._seconds.observe(time.monotonic() - begun)
        _check_finite(result)
        return result

    async def _forecast_stored(self, loaded: LoadedModel, steps: int, quantiles: Sequence[float]) -> ForecastResult:
        stored = loaded.stored
        if stored is None:
            raise BadInputError(_NO_DATA)
        forecast = await self._batcher.forecast(loaded.bundle.forecaster, lambda: stored.forecasts(steps))
        bounds = stored.intervals.bounds(forecast, quantiles) if stored.intervals else None
        return ForecastResult(forecast, bounds, loaded)

    async def _forecast_history(
        self, loaded: LoadedModel, steps: int, read: ReadHistory, quantiles: Sequence[float]
    ) -> ForecastResult:
        bundle = loaded.bundle
        data = await self.run_in_thread(lambda: read(bundle))
        forecaster, intervals = bundle.forecaster, bundle.intervals
        forecasting = self._batcher.forecast(forecaster, lambda: StepwiseForecast(forecaster, data, steps))
        if intervals is None:
            return ForecastResult(await forecasting, None, loaded)
        # In parallel, because recalibrating the intervals takes as long as about eighty steps.
        forecast, calibrated = await asyncio.gather(
            forecasting,
            self.run_in_thread(lambda: intervals.calibrated_on_recent(forecaster, data)),
        )
        return ForecastResult(forecast, calibrated.bounds(forecast, quantiles), loaded)


def _check_finite(result: ForecastResult) -> None:
    bounds = result.bounds
    values = [result.forecast.values, *(bounds.arrays if bounds else ())]
    if not all(np.isfinite(each).all() for each in values):
        promotion = result.loaded.promotion
        raise BadInputError(
            f"the {promotion.model_type} model (run {promotion.run_id}) forecasts values that are not finite numbers "
            "from these data"
        )
