"""Forecast batches: the steps of a forecast with measured values and metrics, as a message and a Parquet table."""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from flts.boundary.quantiles import parse_quantiles, quantile_text
from flts.contracts import ForecastBatch
from flts.datafiles.arrow import table_of
from flts.models.forecasting import Forecast
from flts.models.intervals import Bounds
from flts.timeseries.arrays import Floats
from flts.timeseries.metrics import score

ROLLING, RECURSIVE = "rolling", "recursive"

_SCHEMA = pa.schema(
    [
        ("ts", pa.timestamp("us")),
        ("step", pa.int64()),
        ("mode", pa.string()),
        ("target", pa.string()),
        ("prediction", pa.float64()),
        ("lower", pa.float64()),
        ("upper", pa.float64()),
        ("actual", pa.float64()),
        ("after_gap", pa.bool_()),
    ]
)


def prediction_hash(values: Floats) -> str:
    """Return the first 16 hex digits of the SHA-256 over forecasts (steps, targets) as little-endian float64."""
    return hashlib.sha256(np.ascontiguousarray(values, dtype="<f8").tobytes()).hexdigest()[:16]


def scored_actual(forecast: Forecast, actual: Floats) -> Floats:
    """Return ``actual`` (steps, targets) with NaN for the steps after a gap, which are not scored."""
    return np.where(forecast.after_gap[:, None], np.nan, actual)


def step_maes(forecast: Forecast, actual: Floats) -> list[tuple[int, float]]:
    """Return (step, mean absolute error over the targets) of every step that can be scored; the first step is 1."""
    errors = np.abs(forecast.values - scored_actual(forecast, actual))
    known = ~np.isnan(errors)
    steps = np.flatnonzero(known.any(axis=1))
    return [(int(step) + 1, float(errors[step][known[step]].mean())) for step in steps]


def batch_metrics(forecast: Forecast, actual: Floats, targets: Sequence[str]) -> dict[str, Any]:
    """Return the metrics of a forecast in original units; those that cannot be scored are left out.

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


def batch_samples(
    forecast: Forecast, actual: Floats, targets: Sequence[str], bounds: Bounds | None = None
) -> list[dict[str, Any]]:
    """Return one entry per step: ``step`` (from 1), ``ts``, ``pred``, ``actual`` (or ``None``), ``abs_err``, ``mode``.

    ``lower`` and ``upper`` bound the interval around ``pred``; they are ``None`` where the model has none. ``abs_err``
    leaves out values that are not scored: those not measured, and those of steps after a gap (``after_gap``).
    Where ``bounds`` has quantiles, so has each entry: ``quantiles``, by quantile and target.
    """
    moments = forecast.time.astype("datetime64[us]").tolist()
    predicted, measured = _by_target(forecast.values, targets), _by_target(actual, targets)
    lower = _by_target(bounds.lower, targets) if bounds else [None] * len(predicted)
    upper = _by_target(bounds.upper, targets) if bounds else [None] * len(predicted)
    quantiles = (
        {quantile_text(q): _by_target(values, targets) for q, values in bounds.quantiles.items()} if bounds else {}
    )
    samples = []
    for step in range(len(predicted)):
        known = {name: value for name, value in measured[step].items() if not np.isnan(value)}
        after_gap = bool(forecast.after_gap[step])
        errors = {} if after_gap else {name: abs(predicted[step][name] - value) for name, value in known.items()}
        samples.append(
            {
                "step": step + 1,
                "ts": f"{moments[step].isoformat()}Z",
                "pred": predicted[step],
                "lower": lower[step],
                "upper": upper[step],
                **({"quantiles": {q: values[step] for q, values in quantiles.items()}} if quantiles else {}),
                "actual": {name: known.get(name) for name in targets} if known else None,
                "abs_err": errors,
                "mode": RECURSIVE if forecast.recursive[step] else ROLLING,
                "after_gap": after_gap,
            }
        )
    return samples


def _by_target(values: Floats, targets: Sequence[str]) -> list[dict[str, float]]:
    return [dict(zip(targets, row, strict=True)) for row in values.tolist()]


def predictions_parquet(batch: ForecastBatch) -> bytes:
    """Return the Parquet file of a batch: one row per step and target; the same batch gives the same bytes.

    Quantiles that were asked for are columns such as ``q0.05``; null where the model has none.
    """
    quantiles = [quantile_text(quantile) for quantile in parse_quantiles(batch.quantiles)]
    rows = [
        {
            "ts": datetime.fromisoformat(sample["ts"]).replace(tzinfo=None),
            "step": sample["step"],
            "mode": sample["mode"],
            "target": target,
            "prediction": prediction,
            "lower": (sample.get("lower") or {}).get(target),
            "upper": (sample.get("upper") or {}).get(target),
            "actual": (sample["actual"] or {}).get(target),
            "after_gap": sample["after_gap"],
            **{f"q{q}": sample.get("quantiles", {}).get(q, {}).get(target) for q in quantiles},
        }
        for sample in batch.samples
        for target, prediction in sample["pred"].items()
    ]
    sink = pa.BufferOutputStream()
    schema = pa.schema([*_SCHEMA, *((f"q{quantile}", pa.float64()) for quantile in quantiles)])
    pq.write_table(table_of(rows, schema), sink)
    return bytes(sink.getvalue())
