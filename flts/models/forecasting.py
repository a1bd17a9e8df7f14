"""Forecasts of any length from a model that forecasts fixed blocks: rolling over actual rows, then recursive."""

from dataclasses import dataclass

import numpy as np

from flts.errors import BadInputError
from flts.models.base import Forecaster
from flts.models.rollout import Rollout, sampling_interval
from flts.timeseries.arrays import Flags, Floats, Indices, Times
from flts.timeseries.processed import ProcessedData
from flts.timeseries.windows import spans_gap


@dataclass(frozen=True)
class Forecast:
    """Consecutive forecast steps, in original units.

    Attributes:
        time: (n,) time of each step; continued at the sampling interval after the last row.
        values: (n, targets) forecasts.
        recursive: (n,) whether a step was forecast from earlier forecasts; else from actual rows alone.
        origin: (n,) the row from which a step was forecast: every row before it was known.
        ahead: (n,) steps ahead of the last known row; 1 is the row ``origin`` itself.
        after_gap: (n,) whether a gap in time lies in the step's window or between the window and the step: such a
            step is forecast, but it is not scored.
    """

    time: Times
    values: Floats
    recursive: Flags
    origin: Indices
    ahead: Indices
    after_gap: Flags


def one_step(forecaster: Forecaster, data: ProcessedData, origins: Indices) -> Floats:
    """Forecast each row in ``origins`` (k,) from the rows before it; returns (k, targets) in original units."""
    return forecaster.forecast(data.frame, origins)[:, 0]


def forecast_steps(forecaster: Forecaster, data: ProcessedData, start: int, steps: int) -> Forecast:
    """Forecast the rows [start, start + steps), which may lie in the data, after its end, or across it.

    Blocks of ``output_seq_len`` steps begin at ``start``. A block is rolling while every row before it exists: all
    those are forecast at once from the cleaned rows before them. The blocks after them are recursive: each sees the
    forecasts before it as the targets' values, the other measured columns held at their last value, and time
    features and lags computed from the continued timestamps and columns.

    Args:
        forecaster: The model.
        data: Rows to forecast from; must hold the forecaster's features.
        start: First row to forecast, ``input_seq_len <= start <= len(data)``.
        steps: Number of rows to forecast, at least 1.

    Raises:
        BadInputError: ``start`` leaves no whole window before it, or lies beyond the row that follows the data.
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
        rollout = Rollout(forecaster, data, np.array([rows]), steps=start + steps + block - rows)
        rollout.append(blocks[len(rolling) - 1 : len(rolling), rows - rolling[-1] :])
        for position in range(len(rolling), len(origins)):
            [blocks[position]] = rollout.forecast()
            rollout.append(blocks[position : position + 1])

    row = np.arange(start, start + steps)
    origin_of_row = np.repeat(origins, block)[:steps]
    known = np.minimum(origin_of_row, rows)
    return Forecast(
        time=_times(data, start + steps)[start:],
        values=blocks.reshape(-1, blocks.shape[-1])[:steps],
        recursive=origin_of_row > rows,
        origin=known,
        ahead=row - known + 1,
        after_gap=spans_gap(data.gap_before(), origin_of_row - history, row),
    )


def forecast_from(forecaster: Forecaster, data: ProcessedData, origins: Indices, steps: int) -> Floats:
    """Forecast ``steps`` rows from every origin, as ``forecast_steps`` does where the data ends before it.

    The first ``output_seq_len`` steps are direct, from the rows before the origin alone; the blocks after them are
    recursive. Each block is forecast for all origins at once.

    Args:
        forecaster: The model.
        data: Rows to forecast from; must hold the forecaster's features. Rows from an origin on are not seen.
        origins: (k,) rows with ``input_seq_len <= t <= len(data)``, at least one.
        steps: Number of rows to forecast, at least 1.

    Returns:
        (k, steps, targets) in original units.
    """
    block = forecaster.output_seq_len
    rollout = Rollout(forecaster, data, origins, steps=steps + block)
    blocks = []
    for _ in range(0, steps, block):
        blocks.append(rollout.forecast())
        rollout.append(blocks[-1])
    return np.concatenate(blocks, axis=1)[:, :steps]


def _times(data: ProcessedData, stop: int) -> Times:
    """Return the timestamps of rows [0, stop), continued at the sampling interval."""
    time = data.frame.time
    missing = np.arange(1, max(0, stop - len(time)) + 1)
    return np.concatenate([time, time[-1] + missing * sampling_interval(data)])[:stop]
