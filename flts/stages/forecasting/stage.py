"""The inference stage: forecasts with the promoted model, and backtests it on the whole test data."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flts.boundary.files import sha256_file
from flts.contracts import ForecastBatch, MetadataValue, canonical_json, flat_metadata, utc_timestamp
from flts.errors import BadInputError
from flts.models.forecasting import Forecast, forecast_steps
from flts.models.intervals import Bounds
from flts.params import InferenceParams
from flts.progress import Progress
from flts.report.data import ForecastReport
from flts.report.pages import forecast_page
from flts.stage_interface import Artifact, Context, Result
from flts.stages.forecasting.backtest import Backtest, backtest
from flts.stages.forecasting.batch import batch_metrics, batch_samples, predictions_parquet, step_maes
from flts.stages.forecasting.horizons import horizon_entries, longest_horizon, score_horizons
from flts.stages.forecasting.input import ForecastInput, read_input
from flts.stages.forecasting.log import PREDICTIONS_FILE, RESULTS_FILE, ForecastRequest, log_forecast
from flts.stages.scores import scores_artifact
from flts.timeseries.arrays import Floats
from flts.timeseries.metrics import HorizonScores

_SCORES = (
    *("mae", "rmse", "mse", "backtest_rmse", "backtest_mae", "backtest_mse", "backtest_persistence_rmse"),
    *("backtest_skill", "backtest_coverage", "backtest_interval_width"),
)


def run(params: InferenceParams, context: Context) -> Result:
    """Forecast ``inference_length`` steps, score those that were measured, and backtest the model.

    Raises:
        BadInputError: Data or model is missing or cannot be read, they do not fit each other, or the data is too short.
    """
    context.progress(0.0, "loading data and model")
    given = read_input(params, context)
    made = _forecast(params, given, context.progress)

    context.progress(0.8, "writing the forecast")
    request = ForecastRequest(
        run_id=given.selected.run_id,
        data_sha256=sha256_file(given.path),
        inference_length=params.inference_length,
        sample_idx=params.sample_idx,
    )
    batch, folder, cached = _batch(params, given, request, made), "", False
    if context.store:
        logged = log_forecast(context.store, params.inference_log_bucket, request, batch)
        batch, folder, cached = logged.batch, logged.folder, logged.repeated
    metrics = _metrics(batch, given, made)
    predictions = _predictions_metadata(batch, metrics)
    if folder:
        predictions |= {"log_bucket": params.inference_log_bucket, "log_object_key": f"{folder}{RESULTS_FILE}"}
    notes = (*given.notes, *_notes(batch, made))
    return Result(
        artifacts={
            "predictions": Artifact(batch.to_json(), predictions),
            "metrics": Artifact(f"{canonical_json(metrics)}\n", metrics),
            "scores": scores_artifact(metrics, _SCORES),
            "report": Artifact(forecast_page(_report(given, batch, made, notes))),
        },
        message=_closing(batch, made.backtest) + (f", in {params.inference_log_bucket}/{folder}" if folder else ""),
        files=_write_files(batch, context.work_dir) if context.output_dir else {},
        cached=cached,
        notes=notes,
    )


@dataclass(frozen=True)
class _Made:
    """A forecast of n steps, with what is known of it and of its model; ``actual`` is NaN where unknown."""

    forecast: Forecast
    bounds: Bounds | None
    actual: Floats
    backtest: Backtest
    horizons: Sequence[HorizonScores]


def _forecast(params: InferenceParams, given: ForecastInput, progress: Progress) -> _Made:
    progress(0.3, f"forecasting {params.inference_length} steps")
    forecast = forecast_steps(given.forecaster, given.data, given.start, params.inference_length)
    progress(0.5, f"backtesting on {len(given.data)} rows")
    backtested, calibrated = backtest(given.forecaster, given.data, given.intervals)
    steps = longest_horizon(params.inference_length)
    progress(0.6, f"backtesting 1 to {steps} steps ahead")
    horizons = score_horizons(given.forecaster, given.data, steps)
    bounds = calibrated.bounds(forecast) if calibrated else None
    _check_finite(given, forecast.values, backtested.predicted, *((bounds.lower, bounds.upper) if bounds else ()))
    return _Made(forecast, bounds, _measured(given, forecast), backtested, horizons)


def _measured(given: ForecastInput, forecast: Forecast) -> Floats:
    """Return (steps, targets) what was measured at the steps, NaN where nothing was or the data ends."""
    actual = np.full_like(forecast.values, np.nan)
    known = given.data.actual_matrix()[given.start : given.start + len(actual)]
    actual[: len(known)] = known
    return actual


def _check_finite(given: ForecastInput, *forecasts: Floats) -> None:
    if not all(np.isfinite(values).all() for values in forecasts):
        raise BadInputError(
            f"the {given.selected.model_type} model (run {given.selected.run_id}) forecasts values that are not finite "
            f"numbers for {given.path}"
        )


def _batch(params: InferenceParams, given: ForecastInput, request: ForecastRequest, made: _Made) -> ForecastBatch:
    fields = request.model_dump() | {
        "timestamp": utc_timestamp(),
        "identifier": params.identifier,
        "model_type": given.selected.model_type,
        "config_hash": given.selected.config_hash,
        "status": "SUCCESS",
        "metrics": batch_metrics(made.forecast, made.actual, given.data.targets),
        "samples": batch_samples(made.forecast, made.actual, given.data.targets, made.bounds),
    }
    return ForecastBatch(**fields)


def _metrics(batch: ForecastBatch, given: ForecastInput, made: _Made) -> dict[str, MetadataValue]:
    """Return the stage's metrics, in original units; those that could not be scored are left out."""
    return flat_metadata(
        {
            "mae": batch.metrics.get("mae_mean"),
            "rmse": batch.metrics.get("rmse"),
            "mse": batch.metrics.get("mse_mean"),
            "inference_count": len(batch.samples),
            "timestamp": batch.timestamp,
            **made.backtest.metrics(),
            "interval_level": given.intervals.level if given.intervals else None,
            "backtest_horizons": horizon_entries(made.horizons),
        }
    )


