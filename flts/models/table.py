"""Forecasts with pandas: a table of raw history in, a table of forecasts out."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from flts.boundary.quantiles import parse_quantiles
from flts.errors import BadInputError
from flts.models.bundle import Bundle
from flts.models.history import check_history, forecast_history, measured_columns, process_history
from flts.timeseries.arrays import Floats, Times
from flts.timeseries.frame import TIME_COLUMN

if TYPE_CHECKING:
    import pandas as pd


def forecast_table(
    bundle: Bundle, history: "pd.DataFrame", steps: int, quantiles: str | Sequence[float] = ()
) -> "pd.DataFrame":
    """Forecast the steps that follow a history.

    Args:
        bundle: The model.
        history: ``time`` (timestamps or ISO 8601 text, ascending) and the measured columns that the model sees,
            including its targets, in original units without missing values. Time features and lags are computed; other
            columns are ignored.
        steps: Number of steps to forecast.
        quantiles: Quantiles to forecast as well, as text or numbers: ``"0.05,0.5,0.95"``. Bounds then are the quantiles
            that ``interval_level`` of the training names.

    Returns:
        ``time``, one column per target, and ``<target>_lower`` and ``<target>_upper`` where the model has intervals;
        for each quantile ``<target>_q0.05``; one row per step, in original units.

    Raises:
        BadInputError: A column is missing or holds something else, there are too few rows, ``steps`` is not a whole
            number from 1 on, or the model has no such quantiles.
    """
    import pandas as pd

    if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or steps < 1:
        raise BadInputError(f"steps must be a whole number from 1 on, not {steps!r}")
    try:
        levels = parse_quantiles(quantiles)
    except ValueError as error:
        raise BadInputError(f"quantiles {error}") from None
    check_history(bundle.config, history.columns, len(history))
    numbers = {name: _numbers(history, name) for name in measured_columns(bundle.config)}
    data = process_history(bundle, _times(history), numbers)
    forecast, bounds = forecast_history(bundle, data, int(steps), levels)
    columns = dict(zip(data.targets, forecast.values.T, strict=True))
    if bounds:
        columns |= bounds.columns(data.targets)
    return pd.DataFrame({TIME_COLUMN: forecast.time, **columns})


def _times(history: "pd.DataFrame") -> Times:
    """Return the timestamps in UTC without zone."""
    import pandas as pd

    parsed = pd.to_datetime(history[TIME_COLUMN], utc=True, errors="coerce", format="ISO8601")
    if parsed.isna().any():
        row = int(np.argmax(parsed.isna()))
        raise BadInputError(
            f"row {row} of the history has no timestamp in column 'time': {str(history[TIME_COLUMN].iloc[row])!r}"
        )
    time: Times = parsed.dt.tz_localize(None).to_numpy(dtype="datetime64[us]")
    return time


def _numbers(history: "pd.DataFrame", name: str) -> Floats:
    import pandas as pd

    values: Floats = pd.to_numeric(history[name], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    if not np.isfinite(values).all():
        row = int(np.argmin(np.isfinite(values)))
        raise BadInputError(
            f"row {row} of the history has no number in column {name!r}: {str(history[name].iloc[row])!r}; fill "
            f"missing values first"
        )
    return values
