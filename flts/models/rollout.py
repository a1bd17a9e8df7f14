"""Series that are continued by their own forecasts, several of them in one call of a model."""

from collections.abc import Sequence
from copy import copy

import numpy as np

from flts.models.base import Forecaster
from flts.timeseries.arrays import Floats, Indices
from flts.timeseries.features import TIME_FEATURES, parse_lag, time_features
from flts.timeseries.frame import Frame
from flts.timeseries.processed import ProcessedData


class Rollout:
    """The rows before each origin, and those from it on, which are filled block by block; columns are (k, n)."""

    def __init__(self, forecaster: Forecaster, data: ProcessedData, origins: Indices, steps: int) -> None:
        """Begin at each of (k,) ``origins``, with space for ``steps`` rows."""
        lags = {name: lag for name in forecaster.features if (lag := parse_lag(name)) and lag[0] in data.frame.columns}
        reach = max([forecaster.history_rows, *(n for _, n in lags.values())])
        ahead = np.arange(-reach, steps)
        # From the origin on, every column keeps its last value. Before the data, the first row repeats: a gap in time.
        rows = np.clip(origins[:, None] + ahead, 0, origins[:, None] - 1)
        self._time = data.frame.time[rows] + np.maximum(ahead + 1, 0) * sampling_interval(data)
        names = {*forecaster.features, *forecaster.targets, *(column for column, _ in lags.values())}
        self._columns = {name: data.frame.columns[name][rows] for name in sorted(names)}
        # Values known from the start are written at once; so are lags of columns that keep their last value.
        computed = time_features(self._time[:, reach:].ravel())
        for name in names & set(TIME_FEATURES):
            self._columns[name][:, reach:] = computed[name].reshape(len(origins), steps)
        self._forecaster = forecaster
        self._lags = lags
        self._exists = origins[:, None] + ahead >= 0
        self._end = reach
        self._fill_lags(reach, reach + steps)

    def copy(self) -> "Rollout":
        """Return an independent copy."""
        other = copy(self)
        other._columns = {name: values.copy() for name, values in self._columns.items()}
        return other

    def forecast(self) -> Floats:
        """Forecast the next block of every origin, (k, output_seq_len, targets)."""
        # The histories follow each other in one frame of views. No forecast sees the rows that are not filled yet.
        columns = {name: values.ravel() for name, values in self._columns.items()}
        windows = Frame(self._time.ravel(), columns)
        count, length = self._time.shape
        return self._forecaster.forecast(windows, np.arange(self._end, count * length, length))

    def windows(self) -> Frame:
        """Return the rows that the next forecasts see, the window of one origin after that of another.

        Each window is the ``history_rows`` rows before the next block, and the block.
        """
        seen = slice(self._end - self._forecaster.history_rows, self._end + self._forecaster.output_seq_len)
        names = self._forecaster.features
        return Frame(self._time[:, seen].ravel(), {name: self._columns[name][:, seen].ravel() for name in names})

    def append(self, values: Floats) -> None:
        """Append forecasts (k, n, targets) as the next n rows."""
        start, stop = self._end, self._end + values.shape[1]
        for position, name in enumerate(self._forecaster.targets):
            self._columns[name][:, start:stop] = values[:, :, position]
        self._fill_lags(start, stop)
        self._end = stop

    def _fill_lags(self, start: int, stop: int) -> None:
        for name, (column, n) in self._lags.items():
            # Rows whose lag lies before the data keep the last value.
            known, earlier = self._exists[:, start - n : stop - n], self._columns[column][:, start - n : stop - n]
            np.copyto(self._columns[name][:, start:stop], earlier, where=known)


def forecast_blocks(forecaster: Forecaster, rollouts: Sequence[Rollout]) -> list[Floats]:
    """Forecast the next block of every rollout, (k, output_seq_len, targets) each, in one call of their model."""
    if len(rollouts) == 1:
        return [rollouts[0].forecast()]
    frames = [rollout.windows() for rollout in rollouts]
    windows = Frame(
        np.concatenate([frame.time for frame in frames]),
        {name: np.concatenate([frame.columns[name] for frame in frames]) for name in forecaster.features},
    )
    length = forecaster.history_rows + forecaster.output_seq_len
    blocks = forecaster.forecast(windows, np.arange(forecaster.history_rows, len(windows), length))
    return np.split(blocks, np.cumsum([len(frame) // length for frame in frames])[:-1])


def sampling_interval(data: ProcessedData) -> np.timedelta64:
    """Return the usual time between two rows."""
    return np.timedelta64(round(data.sampling_seconds * 1e6), "us")
