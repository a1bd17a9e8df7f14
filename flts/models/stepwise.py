"""Forecasts of what follows a history, made block by block, so that one pass of a model can serve many of them."""

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

# What is kept takes some hundred kB a length at most.
_KEPT_LENGTHS, _KEPT_STEPS = 64, 500


class StepwiseForecast:
    """A forecast that is being made; complete, it is what ``forecast_steps`` gives from the row behind the data.

    Of that the numbers may differ by rounding: see ``Forecaster.forecast`` of the model.
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
        self._extension = Rollout(forecaster, data, np.array([len(data)]), room=steps + forecaster.output_seq_len)
        self._blocks: list[Floats] = []

    def copy(self) -> "StepwiseForecast":
        """Return another forecast that is as far as this one."""
        other = copy(self)
        other._extension, other._blocks = self._extension.copy(), list(self._blocks)
        return other

    @property
    def done(self) -> bool:
        """Whether all steps are forecast."""
        return len(self._blocks) * self._forecaster.output_seq_len >= self.steps

    def forecast(self) -> Forecast:
        """Return the forecast, once it is done."""
        history, block, rows = self._forecaster.input_seq_len, self._forecaster.output_seq_len, len(self._data)
        step = np.arange(self.steps)
        begin = step // block * block  # of the block that a step is in
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
        """Make the next block of several forecasts of one model, in one pass; none of them may be done."""
        blocks = forecast_blocks(forecasts[0]._forecaster, [forecast._extension for forecast in forecasts])
        for forecast, [block] in zip(forecasts, blocks, strict=True):
            forecast._blocks.append(block)
            if not forecast.done:
                forecast._extension.append(block[None])


class ForecastCache:
    """Forecasts of what follows the same data, again and again: what each begins with is made once for a length.

    For one thread alone.
    """

    def __init__(self, forecaster: Forecaster, data: ProcessedData) -> None:
        """Prepare to forecast what follows some data."""
        self._forecaster, self._data = forecaster, data
        self._made: dict[int, StepwiseForecast] = {}

    def __call__(self, steps: int) -> StepwiseForecast:
        """Return a new forecast of ``steps`` rows; errors as of ``StepwiseForecast``."""
        begun = self._made.get(steps)
        if begun is None:
            begun = StepwiseForecast(self._forecaster, self._data, steps)
            if steps <= _KEPT_STEPS and len(self._made) < _KEPT_LENGTHS:
                self._made[steps] = begun
        return begun.copy()
