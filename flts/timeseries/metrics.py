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
