"""Forecast errors, in original units and in min-max units of the fit part."""

from dataclasses import dataclass

import numpy as np

from flts.contracts import composite_score
from flts.timeseries.arrays import Floats
from flts.timeseries.processed import ProcessedData


@dataclass(frozen=True)
class Scores:
    """RMSE, MAE and MSE over all values; NaN where nothing could be scored."""

    rmse: float
    mae: float
    mse: float

    @property
    def composite(self) -> float:
        """Composite score ``0.5 rmse + 0.3 mae + 0.2 mse``."""
        return composite_score(self.rmse, self.mae, self.mse)


@dataclass(frozen=True)
class HorizonScores:
    """RMSE of forecasts ``horizon`` steps ahead, in original units, and that of the naive forecasts of the same values.

    Attributes:
        horizon: Steps ahead; 1 is the row that follows the last one known.
        recursive: True for forecasts from the model's own forecasts, false for direct ones.
        rows: Number of rows that were scored.
        rmse: RMSE of the model.
        persistence_rmse: RMSE of the last measured value.
        seasonal_naive_rmse: RMSE of the value one or more whole days earlier.
    """

    horizon: int
    recursive: bool
    rows: int
    rmse: float
    persistence_rmse: float
    seasonal_naive_rmse: float

    @property
    def skill_over_persistence(self) -> float:
        """See ``skill``."""
        return skill(self.rmse, self.persistence_rmse)

    @property
    def skill_over_seasonal_naive(self) -> float:
        """See ``skill``."""
        return skill(self.rmse, self.seasonal_naive_rmse)


def skill(rmse: float, reference: float) -> float:
    """Return ``1 - rmse / reference``: 1 is perfect, 0 no better than the reference; NaN where its error is zero.

    Source: the skill score of Murphy (1988), with RMSE in place of MSE.
    """
    return 1 - rmse / reference if reference else np.nan


def score(actual: Floats, predicted: Floats, *, unit: Floats | float = 1.0) -> Scores:
    """Compare forecasts (.., targets) with measured values of the same shape.

    Args:
        actual: Measured values; NaN where nothing was measured, which is not scored.
        predicted: Forecasts; a NaN forecast of a measured value makes every score NaN.
        unit: Width (targets,) that errors are divided by; see ``target_range``.
    """
    error = ((predicted - actual) / unit)[~np.isnan(actual)]
    if error.size == 0:
        return Scores(np.nan, np.nan, np.nan)
    mse = float(np.mean(error**2))
    return Scores(rmse=float(np.sqrt(mse)), mae=float(np.mean(np.abs(error))), mse=mse)


def target_range(data: ProcessedData) -> Floats:
    """Return (targets,) the width of the measured targets on the fit part: the unit of reported scores.

    A constant target has width 1.
    """
    fit = data.actual_matrix()[: data.parts.fit_end]
    width = np.nanmax(fit, axis=0) - np.nanmin(fit, axis=0)
    return np.where(width > 0, width, 1.0)
