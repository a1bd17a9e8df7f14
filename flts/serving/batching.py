"""Continuous batching: one thread makes all forecasts, and those in progress share every pass of their model.

A forecast joins between two passes, if there is room, and leaves when it is done, so that a short one does not wait
for a long one. While a pass runs, the next batch fills up.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby
from threading import Condition, Thread
from typing import TYPE_CHECKING

from flts.models.base import Forecaster
from flts.models.forecasting import Forecast
from flts.models.stepwise import StepwiseForecast

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


@dataclass(eq=False)
class _Request:
    """A requested forecast; its caller has stopped waiting once the future is done."""

    forecaster: Forecaster
    begin: Callable[[], StepwiseForecast]
    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[Forecast]"
    stepwise: StepwiseForecast | None = None
    error: Exception | None = None

    @property
    def finished(self) -> bool:
        return self.error is not None or (self.stepwise is not None and self.stepwise.done)

    def resolve(self) -> None:
        """Give the caller the result or the error, if it still waits; called in the event loop."""
        if self.future.done():
            return
        if self.error:
            self.future.set_exception(self.error)
        elif self.stepwise:
            self.future.set_result(self.stepwise.forecast())


class ForecastBatcher:
    """The thread that makes forecasts, and the queue of those that wait for it."""

    def __init__(self, *, max_batch: int, window_seconds: float, registry: "CollectorRegistry") -> None:
        """Start the thread.

        Args:
            max_batch: Maximum number of forecasts in a pass.
            window_seconds: Maximum time to wait until a pass has as many forecasts as the one before, if that had
                several.
            registry: Registry for the metrics.
        """
        from prometheus_client import Counter, Histogram

        self._max_batch, self._window = max_batch, window_seconds
        self._waiting: deque[_Request] = deque()
        self._changed = Condition()
        self._ended = False
        self._last_size = 1
        self._sizes = Histogram(
            "flts_forecast_batch_size", "Forecasts that shared a pass of the model.", registry=registry, buckets=_SIZES
        )
        self._steps = Counter("flts_forecast_steps", "Steps that were forecast.", registry=registry)
        Thread(target=self._run, name="forecasts", daemon=True).start()

    async def forecast(self, forecaster: Forecaster, begin: Callable[[], StepwiseForecast]) -> Forecast:
        """Make a forecast; a caller that stops waiting costs no further pass.

        Args:
            forecaster: The model.
            begin: Creates the forecast; called in the thread.

        Raises:
            BadInputError: Raised by ``begin``: the data cannot be forecast from.
        """
        loop = asyncio.get_running_loop()
        request = _Request(forecaster, begin, loop, loop.create_future())
        with self._changed:
            self._waiting.append(request)
            self._changed.notify()
        return await request.future

    def end(self) -> None:
        """End the thread after its current pass."""
        with self._changed:
            self._ended = True
            self._changed.notify()

    def _run(self) -> None:
        active: list[_Request] = []
        while not self._ended:
            active += self._take_waiting(len(active))
            # Group by model; the sort is stable, so that each group stays in order of arrival.
            active.sort(key=lambda request: id(request.forecaster))
            for _, requests in groupby(active, key=lambda request: id(request.forecaster)):
                self._advance(list(requests))
            self._last_size = len(active)
            _resolve([request for request in active if request.finished])
            active = [request for request in active if not request.finished and not request.future.done()]

    def _take_waiting(self, active: int) -> list[_Request]:
        """Return the forecasts that join the next pass; wait while there is nothing to do."""
        with self._changed:
            while not (active or self._waiting or self._ended):
                self._changed.wait()
            until = time.monotonic() + self._window
            expected = min(self._last_size, self._max_batch) if self._last_size > 1 else 0
            while active + len(self._waiting) < expected and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)
            return [self._waiting.popleft() for _ in range(min(len(self._waiting), self._max_batch - active))]

    def _advance(self, requests: list[_Request]) -> None:
        for request in requests:
            if request.stepwise is None:
                try:
                    request.stepwise = request.begin()
                except Exception as error:
                    request.error = error
        valid = [request for request in requests if not request.error]
        if valid:
            self._pass(valid)

    def _pass(self, requests: list[_Request]) -> None:
        forecasts = [request.stepwise for request in requests if request.stepwise]
        self._sizes.observe(len(forecasts))
        try:
            StepwiseForecast.advance(forecasts)
        except Exception as error:
            if len(requests) == 1:
                requests[0].error = error
                return
            for request in requests:  # one bad forecast must not fail the others
                self._pass([request])
            return
        self._steps.inc(len(requests) * requests[0].forecaster.output_seq_len)


def _resolve(requests: Sequence[_Request]) -> None:
    """Resolve requests in the event loop, all in one call, because every call wakes it up."""
    if requests:
        with suppress(RuntimeError):  # the server has ended
            requests[0].loop.call_soon_threadsafe(_resolve_each, requests)


def _resolve_each(requests: Sequence[_Request]) -> None:
    for request in requests:
        request.resolve()
