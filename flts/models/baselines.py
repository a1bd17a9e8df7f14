"""Baselines that a model must beat: persistence, seasonal-naive and linear forecasts.

Each takes the rows to forecast (origins) and returns (k, targets) in original units.
"""

from collections.abc import Iterator

import numpy as np

from flts.errors import BadInputError
from flts.models import ridge
from flts.params import TrainParams
from flts.timeseries.arrays import Floats, Indices
from flts.timeseries.metrics import score, target_range
from flts.timeseries.processed import ProcessedData
from flts.timeseries.scaling import standard_deviation
from flts.timeseries.windows import forecast_origins, window_rows

ALPHAS = tuple(10.0**exponent for exponent in range(4, -5, -1))
ONE_DAY = np.timedelta64(1, "D")
BATCH = 8192


def persistence(data: ProcessedData, origins: Indices) -> Floats:
    """Forecast the last value: the measured one, or the cleaned one where nothing was measured.

    Args:
        data: Rows with the targets.
        origins: (k,) rows to forecast, each at least 1.
    """
    last = origins - 1
    measured = data.actual_matrix()[last]
    return np.where(np.isnan(measured), data.frame.matrix(data.targets)[last], measured)


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


def linear(data: ProcessedData, params: TrainParams, origins: Indices) -> Floats:
    """Forecast by ridge regression on the windows that the recurrent models see.

    Closed form (Hoerl and Kennard, 1970): with centred windows ``X`` and targets ``y`` of the fit part, the weights
    are ``(X'X + alpha I)^-1 X'y``; the intercept is not penalised, and ``alpha`` is the one of ``ALPHAS`` with the
    lowest RMSE on the validation part. Every feature is standardised on the fit part, so that the forecast does not
    depend on the scaler that was chosen for the recurrent models.

    Args:
        data: Training rows.
        params: Gives the window length, ``input_seq_len``.
        origins: (k,) rows to forecast, each at least ``input_seq_len``.

    Raises:
        BadInputError: The fit part is shorter than one window and the row after it.
    """
    history, parts = params.input_seq_len, data.parts
    gaps = data.gap_before()
    fit = forecast_origins(gaps, 0, parts.fit_end, history)
    validation = forecast_origins(gaps, parts.fit_end, parts.validation_end, history)
    if not len(fit):
        raise BadInputError(
            f"the training data's fit part has {parts.fit_end} rows and no window without a gap in time; input_seq_len "
            f"{history} needs at least {history + 1} consecutive rows there"
        )
    features = _standardise(data.frame.matrix(data.learnable_features()), parts.fit_end)
    targets = data.frame.matrix(data.targets)
    centre, level = _mean_window(features, fit, history), targets[fit].mean(axis=0)

    gram = np.zeros((len(centre), len(centre)))
    moment = np.zeros((len(centre), len(level)))
    for rows, x in _windows(features, fit, centre, history):
        gram += x.T @ x
        moment += x.T @ (targets[rows] - level)
    weights = ridge.solve_centred(gram, moment, ALPHAS)

    def forecast(rows: Indices, alphas: Floats) -> Floats:
        """Forecast with weights (m, window, targets) to (m, len(rows), targets)."""
        blocks = [np.matmul(x, alphas) for _, x in _windows(features, rows, centre, history)]
        return np.concatenate(blocks, axis=1) + level if blocks else np.empty((len(alphas), 0, len(level)))

    actual, unit = data.actual_matrix()[validation], target_range(data)
    losses = [score(actual, trial, unit=unit).rmse for trial in forecast(validation, weights)]
    # Without a validation value every loss is NaN: the strongest penalty, the first, is then the safe choice.
    best = 0 if np.isnan(losses).all() else int(np.nanargmin(losses))
    chosen: Floats = forecast(origins, weights[best : best + 1])[0]
    return chosen


def _standardise(features: Floats, fit_end: int) -> Floats:
    fit = features[:fit_end]
    scaled: Floats = (features - fit.mean(axis=0)) / standard_deviation(fit)
    return scaled


def _mean_window(features: Floats, origins: Indices, history: int) -> Floats:
    """Return (history * features,) the mean of the flattened windows."""
    means: list[Floats] = [features[origins - lag].mean(axis=0) for lag in range(history, 0, -1)]
    return np.concatenate(means)


def _windows(features: Floats, origins: Indices, centre: Floats, history: int) -> Iterator[tuple[Indices, Floats]]:
    """Yield batches of origins and their flattened, centred windows (batch, history * features): bounded memory."""
    for start in range(0, len(origins), BATCH):
        rows = origins[start : start + BATCH]
        yield rows, features[window_rows(rows, history)].reshape(len(rows), -1) - centre
