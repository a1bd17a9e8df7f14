"""Trained models of chosen quality, as their trainer leaves them: a bundle, and next to it message and forecasts."""

import json
from dataclasses import dataclass, replace
from datetime import UTC
from pathlib import Path

import numpy as np

from flts.contracts import Promotion, TrainedModel, utc_timestamp
from flts.models import bundle
from flts.models.base import BundledForecaster
from flts.models.forecasting import one_step
from flts.models.registry import MODELS
from flts.params import EvalParams, ProphetParams
from flts.progress import no_progress
from flts.stage_interface import Context, InputArtifact, Result
from flts.stages.evaluation.stage import run
from flts.stages.selection import SelectionForecasts
from flts.store import ObjectStore
from flts.timeseries.arrays import Indices
from flts.timeseries.frame import Frame
from flts.timeseries.metrics import Scores, score, target_range
from flts.timeseries.processed import ProcessedData
from flts.timeseries.windows import forecast_origins
from tests.support.processed import processed

ROWS = 800
HISTORY = 3
MINUTE = "2025-01-31T12:%02d:%02d.000000Z"


def noise(rows: int = ROWS, seed: int = 0) -> ProcessedData:
    """A level with noise around it, every hour."""
    values = 100 + np.random.default_rng(seed).normal(size=rows)
    return processed({"y": values.tolist()})


def scored(data: ProcessedData) -> Indices:
    """The rows of the selection part that trainers score."""
    return forecast_origins(data.gap_before(), data.parts.validation_end, len(data), HISTORY)


def off_by(data: ProcessedData, offset: float) -> BundledForecaster:
    """A model that forecasts the mean of the fit part, plus ``offset``: the larger, the worse."""
    shifted = Frame(data.frame.time, {name: values + offset for name, values in data.frame.columns.items()})
    params = ProphetParams(
        config_hash="",
        config_json="",
        identifier="",
        input_seq_len=HISTORY,
        growth="flat",
        n_changepoints=0,
        daily_seasonality="false",
        weekly_seasonality="false",
        yearly_seasonality="false",
        residual_ar=False,
    )
    return MODELS["PROPHET"].fit(replace(data, frame=shifted), params, no_progress).forecaster


def until(data: ProcessedData, row: int) -> str:
    """The timestamp of a row."""
    return utc_timestamp(data.frame.time[row].item().replace(tzinfo=UTC))


@dataclass(frozen=True)
class Trained:
    """The outputs of a trainer in a folder."""

    folder: Path
    message: TrainedModel
    scores: Scores


def trained(
    folder: Path,
    data: ProcessedData,
    forecaster: BundledForecaster,
    *,
    minute: int,
    trained_until: str | None,
    refitted: BundledForecaster | None = None,
) -> Trained:
    """Write ``bundle/``, ``model.json``, ``metrics.json`` and ``selection.json``; trained at ``minute``.

    ``forecaster`` is scored, and bundled unless there is a ``refitted`` one.
    """
    bundle.save(folder / "bundle", refitted or forecaster, data, trained_until=trained_until)
    rows = scored(data)
    predicted = one_step(forecaster, data, rows)
    scores = score(data.actual_matrix()[rows], predicted, unit=target_range(data))
    message = TrainedModel(
        model_type="PROPHET",
        config_hash=data.config_hash,
        run_id=f"run-of-{folder.name}",
        status="SUCCESS",
        model_uri=str(folder / "bundle"),
        test_rmse=scores.rmse,
        test_mae=scores.mae,
        test_mse=scores.mse,
        train_start="2025-01-31T11:00:00.000000Z",
        train_end=MINUTE % divmod(minute, 60),
        identifier="station",
        artifact_uri=str(folder / "bundle"),
        operation="Trained: PROPHET",
        bundle_sha256=bundle.digest(folder / "bundle"),
        trained_until=trained_until,
    )
    (folder / "model.json").write_text(message.to_json())
    columns, measured = (
        dict(zip(data.targets, values.T, strict=True)) for values in (predicted, data.actual_matrix()[rows])
    )
    forecasts = SelectionForecasts(data.frame.time[rows], columns, measured)
    (folder / "selection.json").write_text(forecasts.to_json())
    write_metrics(folder / "metrics.json", scores)
    return Trained(folder, message, scores)


def write_metrics(path: Path, scores: Scores, **baselines: float) -> None:
    """Write a trainer's metrics; every score of a baseline is the given number."""
    fields = {f"test_{name}": getattr(scores, name) for name in ("rmse", "mae", "mse")}
    fields |= {f"{name}_test_{kind}": value for name, value in baselines.items() for kind in ("rmse", "mae", "mse")}
    path.write_text(json.dumps(fields))


def evaluate(
    folder: Path,
    candidate: Trained,
    store: ObjectStore | None,
    training_data: Path | None = None,
    gate: str = "champion",
    min_gain: float = 0.0,
    incomparable: str = "promote",
    **context: object,
) -> Result:
    """Run eval on a Prophet and on a GRU and an LSTM that are far worse, in a folder of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    inputs = {"prophet_model": InputArtifact(candidate.folder / "model.json")}
    inputs["prophet_metrics"] = InputArtifact(candidate.folder / "metrics.json")
    for slot in ("gru", "lstm"):
        name = slot.upper()
        message = candidate.message.model_copy(
            update={
                "model_type": name,
                "run_id": f"{slot}-{candidate.folder.name}",
                "model_uri": f"runs:/{slot}/{name}",
                **dict.fromkeys(("test_rmse", "test_mae", "test_mse"), 99.0),
            }
        )
        (folder / f"{slot}.json").write_text(message.to_json())
        write_metrics(folder / f"{slot}_metrics.json", Scores(99.0, 99.0, 99.0))
        inputs[f"{slot}_model"] = InputArtifact(folder / f"{slot}.json")
        inputs[f"{slot}_metrics"] = InputArtifact(folder / f"{slot}_metrics.json")
    if training_data:
        inputs["training_data"] = InputArtifact(training_data)
    params = EvalParams.model_validate(
        {"config_hash": "", "identifier": "station", "gate": gate, "min_gain": min_gain, "incomparable": incomparable}
    )
    return run(params, Context(inputs, folder, store=store, **context))  # type: ignore[arg-type]


def promotion_of(model: Trained) -> Promotion:
    """The promotion of a trained model, as it would be in production."""
    message, scores = model.message, model.scores
    return Promotion(
        model_uri=message.model_uri,
        model_type=message.model_type,
        run_id=message.run_id,
        config_hash=message.config_hash,
        composite_score=scores.composite,
        test_rmse=scores.rmse,
        test_mae=scores.mae,
        test_mse=scores.mse,
        promotion_time=message.train_end,
        identifier=message.identifier,
        experiment="flts",
        rmse=scores.rmse,
        mae=scores.mae,
        mse=scores.mse,
        score=scores.composite,
        timestamp=message.train_end,
        bundle_sha256=message.bundle_sha256,
    )
