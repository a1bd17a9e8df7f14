"""A forecast as a message: its steps beside what was measured, and its metrics; and as a Parquet table."""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from flts.contracts import ForecastBatch
from flts.models.forecasting import Forecast
from flts.timeseries.arrays import Floats
from flts.timeseries.arrow import table_of
from flts.timeseries.metrics import score

ROLLING, RECURSIVE = "rolling", "recursive"

_SCHEMA = pa.schema(
    [
        ("ts", pa.timestamp("us")),
        ("step", pa.int64()),
        ("mode", pa.string()),
        ("target", pa.string()),
        ("prediction", pa.float64()),
        ("actual", pa.float64()),
        ("after_gap", pa.bool_()),
    ]
)


def prediction_hash(values: Floats) -> str:
    """Return the first 16 hex digits of the SHA-256 over forecasts (steps, targets) as little-endian float64."""
    return hashlib.sha256(np.ascontiguousarray(values, dtype="<f8").tobytes()).hexdigest()[:16]


def scored_actual(forecast: Forecast, actual: Floats) -> Floats:
    """Return ``actual`` (steps, targets) with NaN for the steps behind a gap, which are not scored."""
    return np.where(forecast.after_gap[:, None], np.nan, actual)


def step_maes(forecast: Forecast, actual: Floats) -> list[tuple[int, float]]:
    """Return (step, mean absolute error over the targets) of every step that can be scored; the first step is 1."""
    errors = np.abs(forecast.values - scored_actual(forecast, actual))
    known = ~np.isnan(errors)
    steps = np.flatnonzero(known.any(axis=1))
    return [(int(step) + 1, float(errors[step][known[step]].mean())) for step in steps]


def batch_metrics(forecast: Forecast, actual: Floats, targets: Sequence[str]) -> dict[str, Any]:
    """Return the metrics of a forecast in original units; what cannot be scored is left out.

    ``overlap_rows`` counts the scored steps; ``rmse``, ``mae_mean`` and ``mse_mean`` are over all scored values,
    ``mae`` and ``mse`` by target, ``step_mae`` by step.

    Args:
        forecast: The forecast of n steps.
        actual: (n, targets) measured values, NaN where there are none.
        targets: Their names.
    """
    measured = scored_actual(forecast, actual)
    columns = {
        name: score(measured[:, column], forecast.values[:, column])
        for column, name in enumerate(targets)
        if not np.isnan(measured[:, column]).all()
    }
    overall = score(measured, forecast.values)
    return {
        "overlap_rows": int((~np.isnan(measured)).any(axis=1).sum()),
        **({"mae_mean": overall.mae, "mse_mean": overall.mse, "rmse": overall.rmse} if columns else {}),
        "mae": {name: scores.mae for name, scores in columns.items()},
        "mse": {name: scores.mse for name, scores in columns.items()},
        "step_mae": [{"step": step, "mae": mae} for step, mae in step_maes(forecast, actual)],
        "prediction_hash": prediction_hash(forecast.values),
        "rows_predicted": len(forecast.time),
    }


def batch_samples(forecast: Forecast, actual: Floats, targets: Sequence[str]) -> list[dict[str, Any]]:
    """Return one entry per step: ``step`` (from 1), ``ts``, ``pred``, ``actual`` (or ``None``), ``abs_err``, ``mode``.

    ``abs_err`` leaves out what is not scored: values that were not measured, and steps behind a gap, which
    ``after_gap`` marks.
    """
    return [
        _sample(step, moment, dict(zip(targets, row, strict=True)), dict(zip(targets, known, strict=True)), *flags)
        for step, (moment, row, known, *flags) in enumerate(
            zip(
                forecast.time.astype("datetime64[us]").tolist(),
                forecast.values.tolist(),
                actual.tolist(),
                forecast.recursive.tolist(),
                forecast.after_gap.tolist(),
                strict=True,
            ),
            start=1,
        )
    ]


def _sample(
    step: int,
    moment: datetime,
    predicted: dict[str, float],
    actual: dict[str, float],
    recursive: bool,
    after_gap: bool,
) -> dict[str, Any]:
    known = {name: value for name, value in actual.items() if not np.isnan(value)}
    return {
        "step": step,
        "ts": f"{moment.isoformat()}Z",
        "pred": predicted,
        "actual": {name: known.get(name) for name in actual} if known else None,
        "abs_err": {} if after_gap else {name: abs(predicted[name] - value) for name, value in known.items()},
        "mode": RECURSIVE if recursive else ROLLING,
        "after_gap": after_gap,
    }


def predictions_parquet(batch: ForecastBatch) -> bytes:
    """Return the Parquet file of a batch: one row per step and target; the same batch gives the same bytes."""
    rows = [
        {
            "ts": datetime.fromisoformat(sample["ts"]).replace(tzinfo=None),
            "step": sample["step"],
            "mode": sample["mode"],
            "target": target,
            "prediction": prediction,
            "actual": (sample["actual"] or {}).get(target),
            "after_gap": sample["after_gap"],
        }
        for sample in batch.samples
        for target, prediction in sample["pred"].items()
    ]
    sink = pa.BufferOutputStream()
    pq.write_table(table_of(rows, _SCHEMA), sink)
    return bytes(sink.getvalue())
