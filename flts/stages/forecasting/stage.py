"""The inference stage: forecasts with the promoted model and backtests it on the whole test data."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flts.boundary.files import sha256_file
from flts.boundary.quantiles import parse_quantiles, quantiles_text
from flts.contracts import ForecastBatch, MetadataValue, canonical_json, flat_metadata, utc_timestamp
from flts.errors import BadInputError
from flts.models.forecasting import Forecast, forecast_steps
from flts.models.intervals import Bounds
from flts.params import InferenceParams
from flts.progress import Progress
from flts.report.data import ForecastReport
from flts.report.leaderboard import floors_sentence
from flts.report.pages import forecast_page
from flts.stage_interface import Artifact, Context, Result
from flts.stages.forecasting.backtest import Backtest, backtest
from flts.stages.forecasting.batch import batch_metrics, batch_samples, predictions_parquet, step_maes
from flts.stages.forecasting.horizons import horizon_entries, longest_horizon, score_horizons
from flts.stages.forecasting.input import ForecastInput, quantile_notes, read_input
from flts.stages.forecasting.leaderboard import LEADERBOARD_FILE, Leaderboard, compare_on_test_data, log_to_run
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
    source = read_input(params, context)
    scored = _forecast(params, source, context.progress)
    context.progress(0.7, "comparing candidates and baselines")
    board = compare_on_test_data(source, scored.backtest, context)

    context.progress(0.8, "writing the forecast")
    request = ForecastRequest(
        run_id=source.selected.run_id,
        data_sha256=sha256_file(source.path),
        inference_length=params.inference_length,
        sample_idx=params.sample_idx,
        quantiles=quantiles_text(parse_quantiles(params.quantiles)) or None,
    )
    batch, folder, cached = _batch(params, source, request, scored), "", False
    if context.store:
        logged = log_forecast(context.store, params.inference_log_bucket, request, batch)
        batch, folder, cached = logged.batch, logged.folder, logged.repeated
        # Not part of the forecast: another evaluation of the same winner has other candidates.
        context.store.put(params.inference_log_bucket, f"{folder}{LEADERBOARD_FILE}", board.parquet())
    metrics = _metrics(batch, source, scored, board)
    predictions = _predictions_metadata(batch, metrics)
    if folder:
        predictions |= {"log_bucket": params.inference_log_bucket, "log_object_key": f"{folder}{RESULTS_FILE}"}
    unlogged = log_to_run(board, source.selected, context)
    notes = (
        *source.notes,
        *quantile_notes(params, source),
        *_notes(batch, scored),
        *board.notes,
        *filter(None, [unlogged]),
    )
    if sentence := floors_sentence(batch.model_type, metrics):
        notes = (sentence, *notes)
    return Result(
        artifacts={
            "predictions": Artifact(batch.to_json(), predictions),
            "metrics": Artifact(f"{canonical_json(metrics)}\n", metrics),
            "scores": scores_artifact(metrics, _SCORES),
            "report": Artifact(forecast_page(_report(source, batch, scored, board, notes))),
        },
        message=_summary(batch, scored.backtest) + (f", in {params.inference_log_bucket}/{folder}" if folder else ""),
        files=_write_files(batch, board, context.work_dir) if context.output_dir else {},
        cached=cached,
        notes=notes,
    )


@dataclass(frozen=True)
class _ScoredForecast:
    """A forecast of n steps with its intervals, the measured values (NaN where unknown) and the model's backtest."""

    forecast: Forecast
    bounds: Bounds | None
    actual: Floats
    backtest: Backtest
    horizons: Sequence[HorizonScores]


def _forecast(params: InferenceParams, source: ForecastInput, progress: Progress) -> _ScoredForecast:
    progress(0.3, f"forecasting {params.inference_length} steps")
    forecast = forecast_steps(source.forecaster, source.data, source.start, params.inference_length)
    progress(0.5, f"backtesting on {len(source.data)} rows")
    quantiles = parse_quantiles(params.quantiles)
    backtested, calibrated = backtest(source.forecaster, source.data, source.intervals, quantiles)
    steps = longest_horizon(params.inference_length)
    progress(0.6, f"backtesting 1 to {steps} steps ahead")
    horizons = score_horizons(source.forecaster, source.data, steps)
    bounds = calibrated.bounds(forecast, quantiles) if calibrated else None
    _check_finite(source, forecast.values, backtested.predicted, *(bounds.arrays if bounds else ()))
    return _ScoredForecast(forecast, bounds, _measured(source, forecast), backtested, horizons)


def _measured(source: ForecastInput, forecast: Forecast) -> Floats:
    """Return (steps, targets) the measured values of the steps, NaN where nothing was measured or the data ends."""
    actual = np.full_like(forecast.values, np.nan)
    known = source.data.actual_matrix()[source.start : source.start + len(actual)]
    actual[: len(known)] = known
    return actual


def _check_finite(source: ForecastInput, *forecasts: Floats) -> None:
    if not all(np.isfinite(values).all() for values in forecasts):
        raise BadInputError(
            f"the {source.selected.model_type} model (run {source.selected.run_id}) forecasts values that are not "
            f"finite numbers for {source.path}"
        )