def _predictions_metadata(batch: ForecastBatch, metrics: dict[str, MetadataValue]) -> dict[str, MetadataValue]:
    """Describe the batch without its steps, which may be thousands and are in the artifact's file."""
    overall = {name: value for name, value in batch.metrics.items() if name != "step_mae"}
    fields = batch.model_dump(mode="json", exclude={"samples"}) | {"metrics": overall}
    scores = {name: metrics[name] for name in ("mae", "rmse") if name in metrics}
    return flat_metadata(fields | {"num_predictions": len(batch.samples)} | scores)


def _report(given: ForecastInput, batch: ForecastBatch, made: _Made, notes: tuple[str, ...]) -> ForecastReport:
    forecast, backtested = made.forecast, made.backtest
    return ForecastReport(
        identifier=batch.identifier,
        run_id=batch.run_id,
        model_type=batch.model_type,
        config_hash=batch.config_hash,
        targets=given.data.targets,
        time=forecast.time,
        predicted=forecast.values,
        actual=made.actual,
        lower=made.bounds.lower if made.bounds else None,
        upper=made.bounds.upper if made.bounds else None,
        recursive=forecast.recursive,
        after_gap=forecast.after_gap,
        step_mae=step_maes(forecast, made.actual),
        backtest_time=given.data.frame.time[backtested.origins],
        backtest_actual=backtested.actual,
        backtest_predicted=backtested.predicted,
        backtest_half_width=backtested.half_width,
        backtest_coverage=backtested.coverage,
        interval_level=given.intervals.level if given.intervals else math.nan,
        backtest_persistence=backtested.naive,
        backtest_scores={batch.model_type: backtested.scores, "persistence": backtested.naive_scores},
        backtest_horizons=made.horizons,
        notes=notes,
    )


def _notes(batch: ForecastBatch, made: _Made) -> list[str]:
    forecast, backtested, horizons = made.forecast, made.backtest, made.horizons
    notes = []
    behind = int(forecast.after_gap.sum())
    if behind:
        notes.append(f"{behind} of {len(batch.samples)} steps lie across a gap in time: forecast, but not scored")
    if not batch.metrics["overlap_rows"]:
        notes.append("no step could be scored: none has a measured value and a window without a gap in time")
    if not backtested.rows:
        notes.append("no row of the data could be backtested: none has a measured value and a window without a gap")
    elif backtested.skill < 0:
        notes.append(
            f"{batch.model_type} is worse than persistence on this data: backtest RMSE {backtested.scores.rmse:.4g} "
            f"against {backtested.naive_scores.rmse:.4g}"
        )
    if len(horizons) > 1 and all(entry.skill_over_persistence < 0 for entry in horizons):
        notes.append(
            f"{batch.model_type} is worse than persistence at every horizon from {horizons[0].horizon} to "
            f"{horizons[-1].horizon} steps ahead"
        )
    return notes


def _closing(batch: ForecastBatch, backtested: Backtest) -> str:
    recursive = sum(sample["mode"] == "recursive" for sample in batch.samples)
    steps = f"forecast {len(batch.samples)} steps with {batch.model_type}"
    parts = [f"{steps}, {recursive} of them recursive" if recursive else steps]
    if "rmse" in batch.metrics:
        parts.append(f"RMSE {batch.metrics['rmse']:.4g} on the {batch.metrics['overlap_rows']} measured ones")
    if backtested.rows:
        beside = (
            ""
            if math.isnan(backtested.skill)
            else f", {abs(backtested.skill):.1%} "
            + ("better than persistence" if backtested.skill >= 0 else "worse than persistence")
        )
        parts.append(f"backtest RMSE {backtested.scores.rmse:.4g} on {backtested.rows} rows{beside}")
    if not math.isnan(backtested.coverage):
        parts.append(f"{backtested.coverage:.1%} of the values inside their intervals")
    return "; ".join(parts)


def _write_files(batch: ForecastBatch, work_dir: Path) -> dict[str, Path]:
    files = {name: work_dir / name for name in (RESULTS_FILE, PREDICTIONS_FILE)}
    files[RESULTS_FILE].write_text(batch.to_json(), encoding="utf-8")
    files[PREDICTIONS_FILE].write_bytes(predictions_parquet(batch))
    return files
