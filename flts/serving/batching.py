"""One thread that makes all forecasts, block by block: those that are at work at once share every pass of their model.

A forecast joins between two passes, where there is room, and leaves when it is done, so that a short one does not wait
for a long one; and while a pass runs, the next one fills up by itself.
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
class _Job:
    """A forecast that somebody waits for, as long as its future is not done."""

    forecaster: Forecaster
    begin: Callable[[], StepwiseForecast]
    loop: asyncio.AbstractEventLoop
    future: "asyncio.Future[Forecast]"
    onward: StepwiseForecast | None = None
    error: Exception | None = None

    @property
    def over(self) -> bool:
        return self.error is not None or (self.onward is not None and self.onward.done)

    def answer(self) -> None:
        """Tell whoever still waits; in the event loop."""
        if self.future.done():
            return
        if self.error:
            self.future.set_exception(self.error)
        elif self.onward:
            self.future.set_result(self.onward.forecast())


class ForecastBatcher:
    """The thread; what waits and what is at work is known to it alone."""

    def __init__(self, *, most: int, window_seconds: float, registry: "CollectorRegistry") -> None:
        """Begin to work.

        Args:
            most: Forecasts that share a pass.
            window_seconds: How long to wait for as many forecasts as the last pass had, where it had several.
            registry: Where metrics are kept.
        """
        from prometheus_client import Counter, Histogram

        self._most, self._window = most, window_seconds
        self._waiting: deque[_Job] = deque()
        self._changed = Condition()
        self._ended = False
        self._last_size = 1
        self._sizes = Histogram(
            "flts_forecast_batch_size", "Forecasts that shared a pass of the model.", registry=registry, buckets=_SIZES
        )
        self._steps = Counter("flts_forecast_steps", "Steps that were forecast.", registry=registry)
        Thread(target=self._run, name="passes", daemon=True).start()

    async def forecast(self, forecaster: Forecaster, begin: Callable[[], StepwiseForecast]) -> Forecast:
        """Make a forecast of a model; a caller that no longer waits, costs no further pass.

        Args:
            forecaster: The model.
            begin: Returns the forecast that is to be made; called in the thread.

        Raises:
            BadInputError: ``begin`` did: the data cannot be forecast from.
        """
        loop = asyncio.get_running_loop()
        job = _Job(forecaster, begin, loop, loop.create_future())
        with self._changed:
            self._waiting.append(job)
            self._changed.notify()
        return await job.future

    def end(self) -> None:
        """Let the thread end after its pass."""
        with self._changed:
            self._ended = True
            self._changed.notify()

    def _run(self) -> None:
        at_work: list[_Job] = []
        while not self._ended:
            at_work += self._joining(len(at_work))
            # Those of one model stand together; the sort keeps them in the order in which they came.
            at_work.sort(key=lambda job: id(job.forecaster))
            for _, jobs in groupby(at_work, key=lambda job: id(job.forecaster)):
                self._advance(list(jobs))
            self._last_size = len(at_work)
            _answer([job for job in at_work if job.over])
            at_work = [job for job in at_work if not job.over and not job.future.done()]

    def _joining(self, at_work: int) -> list[_Job]:
        """Return who joins the next pass; waits while nobody is there."""
        with self._changed:
            while not (at_work or self._waiting or self._ended):
                self._changed.wait()
            until = time.monotonic() + self._window
            expected = min(self._last_size, self._most) if self._last_size > 1 else 0
            while at_work + len(self._waiting) < expected and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)
            return [self._waiting.popleft() for _ in range(min(len(self._waiting), self._most - at_work))]

    def _advance(self, jobs: list[_Job]) -> None:
        for job in jobs:
            if job.onward is None:
                try:
                    job.onward = job.begin()
                except Exception as error:
                    job.error = error
        able = [job for job in jobs if not job.error]
        if able:
            self._pass(able)

    def _pass(self, jobs: list[_Job]) -> None:
        forecasts = [job.onward for job in jobs if job.onward]
        self._sizes.observe(len(forecasts))
        try:
            StepwiseForecast.advance(forecasts)
        except Exception as error:
            if len(jobs) == 1:
                jobs[0].error = error
                return
            for job in jobs:  # what one of them holds must not fail the others
                self._pass([job])
            return
        self._steps.inc(len(jobs) * jobs[0].forecaster.output_seq_len)


def _answer(jobs: Sequence[_Job]) -> None:
    """Answer in the event loop: once for all, because every call wakes it up."""
    if jobs:
        with suppress(RuntimeError):  # the server has ended
            jobs[0].loop.call_soon_threadsafe(_answer_each, jobs)


def _answer_each(jobs: Sequence[_Job]) -> None:
    for job in jobs:
        job.answer()