def _batch(
    params: InferenceParams, source: ForecastInput, request: ForecastRequest, scored: _ScoredForecast
) -> ForecastBatch:
    fields = request.model_dump() | {
        "timestamp": utc_timestamp(),
        "identifier": params.identifier,
        "model_type": source.selected.model_type,
        "config_hash": source.selected.config_hash,
        "status": "SUCCESS",
        "metrics": batch_metrics(scored.forecast, scored.actual, source.data.targets),
        "samples": batch_samples(scored.forecast, scored.actual, source.data.targets, scored.bounds),
    }
    return ForecastBatch(**fields)


def _metrics(
    batch: ForecastBatch, source: ForecastInput, scored: _ScoredForecast, board: Leaderboard
) -> dict[str, MetadataValue]:
    """Return the stage's metrics, in original units; those that could not be scored are left out."""
    return flat_metadata(
        {
            "mae": batch.metrics.get("mae_mean"),
            "rmse": batch.metrics.get("rmse"),
            "mse": batch.metrics.get("mse_mean"),
            "inference_count": len(batch.samples),
            "timestamp": batch.timestamp,
            **scored.backtest.metrics(),
            **board.metrics(),
            "interval_level": source.intervals.level if source.intervals else None,
            "backtest_horizons": horizon_entries(scored.horizons),
            "leaderboard": [entry.model_dump() for entry in board.entries],
        }
    )


def _predictions_metadata(batch: ForecastBatch, metrics: dict[str, MetadataValue]) -> dict[str, MetadataValue]:
    """Describe the batch without its steps, which may be thousands and are in the artifact's file."""
    overall = {name: value for name, value in batch.metrics.items() if name != "step_mae"}
    fields = batch.model_dump(mode="json", exclude={"samples"}) | {"metrics": overall}
    scores = {name: metrics[name] for name in ("mae", "rmse") if name in metrics}
    return flat_metadata(fields | {"num_predictions": len(batch.samples)} | scores)


def _report(
    source: ForecastInput, batch: ForecastBatch, scored: _ScoredForecast, board: Leaderboard, notes: tuple[str, ...]
) -> ForecastReport:
    forecast, backtested = scored.forecast, scored.backtest
    return ForecastReport(
        identifier=batch.identifier,
        run_id=batch.run_id,
        model_type=batch.model_type,
        config_hash=batch.config_hash,
        targets=source.data.targets,
        time=forecast.time,
        predicted=forecast.values,
        actual=scored.actual,
        lower=scored.bounds.lower if scored.bounds else None,
        upper=scored.bounds.upper if scored.bounds else None,
        recursive=forecast.recursive,
        after_gap=forecast.after_gap,
        step_mae=step_maes(forecast, scored.actual),
        backtest_time=source.data.frame.time[backtested.origins],
        backtest_actual=backtested.actual,
        backtest_predicted=backtested.predicted,
        quantiles=scored.bounds.quantiles if scored.bounds else {},
        backtest_lower=backtested.bounds.lower,
        backtest_upper=backtested.bounds.upper,
        backtest_quantile_coverage=backtested.quantile_coverage,
        backtest_wql=backtested.wql,
        backtest_coverage=backtested.coverage,
        interval_level=source.intervals.level if source.intervals else math.nan,
        backtest_persistence=backtested.naive,
        backtest_scores={batch.model_type: board.model, **board.baselines},
        backtest_horizons=scored.horizons,
        leaderboard=board.entries,
        notes=notes,
    )


def _notes(batch: ForecastBatch, scored: _ScoredForecast) -> list[str]:
    forecast, backtested, horizons = scored.forecast, scored.backtest, scored.horizons
    notes = []
    after_gap = int(forecast.after_gap.sum())
    if after_gap:
        notes.append(
            f"{after_gap} of {len(batch.samples)} steps follow a gap in time: they are forecast, but not scored"
        )
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


def _summary(batch: ForecastBatch, backtested: Backtest) -> str:
    recursive = sum(sample["mode"] == "recursive" for sample in batch.samples)
    steps = f"forecast {len(batch.samples)} steps with {batch.model_type}"
    parts = [f"{steps}, {recursive} of them recursive" if recursive else steps]
    if "rmse" in batch.metrics:
        parts.append(f"RMSE {batch.metrics['rmse']:.4g} on the {batch.metrics['overlap_rows']} measured ones")
    if backtested.rows:
        against_persistence = (
            ""
            if math.isnan(backtested.skill)
            else f", {abs(backtested.skill):.1%} "
            + ("better than persistence" if backtested.skill >= 0 else "worse than persistence")
        )
        parts.append(f"backtest RMSE {backtested.scores.rmse:.4g} on {backtested.rows} rows{against_persistence}")
    if not math.isnan(backtested.coverage):
        parts.append(f"{backtested.coverage:.1%} of the values inside their intervals")
    return "; ".join(parts)


def _write_files(batch: ForecastBatch, board: Leaderboard, work_dir: Path) -> dict[str, Path]:
    files = {name: work_dir / name for name in (RESULTS_FILE, PREDICTIONS_FILE, LEADERBOARD_FILE)}
    files[RESULTS_FILE].write_text(batch.to_json(), encoding="utf-8")
    files[PREDICTIONS_FILE].write_bytes(predictions_parquet(batch))
    files[LEADERBOARD_FILE].write_bytes(board.parquet())
    return files
