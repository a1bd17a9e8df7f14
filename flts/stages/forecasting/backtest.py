"""Backtest of a model: one-step forecasts over a whole file, compared with persistence."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flts.boundary.quantiles import quantile_text
from flts.models.base import Forecaster
from flts.models.baselines import persistence
from flts.models.forecasting import one_step
from flts.models.intervals import Bounds, CalibratedIntervals, Intervals
from flts.timeseries.arrays import Floats, Indices
from flts.timeseries.metrics import Scores, score, skill
from flts.timeseries.processed import ProcessedData
from flts.timeseries.quantile_scores import quantile_coverage, weighted_quantile_loss
from flts.timeseries.windows import forecast_origins


@dataclass(frozen=True)
class Backtest:
    """One-step forecasts of every row whose window spans no gap, in original units.

    Attributes:
        origins: (k,) the rows that were forecast.
        actual: (k, targets) measured values, NaN where nothing was measured.
        predicted: (k, targets) the model's forecasts.
        half_width: (k, targets) half the width of the intervals around them; NaN if the model has none.
        bounds: These intervals, and the quantiles that were asked for; NaN if the model has none.
        naive: (k, targets) the forecasts of persistence.
        scores: The model's errors.
        naive_scores: The errors of persistence on the same values.
    """

    origins: Indices
    actual: Floats
    predicted: Floats
    half_width: Floats
    bounds: Bounds
    naive: Floats
    scores: Scores
    naive_scores: Scores

    @property
    def rows(self) -> int:
        """Number of rows that could be scored."""
        return int((~np.isnan(self.actual)).any(axis=1).sum())

    @property
    def skill(self) -> float:
        """Skill over persistence; see ``flts.timeseries.metrics.skill``."""
        return skill(self.scores.rmse, self.naive_scores.rmse)

    @property
    def quantile_coverage(self) -> dict[float, float]:
        """Share of the measured values at or below each quantile; NaN where nothing was measured."""
        return quantile_coverage(self.actual, self.bounds.quantiles)

    @property
    def wql(self) -> float:
        """Weighted quantile loss; NaN without quantiles."""
        return weighted_quantile_loss(self.actual, self.bounds.quantiles)

    @property
    def coverage(self) -> float:
        """Share of the measured values inside the intervals; NaN where there are none."""
        known = ~np.isnan(self.actual) & ~np.isnan(self.half_width)
        inside = (np.abs(self.actual - self.predicted) <= self.half_width)[known]
        if self.bounds.quantiles:
            inside = ((self.bounds.lower <= self.actual) & (self.actual <= self.bounds.upper))[known]
        return float(inside.mean()) if inside.size else np.nan

    @property
    def interval_width(self) -> float:
        """Mean width of the intervals around the rows that are scored; NaN where there are none."""
        widths = self.bounds.upper - self.bounds.lower if self.bounds.quantiles else 2 * self.half_width
        widths = widths[~np.isnan(self.actual) & ~np.isnan(self.half_width)]
        return float(widths.mean()) if widths.size else np.nan

    def metrics(self) -> dict[str, float]:
        """Return ``backtest_*`` numbers by name; NaN where nothing could be scored."""
        quantiles = {f"backtest_coverage_q{quantile_text(q)}": share for q, share in self.quantile_coverage.items()}
        return {
            "backtest_rmse": self.scores.rmse,
            "backtest_mae": self.scores.mae,
            "backtest_mse": self.scores.mse,
            "backtest_persistence_rmse": self.naive_scores.rmse,
            "backtest_persistence_mae": self.naive_scores.mae,
            "backtest_persistence_mse": self.naive_scores.mse,
            "backtest_skill": self.skill,
            "backtest_rows": self.rows,
            "backtest_coverage": self.coverage,
            "backtest_interval_width": self.interval_width,
            **({"backtest_wql": self.wql, **quantiles} if quantiles else {}),
        }


def backtest(
    forecaster: Forecaster, data: ProcessedData, intervals: Intervals | None = None, quantiles: Sequence[float] = ()
) -> tuple[Backtest, CalibratedIntervals | None]:
    """Forecast every row from ``input_seq_len`` on one step ahead, from the cleaned rows before it.

    The interval around a forecast is recalibrated by the rows before it only.

    Args:
        forecaster: The model.
        data: Rows with the model's features and, as targets, its targets.
        intervals: The model's intervals.
        quantiles: Quantiles to forecast as well.

    Returns:
        The backtest, and the intervals recalibrated by it.
    """
    history = forecaster.input_seq_len
    origins = forecast_origins(data.gap_before(), history, len(data), history)
    actual = data.actual_matrix()[origins]
    # An empty batch has no shape that every model agrees on.
    predicted = one_step(forecaster, data, origins) if len(origins) else actual
    naive = persistence(data, origins)
    calibrated = intervals.calibrated(data, predicted, origins) if intervals else None
    ahead = np.ones_like(origins)
    half_width = calibrated.half_widths(origins, ahead) if calibrated else np.full_like(actual, np.nan)
    bounds = calibrated.around(predicted, origins, ahead, quantiles) if calibrated else Bounds(half_width, half_width)
    scores, naive_scores = score(actual, predicted), score(actual, naive)
    return Backtest(origins, actual, predicted, half_width, bounds, naive, scores, naive_scores), calibrated
