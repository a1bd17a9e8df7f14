"""Forecast errors, in original units and in min-max units of the fit part."""

from dataclasses import dataclass

import numpy as np

from flts.contracts import composite_score
from flts.timeseries.arrays import Floats
from flts.timeseries.processed import ProcessedData


@dataclass(frozen=True)
class Scores:
    """Errors over all values; NaN where nothing could be scored.

    Attributes:
        rmse: Root of the mean squared error.
        mae: Mean absolute error.
        mse: Mean squared error.
        mase: Mean absolute scaled error; see ``score``. This and the next two are NaN where they were not asked for.
        smape: Symmetric mean absolute percentage error, from 0 to 2.
        nrmse: RMSE as a share of the mean of the absolute measured values.
    """

    rmse: float
    mae: float
    mse: float
    mase: float = np.nan
    smape: float = np.nan
    nrmse: float = np.nan

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


def score(actual: Floats, predicted: Floats, *, unit: Floats | float = 1.0, naive_mae: Floats | None = None) -> Scores:
    """Compare forecasts (.., targets) with measured values of the same shape.

    Args:
        actual: Measured values; NaN where nothing was measured, which is not scored.
        predicted: Forecasts; a NaN forecast of a measured value makes every score NaN.
        unit: Width (targets,) that errors are divided by; see ``target_range``.
        naive_mae: (targets,) the unit of MASE, see ``one_step_naive_mae``; if given, MASE, sMAPE and NRMSE are computed
            too, whatever ``unit`` is.
    """
    error = ((predicted - actual) / unit)[~np.isnan(actual)]
    if error.size == 0:
        return Scores(np.nan, np.nan, np.nan)
    mse = float(np.mean(error**2))
    relative = () if naive_mae is None else _relative_scores(actual, predicted, naive_mae)
    return Scores(float(np.sqrt(mse)), float(np.mean(np.abs(error))), mse, *relative)


def _relative_scores(actual: Floats, predicted: Floats, naive_mae: Floats) -> tuple[float, float, float]:
    """Return MASE, sMAPE and NRMSE of at least one measured value.

    MASE: Hyndman and Koehler (2006), Another look at measures of forecast accuracy. sMAPE: Makridakis et al. (2020),
    The M4 competition, as a share and not in percent; a value of zero that was forecast to be zero has no error. NRMSE:
    Alexandrov et al. (2020), GluonTS; of several targets, each error counts as a share of its own target's mean. A
    target whose unit is zero does not count.
    """
    known = ~np.isnan(actual)
    error = np.where(known, predicted - actual, 0.0)
    magnitude = np.where(known, np.abs(predicted) + np.abs(actual), 0.0)
    shares = np.divide(2 * np.abs(error), magnitude, out=np.zeros_like(error), where=magnitude != 0)

    def mean(errors: Floats, unit: Floats) -> float:
        counted = known & (unit > 0)
        return float(np.mean(np.broadcast_to(errors, known.shape)[counted])) if counted.any() else np.nan

    values = known.reshape(-1, known.shape[-1]).sum(axis=0)
    total = np.where(known, np.abs(actual), 0.0).reshape(-1, known.shape[-1]).sum(axis=0)
    level = total / np.maximum(values, 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        mase = mean(np.abs(error) / naive_mae, naive_mae)
        nrmse = np.sqrt(mean((error / level) ** 2, level))
    return mase, float(np.mean(shares[known])), float(nrmse)


def one_step_naive_mae(data: ProcessedData) -> Floats:
    """Return (targets,) the mean absolute difference of successive measured values in the fit part, without gaps.

    The unit of MASE with a season of one row: a model of MASE 1 errs as much as persistence did there. Zero where the
    target is constant, or no two successive values were measured.
    """
    end = data.parts.fit_end
    change = np.abs(np.diff(data.actual_matrix()[:end], axis=0))
    counted = ~np.isnan(change) & ~data.gap_before()[1:end, None]
    mean: Floats = np.where(counted, change, 0.0).sum(axis=0) / np.maximum(counted.sum(axis=0), 1)
    return mean


def target_range(data: ProcessedData) -> Floats:
    """Return (targets,) the width of the measured targets on the fit part: the unit of reported scores.

    A constant target has width 1.
    """
    fit = data.actual_matrix()[: data.parts.fit_end]
    width = np.nanmax(fit, axis=0) - np.nanmin(fit, axis=0)
    return np.where(width > 0, width, 1.0)
