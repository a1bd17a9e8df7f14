"""Features of a raw history, and the forecast of the rows that follow it."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from flts.errors import BadInputError
from flts.models.bundle import Bundle
from flts.models.config import BundleConfig
from flts.models.forecasting import Forecast, forecast_steps
from flts.models.intervals import Bounds
from flts.timeseries.arrays import Floats, Times
from flts.timeseries.features import TIME_FEATURES, parse_lag, time_features
from flts.timeseries.frame import TIME_COLUMN, Frame
from flts.timeseries.processed import ProcessedData


def measured_columns(config: BundleConfig) -> list[str]:
    """Return the columns that a history must have besides its times: the measured ones that the model sees."""
    lags = _lags(config)
    return [name for name in config.features if name not in TIME_FEATURES and name not in lags]


def rows_needed(config: BundleConfig) -> int:
    """Return how many rows a history must have: a window, and the rows before it that lags reach back to."""
    return config.input_seq_len + _reach(config)


def check_history(config: BundleConfig, names: Collection[str], rows: int, time_column: str = TIME_COLUMN) -> None:
    """Make sure that a history has the columns that the model needs, and enough rows.

    Raises:
        BadInputError: It does not; the sentence names what is missing.
    """
    measured = measured_columns(config)
    if missing := [name for name in (time_column, *measured) if name not in names]:
        raise BadInputError(f"the history has no column {', '.join(map(repr, missing))}: the model needs {measured}")
    if rows < rows_needed(config):
        raise BadInputError(f"the history has {rows} rows; the model needs {rows_needed(config)}")


def process_history(bundle: Bundle, time: Times, columns: Mapping[str, Floats]) -> ProcessedData:
    """Compute the features of a history; rows whose lags lie before it are left out.

    Args:
        bundle: The model.
        time: (n,) timestamps, UTC; of at least ``rows_needed`` rows.
        columns: The ``measured_columns``, (n,) finite numbers each, in original units.

    Raises:
        BadInputError: A row is not later than the one before it.
    """
    config = bundle.config
    if (late := np.diff(time) <= np.timedelta64(0)).any():
        raise BadInputError(f"row {int(np.argmax(late)) + 1} of the history is not later than the row before it")
    seen = dict(columns)
    if any(name in TIME_FEATURES for name in config.features):
        seen |= time_features(time)
    for name, (column, n) in _lags(config).items():
        seen[name] = np.concatenate([np.full(n, np.nan), seen[column][: len(time) - n]])
    frame = Frame(time, {name: seen[name] for name in config.features}).rows(_reach(config), len(time))
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


def forecast_history(
    bundle: Bundle, data: ProcessedData, steps: int, quantiles: Sequence[float] = ()
) -> tuple[Forecast, Bounds | None]:
    """Forecast the ``steps`` that follow some data, with bounds and ``quantiles`` where the model has intervals.

    Raises:
        BadInputError: Quantiles are asked for, and it has none.
    """
    check_quantiles(bundle, quantiles)
    forecast = forecast_steps(bundle.forecaster, data, start=len(data), steps=steps)
    if bundle.intervals is None:
        return forecast, None
    return forecast, bundle.intervals.calibrated_on_recent(bundle.forecaster, data).bounds(forecast, quantiles)


def check_quantiles(bundle: Bundle, quantiles: Sequence[float]) -> None:
    """Make sure that a model can forecast quantiles, if some are asked for; else ``BadInputError``."""
    if quantiles and bundle.intervals is None:
        raise BadInputError(
            f"this {bundle.config.model_type} model has no intervals, and so no quantiles: train it again"
        )


def _lags(config: BundleConfig) -> dict[str, tuple[str, int]]:
    return {name: lag for name in config.features if (lag := parse_lag(name)) and lag[0] in config.features}


def _reach(config: BundleConfig) -> int:
    return max((n for _, n in _lags(config).values()), default=0)
