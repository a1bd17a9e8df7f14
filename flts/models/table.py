"""Forecasts for people: a table of raw history in, a table of forecasts out, in pandas."""

from typing import TYPE_CHECKING

import numpy as np

from flts.errors import BadInputError
from flts.models.bundle import Bundle
from flts.models.config import BundleConfig
from flts.models.forecasting import forecast_steps
from flts.timeseries.arrays import Floats, Times
from flts.timeseries.features import TIME_FEATURES, parse_lag, time_features
from flts.timeseries.frame import TIME_COLUMN, Frame
from flts.timeseries.processed import ProcessedData

if TYPE_CHECKING:
    import pandas as pd


def forecast_table(bundle: Bundle, history: "pd.DataFrame", steps: int) -> "pd.DataFrame":
    """Forecast the steps that follow a history.

    Args:
        bundle: The model.
        history: ``time`` (timestamps or ISO 8601 text, ascending) and the measured columns that the model sees, its
            targets among them, in original units without missing values. Time features and lags are computed; other
            columns are ignored.
        steps: How many steps to forecast.

    Returns:
        ``time``, one column per target, and ``<target>_lower`` and ``<target>_upper`` where the model has intervals;
        one row per step, in original units.

    Raises:
        BadInputError: A column is missing or holds something else, there are too few rows, or ``steps`` is not a
            whole number from 1 on.
    """
    import pandas as pd

    if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or steps < 1:
        raise BadInputError(f"steps must be a whole number from 1 on, not {steps!r}")
    data = _processed(bundle, history)
    forecast = forecast_steps(bundle.forecaster, data, start=len(data), steps=int(steps))
    columns = dict(zip(data.targets, forecast.values.T, strict=True))
    if bundle.intervals:
        bounds = bundle.intervals.at_the_end(bundle.forecaster, data).around(forecast)
        for name, lower, upper in zip(data.targets, bounds.lower.T, bounds.upper.T, strict=True):
            bound = {f"{name}_lower": lower, f"{name}_upper": upper}
            columns |= {name: values for name, values in bound.items() if name not in data.targets}
    return pd.DataFrame({TIME_COLUMN: forecast.time, **columns})


def measured_columns(config: BundleConfig) -> list[str]:
    """Return the columns that a history must have beside ``time``: what the model sees and cannot be computed."""
    lags = _lags(config)
    return [name for name in config.features if name not in TIME_FEATURES and name not in lags]


def _lags(config: BundleConfig) -> dict[str, tuple[str, int]]:
    return {name: lag for name in config.features if (lag := parse_lag(name)) and lag[0] in config.features}


def _processed(bundle: Bundle, history: "pd.DataFrame") -> ProcessedData:
    """Compute the features of the history; rows whose lags lie before it are left out."""
    config = bundle.config
    lags, measured = _lags(config), measured_columns(config)
    if missing := [name for name in (TIME_COLUMN, *measured) if name not in history.columns]:
        raise BadInputError(f"the history has no column {', '.join(map(repr, missing))}: the model needs {measured}")
    reach = max((n for _, n in lags.values()), default=0)
    if len(history) < config.input_seq_len + reach:
        raise BadInputError(f"the history has {len(history)} rows; the model needs {config.input_seq_len + reach}")

    time = _times(history)
    columns = {name: _numbers(history, name) for name in measured}
    if any(name in TIME_FEATURES for name in config.features):
        columns |= time_features(time)
    for name, (column, n) in lags.items():
        columns[name] = np.concatenate([np.full(n, np.nan), columns[column][: len(time) - n]])
    frame = Frame(time, {name: columns[name] for name in config.features}).rows(reach, len(time))
    return ProcessedData(
        frame=frame,
        actual={name: frame.columns[name] for name in config.targets},
        targets=config.targets,
        scaler=bundle.scaler,
        parts=config.parts,
        sampling_seconds=config.sampling_seconds,
        config_hash=config.config_hash,
        config_json=config.preprocess_config,
    )


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
    if (late := np.diff(time) <= np.timedelta64(0)).any():
        raise BadInputError(f"row {int(np.argmax(late)) + 1} of the history is not later than the row before it")
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
