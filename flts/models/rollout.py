"""Series that are continued by their own forecasts, several of them in one pass of a model."""

from collections.abc import Sequence
from copy import copy

import numpy as np

from flts.models.base import Forecaster
from flts.timeseries.arrays import Floats, Indices
from flts.timeseries.features import TIME_FEATURES, parse_lag, time_features
from flts.timeseries.frame import Frame
from flts.timeseries.processed import ProcessedData


class Rollout:
    """For each origin the rows before it and room for those from it on, filled block by block; columns are (k, n)."""

    def __init__(self, forecaster: Forecaster, data: ProcessedData, origins: Indices, room: int) -> None:
        """Stand before each of (k,) ``origins``, with room for so many rows."""
        lags = {name: lag for name in forecaster.features if (lag := parse_lag(name)) and lag[0] in data.frame.columns}
        reach = max([forecaster.history_rows, *(n for _, n in lags.values())])
        ahead = np.arange(-reach, room)
        # From its origin on every column is held. Before the data its first row stands still, which is a gap in time.
        rows = np.clip(origins[:, None] + ahead, 0, origins[:, None] - 1)
        self._time = data.frame.time[rows] + np.maximum(ahead + 1, 0) * sampling_interval(data)
        names = {*forecaster.features, *forecaster.targets, *(column for column, _ in lags.values())}
        self._columns = {name: data.frame.columns[name][rows] for name in sorted(names)}
        # Values known from the start are written at once; a lag of a held column is as good as known.
        computed = time_features(self._time[:, reach:].ravel())
        for name in names & set(TIME_FEATURES):
            self._columns[name][:, reach:] = computed[name].reshape(len(origins), room)
        self._forecaster = forecaster
        self._lags = lags
        self._exists = origins[:, None] + ahead >= 0
        self._end = reach
        self._fill_lags(reach, reach + room)

    def copy(self) -> "Rollout":
        """Return another one that stands where this one does."""
        other = copy(self)
        other._columns = {name: values.copy() for name, values in self._columns.items()}
        return other

    def forecast(self) -> Floats:
        """Forecast the next block of every origin, (k, output_seq_len, targets)."""
        # The histories stand one behind the other in one frame, views of what is kept here: no forecast sees the room.
        columns = {name: values.ravel() for name, values in self._columns.items()}
        windows = Frame(self._time.ravel(), columns)
        rows, room = self._time.shape
        return self._forecaster.forecast(windows, np.arange(self._end, rows * room, room))

    def windows(self) -> Frame:
        """Return what the next forecasts see, the rows of each origin behind those of the one before it.

        Of each there are ``history_rows`` rows before the next block, and the block.
        """
        seen = slice(self._end - self._forecaster.history_rows, self._end + self._forecaster.output_seq_len)
        names = self._forecaster.features
        return Frame(self._time[:, seen].ravel(), {name: self._columns[name][:, seen].ravel() for name in names})

    def append(self, values: Floats) -> None:
        """Take forecasts (k, n, targets) as the next n rows."""
        start, stop = self._end, self._end + values.shape[1]
        for position, name in enumerate(self._forecaster.targets):
            self._columns[name][:, start:stop] = values[:, :, position]
        self._fill_lags(start, stop)
        self._end = stop

    def _fill_lags(self, start: int, stop: int) -> None:
        for name, (column, n) in self._lags.items():
            # Rows whose lag lies before the data keep the held value.
            known, earlier = self._exists[:, start - n : stop - n], self._columns[column][:, start - n : stop - n]
            np.copyto(self._columns[name][:, start:stop], earlier, where=known)


def forecast_blocks(forecaster: Forecaster, extensions: Sequence[Rollout]) -> list[Floats]:
    """Forecast the next block of every extension, (k, output_seq_len, targets) each, in one pass of their model."""
    if len(extensions) == 1:
        return [extensions[0].forecast()]
    frames = [extension.windows() for extension in extensions]
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
