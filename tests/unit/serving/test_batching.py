"""Continuous batching: which forecasts share a pass, and that none of them spoils another."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry

from flts.errors import BadInputError
from flts.models.forecasting import forecast_steps
from flts.models.stepwise import StepwiseForecast
from flts.serving.batching import ForecastBatcher
from flts.timeseries.arrays import Floats
from flts.timeseries.frame import Frame
from flts.timeseries.processed import ProcessedData
from tests.support.forecasters import truncated
from tests.support.series import ToyForecaster, make_data

DATA = make_data(60)


class SteppedForecaster(ToyForecaster):
    """A forecaster whose every pass announces itself, then waits until it is allowed to go on."""

    def __init__(self) -> None:
        super().__init__(DATA, input_seq_len=5, output_seq_len=1)
        self.entered, self.allowed = threading.Semaphore(0), threading.Semaphore(0)

    def forecast(self, frame: Frame, origins: NDArray[np.int64]) -> Floats:
        self.entered.release()
        self.allowed.acquire()
        return super().forecast(frame, origins)

    async def wait_until_entered(self) -> None:
        await asyncio.to_thread(self.entered.acquire)

    def allow(self, passes: int) -> None:
        self.allowed.release(passes)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture(params=[8])
def batcher(request: pytest.FixtureRequest, registry: CollectorRegistry) -> Iterator[ForecastBatcher]:
    made = ForecastBatcher(max_batch=request.param, window_seconds=0, registry=registry)
    yield made
    made.end()


def begin(forecaster: Any, steps: int, data: ProcessedData = DATA) -> Callable[[], StepwiseForecast]:
    return lambda: StepwiseForecast(forecaster, data, steps)


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    """Run a scenario in an event loop; one that hangs fails."""

    async def bounded() -> None:
        async with asyncio.timeout(60):
            await scenario()

    asyncio.run(bounded())


@pytest.mark.parametrize(("batcher", "batches"), [(8, [1, 3]), (2, [1, 2, 1])], indirect=["batcher"])
def test_forecasts_that_arrive_during_a_pass_share_the_next_one_up_to_the_limit(
    batcher: ForecastBatcher, registry: CollectorRegistry, batches: list[int]
):
    forecaster = SteppedForecaster()

    async def scenario() -> None:
        first = asyncio.ensure_future(batcher.forecast(forecaster, begin(forecaster, 1)))
        await forecaster.wait_until_entered()
        others = [asyncio.ensure_future(batcher.forecast(forecaster, begin(forecaster, 1))) for _ in range(3)]
        await asyncio.sleep(0)  # each has joined the queue
        forecaster.allow(9)
        await asyncio.gather(first, *others)

    run(scenario)
    assert forecaster.batches == batches
    assert registry.get_sample_value("flts_forecast_batch_size_count") == len(batches)
    assert registry.get_sample_value("flts_forecast_batch_size_sum") == 4
    assert registry.get_sample_value("flts_forecast_steps_total") == 4


def test_a_short_forecast_joins_a_long_one_and_leaves_first(batcher: ForecastBatcher):
    forecaster = SteppedForecaster()
    finished: list[str] = []

    async def forecast(name: str, steps: int) -> None:
        result = await batcher.forecast(forecaster, begin(forecaster, steps))
        finished.append(name)
        np.testing.assert_allclose(result.values, forecast_steps(alone, DATA, len(DATA), steps).values, rtol=1e-9)

    alone = ToyForecaster(DATA, input_seq_len=5, output_seq_len=1)

    async def scenario() -> None:
        long = asyncio.ensure_future(forecast("long", 5))
        await forecaster.wait_until_entered()
        short = asyncio.ensure_future(forecast("short", 1))
        await asyncio.sleep(0)
        forecaster.allow(2)
        await short
        forecaster.allow(9)
        await long

    run(scenario)
    assert finished == ["short", "long"]
    assert forecaster.batches == [1, 2, 1, 1, 1]


def test_data_that_cannot_be_forecast_from_fail_their_own_forecast_alone(batcher: ForecastBatcher):
    forecaster = ToyForecaster(DATA, input_seq_len=5, output_seq_len=1)

    async def scenario() -> None:
        results = await asyncio.gather(
            batcher.forecast(forecaster, begin(forecaster, 2, truncated(DATA, 4))),
            batcher.forecast(forecaster, begin(forecaster, 2)),
            return_exceptions=True,
        )
        assert isinstance(results[0], BadInputError)
        assert str(results[0]) == "the data has 4 rows; the model needs 5"
        assert not isinstance(results[1], BaseException)
        assert len(results[1].values) == 2

    run(scenario)


def test_a_pass_that_fails_is_repeated_one_by_one(batcher: ForecastBatcher):
    class Failing(SteppedForecaster):
        def forecast(self, frame: Frame, origins: NDArray[np.int64]) -> Floats:
            values = super().forecast(frame, origins)
            if np.abs(frame.matrix(self.features)).max() > 1e6:
                raise ZeroDivisionError("of one forecast")
            return values

    forecaster = Failing()
    spoilt = make_data(60)
    spoilt.frame.columns["a"][-3:] = 1e9

    async def scenario() -> None:
        first = asyncio.ensure_future(batcher.forecast(forecaster, begin(forecaster, 1)))
        await forecaster.wait_until_entered()
        bad = asyncio.ensure_future(batcher.forecast(forecaster, begin(forecaster, 1, spoilt)))
        good = asyncio.ensure_future(batcher.forecast(forecaster, begin(forecaster, 1)))
        await asyncio.sleep(0)
        forecaster.allow(9)
        await first
        with pytest.raises(ZeroDivisionError, match="of one forecast"):
            await bad
        assert np.isfinite((await good).values).all()

    run(scenario)


def test_a_caller_that_stops_waiting_costs_no_further_pass(batcher: ForecastBatcher):
    forecaster = SteppedForecaster()

    async def scenario() -> None:
        long = asyncio.ensure_future(batcher.forecast(forecaster, begin(forecaster, 100)))
        await forecaster.wait_until_entered()
        forecaster.allow(1)
        await forecaster.wait_until_entered()
        long.cancel()
        short = asyncio.ensure_future(batcher.forecast(forecaster, begin(forecaster, 1)))
        await asyncio.sleep(0)
        forecaster.allow(9)
        await short

    run(scenario)
    assert forecaster.batches == [1, 1, 1]
