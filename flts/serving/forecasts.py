"""Forecasts for requests: at most so many at once, each within its time."""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from flts.errors import BadInputError
from flts.models.bundle import Bundle
from flts.models.forecasting import Forecast
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
_NO_DATA = "the store has no inference data of this model: send data"

ReadHistory = Callable[[Bundle], ProcessedData]


@dataclass(frozen=True)
class ForecastResult:
    """A forecast, the bounds around it where its model has intervals, and the model."""

    forecast: Forecast
    bounds: Bounds | None
    loaded: LoadedModel


class ForecastService:
    """Makes forecasts with whichever model is served when a request comes."""

    def __init__(self, settings: ServingSettings, registry: "CollectorRegistry") -> None:
        """Begin to work."""
        from prometheus_client import Counter, Gauge, Histogram

        self._most, self._deadline = settings.queue_length, settings.deadline_seconds
        self._pending = 0
        self._passes = ForecastBatcher(
            most=settings.max_batch, window_seconds=settings.batch_window_ms / 1000, registry=registry
        )
        self._threads = ThreadPoolExecutor(settings.threads, thread_name_prefix="data")
        Gauge("flts_forecast_queue_length", "Forecasts that are waited for.", registry=registry).set_function(
            lambda: self._pending
        )
        self._seconds = Histogram(
            "flts_forecast_seconds", "From a request's body to its forecast.", registry=registry, buckets=_SECONDS
        )
        self._refused = Counter(
            "flts_forecasts_refused", "Requests that got no forecast.", ("reason",), registry=registry
        )
        for reason in _REASONS.values():
            self._refused.labels(reason)

    def end(self) -> None:
        """Stop working."""
        self._passes.end()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def aside(self, work: Callable[[], T]) -> T:
        """Do some work in a thread, while others are answered."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    @contextmanager
    def counting_refusals(self) -> Iterator[None]:
        """Count why a request in the block gets no forecast."""
        try:
            yield
        except HttpError as error:
            self._refused.labels(_REASONS.get(error.status, "bad_request")).inc()
            raise
        except BadInputError:
            self._refused.labels("bad_request").inc()
            raise

    async def make(self, loaded: LoadedModel, steps: int, read: ReadHistory | None) -> ForecastResult:
        """Forecast the ``steps`` behind what ``read`` gives, or behind the stored data.

        Raises:
            RefusedError: 429 where too many wait, 504 past the deadline.
            BadInputError: The data cannot be forecast from.
        """
        if self._pending >= self._most:
            raise HttpError(429, f"{self._most} forecasts are waited for already: try again in a moment")
        self._pending += 1
        begun = time.monotonic()
        try:
            async with asyncio.timeout(self._deadline):
                made = await (self._behind(loaded, steps, read) if read else self._stored(loaded, steps))
        except TimeoutError:
            raise HttpError(504, f"the forecast took longer than {self._deadline:g} seconds") from None
        finally:
            self._pending -= 1
        self._seconds.observe(time.monotonic() - begun)
        _check_finite(made)
        return made

    async def _stored(self, loaded: LoadedModel, steps: int) -> ForecastResult:
        stored = loaded.stored
        if stored is None:
            raise BadInputError(_NO_DATA)
        forecast = await self._passes.forecast(loaded.bundle.forecaster, lambda: stored.onward(steps))
        return ForecastResult(forecast, stored.intervals.bounds(forecast) if stored.intervals else None, loaded)

    async def _behind(self, loaded: LoadedModel, steps: int, read: ReadHistory) -> ForecastResult:
        bundle = loaded.bundle
        data = await self.aside(lambda: read(bundle))
        forecaster, intervals = bundle.forecaster, bundle.intervals
        forecasting = self._passes.forecast(forecaster, lambda: StepwiseForecast(forecaster, data, steps))
        if intervals is None:
            return ForecastResult(await forecasting, None, loaded)
        # Two cores work on them at once: the intervals take as long as some eighty steps.
        forecast, calibrated = await asyncio.gather(
            forecasting,
            self.aside(lambda: intervals.calibrated_on_recent(forecaster, data)),
        )
        return ForecastResult(forecast, calibrated.bounds(forecast), loaded)


def _check_finite(made: ForecastResult) -> None:
    bounds = made.bounds
    values = [made.forecast.values, *([bounds.lower, bounds.upper] if bounds else [])]
    if not all(np.isfinite(each).all() for each in values):
        promotion = made.loaded.promotion
        raise BadInputError(
            f"the {promotion.model_type} model (run {promotion.run_id}) forecasts values that are not finite numbers "
            "from these data"
        )
