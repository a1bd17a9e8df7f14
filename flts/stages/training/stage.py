"""The training stages: train once for the same inputs, and output the model with its scores and report."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flts.contracts import ModelType, TrainedModel, canonical_json, flat_metadata, utc_timestamp
from flts.errors import BadInputError
from flts.models import bundle
from flts.models.registry import MODELS
from flts.params import TrainerParams
from flts.report.data import TrainingReport
from flts.report.pages import training_page
from flts.stage_interface import Artifact, Context, Result
from flts.stages.inputs import read_dataset, required_input
from flts.stages.publishing.content import dataset_source, run_files, scaler_json
from flts.stages.publishing.publication import Publication, TrainingOutcome
from flts.stages.publishing.run import TrainingRun
from flts.stages.publishing.spec import TrainingSpec
from flts.stages.scores import scores_artifact
from flts.stages.selection import SELECTION_FILE, SelectionForecasts
from flts.stages.training.fitting import FittedModel, train
from flts.stages.training.scoring import check_rows, scored_origins
from flts.timeseries.arrays import Indices
from flts.timeseries.baseline import Baseline
from flts.timeseries.processed import ProcessedData
from flts.tracking import DatasetSource, MetricSeries, Tracking

BUNDLE_DIR = "bundle"
# Parameters that name data and services do not shape the model.
_NOT_TRAINING = {
    *("config_hash", "config_json", "identifier", "experiment_name", "mlflow_tracking_uri", "gateway_url"),
    "promotion_bucket",
}
_LOGGING = 0.93
_SCORES = (
    *("test_rmse", "test_mae", "test_mse", "composite_score", "interval_coverage"),
    *(f"{baseline}_test_rmse" for baseline in Baseline),
)


@dataclass(frozen=True)
class _Data:
    """The training data, where it came from, and the rows that are scored."""

    source: DatasetSource
    processed: ProcessedData
    origins: Indices


def run(params: TrainerParams, context: Context, *, model_type: ModelType) -> Result:
    """Train once: a finished training of the same inputs is reused, an unfinished one taken over.

    Raises:
        BadInputError: The data cannot be read, has another ``config_hash``, or is too short.
        ServiceUnavailableError: Store or MLflow cannot be reached.
    """
    context.progress(0.0, "loading the training data")
    data = _load(params, context)
    spec = TrainingSpec(
        model_type=model_type,
        identifier=params.identifier,
        config_hash=data.processed.config_hash,
        experiment_name=params.experiment_name,
        parameters=params.model_dump(mode="json", exclude=_NOT_TRAINING),
    )
    if context.tracking_uri is None:
        return _train_without_mlflow(spec, params, context, data)
    context.progress(0.01, "opening MLflow")
    tracking = Tracking(context.tracking_uri, wait_seconds=context.wait_seconds)
    training_run = TrainingRun(spec, tracking, context.store, params.promotion_bucket, context.output_dir)
    begun = utc_timestamp()
    if outcome := training_run.begin(begun):
        return _result(outcome, cached=True)
    with training_run.attempt():
        context.announce(spec.message(training_run.run_id, begun).to_json())
        publication = training_run.kept_publication(context.work_dir)
        cached, notes = publication is not None, tuple(training_run.notes)
        if publication is None:
            training_run.check_artifact_store(scaler_json(data.processed))
            trained = _train(spec, params, context, data)
            publication = _publication(spec, training_run, data, trained)
            notes = (*notes, *trained.notes)
        outcome = training_run.publish(
            publication, context.work_dir, lambda message: context.progress(_LOGGING, message)
        )
    return _result(outcome, cached=cached, notes=notes)


def _train(spec: TrainingSpec, params: TrainerParams, context: Context, data: _Data) -> FittedModel:
    folder = context.work_dir / BUNDLE_DIR
    return train(spec.model_type, data.processed, params, data.origins, folder, context.progress)


def _train_without_mlflow(spec: TrainingSpec, params: TrainerParams, context: Context, data: _Data) -> Result:
    """Train without MLflow: the run is named after the bundle, which is written next to the message."""
    if context.output_dir is None:
        raise BadInputError("mlflow_tracking_uri is missing: it says where the model is kept")
    trained = _train(spec, params, context, data)
    started = spec.message(bundle.digest(trained.bundle)[:32], trained.start)
    message = _finished(started.model_copy(update={"model_uri": BUNDLE_DIR, "artifact_uri": BUNDLE_DIR}), trained)
    report = training_page(_report(message, spec, data, trained))
    scored = context.work_dir / SELECTION_FILE
    scored.write_text(_selection(data, trained).to_json(), encoding="utf-8")
    files = {BUNDLE_DIR: trained.bundle, SELECTION_FILE: scored}
    return _result(TrainingOutcome(message, trained.metrics, report), notes=trained.notes, files=files)


def _load(params: TrainerParams, context: Context) -> _Data:
    artifact = required_input(context, "training_data")
    path, data = read_dataset(artifact, context.store, context.work_dir)
    if params.config_hash and params.config_hash != data.config_hash:
        raise BadInputError(
            f"{artifact.path} has config_hash {data.config_hash}, but config_hash {params.config_hash} was given"
        )
    if params.config_json and data.config_json and params.config_json != data.config_json:
        raise BadInputError(f"{artifact.path} was made with another configuration than the config_json that was given")
    check_rows(data, params)
    return _Data(source=dataset_source(artifact, path, data), processed=data, origins=scored_origins(data, params))


def _finished(message: TrainedModel, trained: FittedModel) -> TrainedModel:
    """Complete the message of a training that has begun."""
    metrics = trained.metrics
    scores = {name: metrics.get(name) for name in ("test_rmse", "test_mae", "test_mse")}
    return message.model_copy(
        update={
            "status": "SUCCESS",
            "train_end": trained.end,
            "bundle_sha256": bundle.digest(trained.bundle),
            "trained_until": trained.trained_until,
            **scores,
        }
    )


def _publication(spec: TrainingSpec, training_run: TrainingRun, data: _Data, trained: FittedModel) -> Publication:
    message = _finished(spec.message(training_run.run_id, trained.start), trained)
    report = _report(message, spec, data, trained, notes=training_run.notes)
    return Publication(
        outcome=TrainingOutcome(message, trained.metrics, training_page(report)),
        bundle=trained.bundle,
        params=report.parameters,
        series=[
            MetricSeries("train_loss", trained.fit.train_loss),
            MetricSeries("validation_loss", trained.fit.validation_loss),
            MetricSeries("step_mae", trained.evaluation.step_mae),
        ],
        dataset=data.source,
        files=run_files(data.processed, report) | {SELECTION_FILE: _selection(data, trained).to_json()},
    )


def _report(
    message: TrainedModel, spec: TrainingSpec, data: _Data, trained: FittedModel, notes: list[str] | None = None
) -> TrainingReport:
    evaluation, fit = trained.evaluation, trained.fit
    return TrainingReport(
        model_type=message.model_type,
        identifier=message.identifier,
        run_id=message.run_id,
        config_hash=message.config_hash,
        parameters={**spec.parameters, **fit.fit_info},
        targets=data.processed.targets,
        time=data.processed.frame.time[evaluation.origins],
        actual=evaluation.actual,
        predicted=evaluation.predicted,
        persistence=evaluation.persistence,
        scores=evaluation.scores,
        original_scores=evaluation.original_scores,
        train_loss=fit.train_loss,
        validation_loss=fit.validation_loss,
        best_epoch=fit.best_epoch,
        stopped_early=fit.stopped_early,
        step_mae=evaluation.step_mae,
        notes=(*(notes or ()), *trained.notes),
        remark=MODELS[message.model_type].remark,
    )


def _selection(data: _Data, trained: FittedModel) -> SelectionForecasts:
    return SelectionForecasts.of(data.processed, trained.evaluation.origins, trained.evaluation.predicted)


def _result(
    outcome: TrainingOutcome,
    *,
    cached: bool = False,
    notes: tuple[str, ...] = (),
    files: Mapping[str, Path] | None = None,
) -> Result:
    message, metrics = outcome.message, outcome.metrics
    done = "was trained before with the same inputs" if cached else "trained"
    scores = f"test RMSE {metrics.get('test_rmse', math.nan):.5g}, persistence {metrics['persistence_test_rmse']:.5g}"
    return Result(
        artifacts={
            "model": Artifact(message.to_json(), message.metadata() | {"mlflow_uri": message.model_uri}),
            "metrics": Artifact(f"{canonical_json(dict(metrics))}\n", flat_metadata(metrics)),
            "scores": scores_artifact(metrics, _SCORES),
            "report": Artifact(outcome.report),
        },
        parameters={"run_id": message.run_id},
        message=f"{message.model_type} {done}: {scores} (min-max units), run {message.run_id}",
        files=files or {},
        cached=cached,
        notes=notes,
    )
