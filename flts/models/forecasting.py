"""Forecasts of any length from a model that forecasts fixed blocks: rolling over actual rows, then recursive."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flts.errors import BadInputError
from flts.models.base import Forecaster
from flts.timeseries.arrays import Flags, Floats, Indices, Times
from flts.timeseries.features import TIME_FEATURES, parse_lag, time_features
from flts.timeseries.frame import Frame
from flts.timeseries.processed import ProcessedData


@dataclass(frozen=True)
class Forecast:
    """Consecutive forecast steps, in original units.

    Attributes:
        time: (n,) when each step is; continued at the sampling interval behind the last row.
        values: (n, targets) forecasts.
        recursive: (n,) whether a step was made from earlier forecasts; else it was made from actual rows alone.
        after_gap: (n,) whether a gap in time lies in the step's window or between the window and the step: such a
            step is forecast, but says nothing about the model and is not scored.
    """

    time: Times
    values: Floats
    recursive: Flags
    after_gap: Flags


def one_step(forecaster: Forecaster, data: ProcessedData, origins: Indices) -> Floats:
    """Forecast each row in ``origins`` (k,) from the rows before it; returns (k, targets) in original units."""
    return forecaster.forecast(data.frame, origins)[:, 0]


def forecast_steps(forecaster: Forecaster, data: ProcessedData, start: int, steps: int) -> Forecast:
    """Forecast the rows [start, start + steps), which may lie in the data, behind its end, or across it.

    Blocks of ``output_seq_len`` steps begin at ``start``. A block is rolling while every row before it exists: all
    those are forecast at once from the cleaned rows before them. The blocks behind them are recursive: each sees the
    forecasts before it as the targets' values, the other measured columns held at their last value, and time
    features and lags computed from the continued timestamps and columns.

    Args:
        forecaster: The model.
        data: Rows to forecast from; must hold the forecaster's features.
        start: First row to forecast, ``input_seq_len <= start <= len(data)``.
        steps: How many, at least 1.

    Raises:
        BadInputError: ``start`` leaves no whole window before it, or lies behind the row that follows the data.
    """
    history, block, rows = forecaster.input_seq_len, forecaster.output_seq_len, len(data)
    if not history <= start <= rows:
        raise BadInputError(
            f"cannot forecast from row {start} of {rows}: the model needs {history} rows before the first step, "
            f"and all rows before it must exist"
        )
    origins = np.arange(start, start + steps, block, dtype=np.int64)
    rolling = origins[origins <= rows]
    blocks = np.empty((len(origins), block, len(forecaster.targets)))
    blocks[: len(rolling)] = forecaster.forecast(data.frame, rolling)
    if len(rolling) < len(origins):
        extension = _Extension(forecaster, data, until=start + steps)
        extension.append(blocks[len(rolling) - 1, rows - rolling[-1] :])
        for position in range(len(rolling), len(origins)):
            blocks[position] = extension.forecast()
            extension.append(blocks[position])

    row = np.arange(start, start + steps)
    origin_of_row = np.repeat(origins, block)[:steps]
    return Forecast(
        time=_times(data, start + steps)[start:],
        values=blocks.reshape(-1, blocks.shape[-1])[:steps],
        recursive=origin_of_row > rows,
        after_gap=_spans_gap(data.gap_before(), origin_of_row - history, row),
    )


class _Extension:
    """The last rows of the data and room for the rows behind them, filled block by block."""

    def __init__(self, forecaster: Forecaster, data: ProcessedData, until: int) -> None:
        lags = {name: lag for name in forecaster.features if (lag := parse_lag(name)) and lag[0] in data.frame.columns}
        reach = max([forecaster.history_rows, *(n for _, n in lags.values())])
        first = max(0, len(data) - reach)
        # Values known from the start are written at once; a lag of a held column is as good as known.
        time = _times(data, until + forecaster.output_seq_len)[first:]
        names = {*forecaster.features, *forecaster.targets, *(column for column, _ in lags.values())}
        columns = {name: _held(data.frame.columns[name][first:], len(time)) for name in sorted(names)}
        self._end = len(data) - first
        computed = time_features(time[self._end :])
        for name in names & set(TIME_FEATURES):
            columns[name][self._end :] = computed[name]
        self._forecaster = forecaster
        self._frame = Frame(time, columns)
        self._lags = lags
        self._fill_lags(self._end, len(time))

    def forecast(self) -> Floats:
        """Forecast the next block, (output_seq_len, targets)."""
        history = min(self._end, self._forecaster.history_rows)
        window = self._frame.rows(self._end - history, self._end + self._forecaster.output_seq_len)
        block: Floats = self._forecaster.forecast(window, np.array([history]))[0]
        return block

    def append(self, values: Floats) -> None:
        """Take forecasts (k, targets) as the next k rows."""
        start, stop = self._end, self._end + len(values)
        for name, column in zip(self._forecaster.targets, values.T, strict=True):
            self._frame.columns[name][start:stop] = column
        self._fill_lags(start, stop)
        self._end = stop

    def _fill_lags(self, start: int, stop: int) -> None:
        for name, (column, n) in self._lags.items():
            # Rows whose lag lies before the data keep the held value.
            known = max(start, n)
            if known < stop:
                self._frame.columns[name][known:stop] = self._frame.columns[column][known - n : stop - n]


def _held(values: Floats, length: int) -> Floats:
    """Return ``values`` continued to ``length`` by its last value."""
    return np.concatenate([values, np.full(length - len(values), values[-1])])


def _times(data: ProcessedData, stop: int) -> Times:
    """Return the timestamps of rows [0, stop), continued at the sampling interval."""
    time = data.frame.time
    interval = np.timedelta64(round(data.sampling_seconds * 1e6), "us")
    missing = np.arange(1, max(0, stop - len(time)) + 1)
    return np.concatenate([time, time[-1] + missing * interval])[:stop]


def _spans_gap(gap_before: NDArray[np.bool_], first: Indices, last: Indices) -> Flags:
    """Return (k,) flags: whether a gap lies anywhere between rows ``first`` and ``last``; none behind the data."""
    gaps = np.cumsum(gap_before)
    end = len(gaps) - 1
    return gaps[np.minimum(last, end)] > gaps[np.minimum(first, end)]
