"""Baselines that a model must beat: persistence, seasonal-naive, exponentially smoothed and linear forecasts.

Each takes the rows to forecast (origins) and returns (k, targets) in original units.
"""

from dataclasses import dataclass
from itertools import islice
from typing import Self

import numpy as np

from flts.models.fitted_baselines import LARGEST_LINEAR, FittedBaselines
from flts.models.linear_baseline import LinearBaseline
from flts.params import TrainParams
from flts.timeseries.arrays import Floats, Indices
from flts.timeseries.baseline import Baseline
from flts.timeseries.metrics import one_step_naive_mae
from flts.timeseries.processed import ProcessedData

ONE_DAY = np.timedelta64(1, "D")
# Of equal ones the first is chosen: 1 is persistence.
SMOOTHING_WEIGHTS = np.arange(100, 0, -1) / 100
# It is chosen by the last rows of the fit part, at most so many: they take three seconds.
SMOOTHING_ROWS = 100_000


def persistence(data: ProcessedData, origins: Indices) -> Floats:
    """Forecast the last value: the measured one, or the cleaned one where nothing was measured.

    Args:
        data: Rows with the targets.
        origins: (k,) rows to forecast, each at least 1.
    """
    return _known_values(data, origins - 1)


def seasonal_naive(data: ProcessedData, origins: Indices) -> Floats:
    """Forecast the value measured exactly one day earlier; persistence where nothing was measured then.

    Args:
        data: Rows with the targets.
        origins: (k,) rows to forecast, from 1 to the last row.
    """
    return seasonal_naive_ahead(data, origins, origins[:, None])[:, 0]


def seasonal_naive_ahead(data: ProcessedData, origins: Indices, rows: Indices) -> Floats:
    """Forecast rows from origins on: the value as many whole days before as are needed to lie before the origin.

    Persistence where nothing was measured at exactly that time.

    Args:
        data: Rows with the targets.
        origins: (k,) rows that forecasts begin at, from 1 to the last row.
        rows: (k, steps) rows to forecast, each from its origin to the last row.

    Returns:
        (k, steps, targets).
    """
    time = data.frame.time
    days = (time[rows] - time[origins][:, None]) // ONE_DAY + 1
    earlier = time[rows] - days * ONE_DAY
    row = np.searchsorted(time, earlier)  # below the origin, hence a row that exists
    measured = data.actual_matrix()[row]
    known = (time[row] == earlier)[:, :, None] & ~np.isnan(measured)
    return np.where(known, measured, persistence(data, origins)[:, None])


def smoothing_weights(data: ProcessedData) -> Floats:
    """Choose (targets,) the weight of ``exponential_smoothing`` with the least squared one-step errors in the fit part.

    Source: Hyndman and Athanasopoulos, Forecasting: principles and practice, 3rd edition, section 8.1; here the first
    value after a gap is the first level, and the weight is one of ``SMOOTHING_WEIGHTS``.
    """
    end = data.parts.fit_end
    rows = np.arange(max(0, end - SMOOTHING_ROWS), end)
    values, first = _known_values(data, rows), data.gap_before()[rows]
    errors = np.zeros((len(SMOOTHING_WEIGHTS), len(data.targets)))
    weight = SMOOTHING_WEIGHTS[:, None]
    level = np.broadcast_to(values[0], errors.shape)
    measured = ~np.isnan(data.actual_matrix()[rows])
    for value, begins, counts in islice(zip(values, first, measured, strict=True), 1, None):
        if begins:
            level = np.broadcast_to(value, errors.shape)
            continue
        errors += np.where(counts, (value - level) ** 2, 0.0)
        level = weight * value + (1 - weight) * level
    chosen: Floats = SMOOTHING_WEIGHTS[errors.argmin(axis=0)]
    return chosen


def exponential_smoothing(data: ProcessedData, weights: Floats, origins: Indices) -> Floats:
    """Forecast the level of the rows since the last gap: ``level = weight * value + (1 - weight) * level before``.

    Args:
        data: Rows with the targets. A value is the measured one, or the cleaned one where nothing was measured.
        weights: (targets,) see ``smoothing_weights``.
        origins: (k,) rows to forecast, each at least 1.
    """
    values, first = _known_values(data, np.arange(len(data))), data.gap_before().tolist()
    levels = np.empty_like(values)
    for column, weight in enumerate(weights.tolist()):
        level, smoothed = float(values[0, column]), []
        for value, begins in zip(values[:, column].tolist(), first, strict=True):
            level = value if begins else weight * value + (1 - weight) * level
            smoothed.append(level)
        levels[:, column] = smoothed
    return levels[origins - 1]


def _known_values(data: ProcessedData, rows: Indices) -> Floats:
    """Return (rows, targets) the measured values, the cleaned ones where nothing was measured."""
    measured = data.actual_matrix()[rows]
    return np.where(np.isnan(measured), data.frame.matrix(data.targets)[rows], measured)


@dataclass(frozen=True)
class LearnedBaselines:
    """Baselines with all that they learn from training data: on the fit part, the ridge's strength on validation.

    Attributes:
        naive_mae: (targets,) the unit of MASE; see ``one_step_naive_mae``.
        smoothing: (targets,) weights of ``exponential_smoothing``.
        linear: The ridge; ``None`` where a bundle does not keep it.
    """

    naive_mae: Floats
    smoothing: Floats
    linear: LinearBaseline | None

    @classmethod
    def learn(cls, data: ProcessedData, params: TrainParams) -> Self:
        """Learn all of them; errors as ``LinearBaseline.learn``."""
        return cls(one_step_naive_mae(data), smoothing_weights(data), LinearBaseline.learn(data, params))

    def forecasts(self, data: ProcessedData, origins: Indices, history: int) -> dict[str, Floats]:
        """Forecast (k,) rows with every baseline that the data is enough for.

        Args:
            data: Rows with the targets.
            origins: Rows to forecast, each with ``history`` rows before it and no gap among them.
            history: At least 1.
        """
        made: dict[str, Floats] = {
            Baseline.PERSISTENCE: persistence(data, origins),
            Baseline.SEASONAL_NAIVE: seasonal_naive(data, origins),
            Baseline.EXPONENTIAL_SMOOTHING: exponential_smoothing(data, self.smoothing, origins),
        }
        linear = self.linear
        if linear and linear.history <= history and set(linear.features) <= set(data.features):
            made[Baseline.LINEAR] = linear.forecast(data, origins)
        return made

    @classmethod
    def of(cls, fitted: FittedBaselines, targets: tuple[str, ...]) -> Self:
        """Restore them from their JSON form; ``KeyError`` where it is of other targets."""
        return cls(
            np.array([fitted.naive_mae[name] for name in targets]),
            np.array([fitted.smoothing[name] for name in targets]),
            LinearBaseline.of(fitted.linear, targets) if fitted.linear else None,
        )

    def fitted(self, targets: tuple[str, ...]) -> FittedBaselines:
        """Return the JSON form, without a linear baseline that is too large to keep."""
        kept = self.linear if self.linear and self.linear.weights.size <= LARGEST_LINEAR else None
        return FittedBaselines(
            naive_mae=dict(zip(targets, self.naive_mae.tolist(), strict=True)),
            smoothing=dict(zip(targets, self.smoothing.tolist(), strict=True)),
            linear=kept.fitted(targets) if kept else None,
        )
