"""Small processed data made from plain lists, and a Prophet whose forecasts can be worked out by hand."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flts.timeseries.frame import Frame, Parts
from flts.timeseries.processed import ProcessedData
from flts.timeseries.scaling import Scaler, ScalerKind


def processed(
    columns: Mapping[str, Sequence[float]],
    *,
    targets: Sequence[str] = ("y",),
    actual: Mapping[str, Sequence[float]] | None = None,
    minutes: Sequence[float] | None = None,
    every: float = 60.0,
    start: str = "2024-01-01",
    scaler: ScalerKind = "MinMaxScaler",
) -> ProcessedData:
    """Return processed data with a row every ``every`` minutes, or at the given minutes after ``start``.

    ``actual`` holds measured values where they differ from the columns; NaN: not measured.
    """
    values = {name: np.array(column, dtype=float) for name, column in columns.items()}
    rows = len(next(iter(values.values())))
    after = np.array(minutes if minutes is not None else np.arange(rows) * every) * 60e6
    parts = Parts.of(rows)
    measured = {name: np.array((actual or {}).get(name, values[name]), dtype=float) for name in targets}
    return ProcessedData(
        frame=Frame(np.datetime64(start, "us") + after.astype("timedelta64[us]"), values),
        actual=measured,
        targets=tuple(targets),
        scaler=Scaler.fit(scaler, {name: column[: parts.fit_end] for name, column in values.items()}),
        parts=parts,
        sampling_seconds=every * 60,
        config_hash="0" * 64,
        config_json='{"scaler":"MinMaxScaler"}',
    )


def prophet_line(slope: float, level: float) -> dict[str, Any]:
    """Prophet's JSON, as far as it is read, of a trend that grows by ``slope`` an hour from ``level`` in 2024."""
    return {
        "growth": "linear",
        "start": 1704067200.0,  # 2024-01-01
        "t_scale": 3600.0,
        "y_scale": 1.0,
        "changepoints_t": [0.0],
        "seasonalities": [[], {}],
        "country_holidays": None,
        "params": {"k": [[slope]], "m": [[level]], "delta": [[0.0]], "beta": [[0.0]]},
    }
