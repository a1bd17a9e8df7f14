"""Forecasts of the rows after a history, made block by block, so that one call of a model serves many of them."""

from collections.abc import Sequence
from copy import copy

import numpy as np

from flts.errors import BadInputError
from flts.models.base import Forecaster
from flts.models.forecasting import Forecast
from flts.models.rollout import Rollout, forecast_blocks, sampling_interval
from flts.timeseries.arrays import Floats
from flts.timeseries.frame import gaps_before
from flts.timeseries.processed import ProcessedData
from flts.timeseries.windows import spans_gap

# A cached forecast takes a few hundred kB at most.
_CACHED_LENGTHS, _CACHED_STEPS = 64, 500


class StepwiseForecast:
    """A forecast in progress; when complete, it is that of ``forecast_steps`` from the row after the data.

    The numbers may differ by rounding: see ``Forecaster.forecast`` of the model.
    """

    def __init__(self, forecaster: Forecaster, data: ProcessedData, steps: int) -> None:
        """Prepare to forecast ``steps`` rows, at least 1; only the end of the data is copied.

        Raises:
            BadInputError: The data has fewer rows than a window.
        """
        if len(data) < forecaster.input_seq_len:
            raise BadInputError(f"the data has {len(data)} rows; the model needs {forecaster.input_seq_len}")
        self.steps = steps
        self._forecaster, self._data = forecaster, data
        self._rollout = Rollout(forecaster, data, np.array([len(data)]), steps=steps + forecaster.output_seq_len)
        self._blocks: list[Floats] = []

    def copy(self) -> "StepwiseForecast":
        """Return an independent copy, with the blocks made so far."""
        other = copy(self)
        other._rollout, other._blocks = self._rollout.copy(), list(self._blocks)
        return other

    @property
    def done(self) -> bool:
        """True when all steps are forecast."""
        return len(self._blocks) * self._forecaster.output_seq_len >= self.steps

    def forecast(self) -> Forecast:
        """Return the complete forecast."""
        history, block, rows = self._forecaster.input_seq_len, self._forecaster.output_seq_len, len(self._data)
        step = np.arange(self.steps)
        begin = step // block * block  # first step of the block
        time = self._data.frame.time[-history:]
        return Forecast(
            time=time[-1] + (step + 1) * sampling_interval(self._data),
            values=np.concatenate(self._blocks)[: self.steps],
            recursive=begin > 0,
            origin=np.full(self.steps, rows),
            ahead=step + 1,
            after_gap=spans_gap(gaps_before(time, self._data.sampling_seconds), begin, step + history),
        )

    @classmethod
    def advance(cls, forecasts: "Sequence[StepwiseForecast]") -> None:
        """Make the next block of several forecasts of one model, in one call of it; none of them may be done."""
        blocks = forecast_blocks(forecasts[0]._forecaster, [forecast._rollout for forecast in forecasts])
        for forecast, [block] in zip(forecasts, blocks, strict=True):
            forecast._blocks.append(block)
            if not forecast.done:
                forecast._rollout.append(block[None])


class ForecastCache:
    """A cache of new ``StepwiseForecast`` of the rows after the same data, by their length.

    Not thread-safe.
    """

    def __init__(self, forecaster: Forecaster, data: ProcessedData) -> None:
        """Prepare to forecast the rows after some data."""
        self._forecaster, self._data = forecaster, data
        self._cached: dict[int, StepwiseForecast] = {}

    def __call__(self, steps: int) -> StepwiseForecast:
        """Return a new forecast of ``steps`` rows; raises the errors of ``StepwiseForecast``."""
        forecast = self._cached.get(steps)
        if forecast is None:
            forecast = StepwiseForecast(self._forecaster, self._data, steps)
            if steps <= _CACHED_STEPS and len(self._cached) < _CACHED_LENGTHS:
                self._cached[steps] = forecast
        return forecast.copy()
