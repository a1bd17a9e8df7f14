"""The training stages: fit on the fit part, score on the selection part, keep the bundle and all that explains it."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flts.contracts import ModelType, TrainedModel, canonical_json, flat_metadata, utc_timestamp
from flts.errors import BadInputError
from flts.files import sha256_file
from flts.models import bundle
from flts.models.base import Forecaster
from flts.params import ProphetParams, RecurrentParams
from flts.report.data import TrainingReport
from flts.report.pages import training_page, training_plots
from flts.stage import Artifact, Context, Progress, Result
from flts.stages.finished_training import FinishedTraining, Outcome, RunContent
from flts.stages.model_input import given
from flts.stages.scoring import Evaluation, check_rows, evaluate, scored_origins
from flts.stages.training_run import Training, TrainingRun
from flts.timeseries.frame import ProcessedData
from flts.timeseries.parquet import read_processed
from flts.timeseries.reading import load_dataset
from flts.timeseries.windows import Indices
from flts.tracking import DatasetSource, Series, Tracking

TrainerParams = RecurrentParams | ProphetParams

BUNDLE_DIR = "bundle"
# What names data and services does not shape the model.
_NOT_TRAINING = {"config_hash", "config_json", "identifier", "experiment_name", "mlflow_tracking_uri", "gateway_url"}
_FITTED, _REFITTED, _SCORED = 0.75, 0.9, 0.93


@dataclass(frozen=True)
class Fitted:
    """A model fitted on the fit part, with how it learned.

    ``plain`` is the same model without residual correction, ``refit`` trains it once more on all rows, ``learned``
    are figures of the fit worth recording.
    """

    forecaster: bundle.BundledForecaster
    refit: Callable[[Progress], bundle.BundledForecaster]
    plain: Forecaster | None = None
    learned: Mapping[str, object] = field(default_factory=dict)
    train_loss: tuple[float, ...] = ()
    validation_loss: tuple[float, ...] = ()
    best_epoch: int = 0
    stopped_early: bool = False


Fit = Callable[[ProcessedData, Progress], Fitted]


@dataclass(frozen=True)
class _Data:
    """The training data, the file it came from, and the rows that are scored."""

    path: Path
    uri: str
    processed: ProcessedData
    origins: Indices


def run_gru(params: RecurrentParams, context: Context) -> Result:
    """Train a GRU; see ``_train``."""
    return _train("GRU", params, context, lambda data, progress: _fit_recurrent("GRU", data, params, progress))


def run_lstm(params: RecurrentParams, context: Context) -> Result:
    """Train an LSTM; see ``_train``."""
    return _train("LSTM", params, context, lambda data, progress: _fit_recurrent("LSTM", data, params, progress))


def run_prophet(params: ProphetParams, context: Context) -> Result:
    """Fit one Prophet per target; see ``_train``."""
    return _train("PROPHET", params, context, lambda data, progress: _fit_prophet(data, params, progress))


def _train(model_type: ModelType, params: TrainerParams, context: Context, fit: Fit) -> Result:
    """Train once: a finished training of the same inputs is found again, a half-finished one taken over.

    Raises:
        BadInputError: The data cannot be read, is not what ``config_hash`` announces, or is too short.
        ServiceUnavailableError: Store or MLflow stay out of reach.
    """
    context.progress(0.0, "loading the training data")
    data = _load(params, context)
    training = Training(
        model_type=model_type,
        identifier=params.identifier,
        config_hash=data.processed.config_hash,
        experiment_name=params.experiment_name,
        parameters=params.model_dump(mode="json", exclude=_NOT_TRAINING),
    )
    if context.tracking_uri is None:
        return _train_alone(training, params, context, data, fit)
    context.progress(0.01, "opening MLflow")
    run = TrainingRun(training, Tracking(context.tracking_uri), context.store, context.output_dir)
    if outcome := run.begin(utc_timestamp()):
        return _result(outcome, cached=True)
    try:
        finished = run.kept(context.work_dir)
        cached, notes = finished is not None, tuple(run.notes)
        if finished is None:
            trained = _fit_and_score(training, params, context, data, fit)
            finished, notes = _finished(training, run, trained), (*notes, *trained.notes)
        outcome = run.publish(finished, context.work_dir, lambda message: context.progress(_SCORED, message))
    except BaseException as error:
        run.abandon("FAILED" if isinstance(error, Exception) else "KILLED")
        raise
    return _result(outcome, cached=cached, notes=notes)


def _finished(training: Training, run: TrainingRun, trained: "_Trained") -> FinishedTraining:
    """Gather what MLflow is to get."""
    message = trained.finished(training.message(run.run_id, trained.start))
    report = trained.report(message, notes=run.notes)
    content = RunContent(
        params=trained.parameters,
        series=[
            Series("train_loss", trained.fitted.train_loss),
            Series("validation_loss", trained.fitted.validation_loss),
            Series("step_mae", trained.evaluation.step_mae),
        ],
        dataset=_dataset_source(trained.data),
        files=_run_files(trained.data.processed, report),
    )
    return FinishedTraining(Outcome(message, trained.metrics, training_page(report)), content, trained.bundle)


def _train_alone(training: Training, params: TrainerParams, context: Context, data: _Data, fit: Fit) -> Result:
    """Train without MLflow: the run is named after the bundle, which goes beside the message."""
    if context.output_dir is None:
        raise BadInputError("mlflow_tracking_uri is missing: it says where the model is kept")
    trained = _fit_and_score(training, params, context, data, fit)
    started = training.message(bundle.digest(trained.bundle)[:32], trained.start)
    message = trained.finished(started.model_copy(update={"model_uri": BUNDLE_DIR, "artifact_uri": BUNDLE_DIR}))
    report = training_page(trained.report(message))
    return _result(Outcome(message, trained.metrics, report), notes=trained.notes, files={BUNDLE_DIR: trained.bundle})


@dataclass(frozen=True)
class _Trained:
    """A finished training before it is recorded; ``start`` and ``end`` are timestamps."""

    data: _Data
    fitted: Fitted
    evaluation: Evaluation
    bundle: Path
    parameters: Mapping[str, object]
    start: str
    end: str

    @property
    def metrics(self) -> dict[str, float]:
        """Every finite figure by its metric name."""
        metrics = self.evaluation.metrics()
        if self.fitted.best_epoch:
            metrics |= {"best_epoch": self.fitted.best_epoch, "epochs_run": len(self.fitted.train_loss)}
        return {name: value for name, value in metrics.items() if math.isfinite(value)}

    @property
    def notes(self) -> tuple[str, ...]:
        """What people should know about the result."""
        if "test_rmse" in self.metrics:
            return ()
        return (f"{self.fitted.forecaster.model_type} forecasts values that are not finite, and cannot be promoted",)

    def finished(self, message: TrainedModel) -> TrainedModel:
        """Complete the message of a training that has begun."""
        metrics = self.metrics
        scores = {name: metrics.get(name) for name in ("test_rmse", "test_mae", "test_mse")}
        return message.model_copy(update={"status": "SUCCESS", "train_end": self.end, **scores})

    def report(self, message: TrainedModel, notes: list[str] | None = None) -> TrainingReport:
        """Gather what the report shows."""
        evaluation, data = self.evaluation, self.data.processed
        return TrainingReport(
            model_type=message.model_type,
            identifier=message.identifier,
            run_id=message.run_id,
            config_hash=message.config_hash,
            parameters=self.parameters,
            targets=data.targets,
            time=data.frame.time[evaluation.origins],
            actual=evaluation.actual,
            predicted=evaluation.predicted,
            persistence=evaluation.persistence,
            scores=evaluation.scores,
            original_scores=evaluation.original_scores,
            train_loss=self.fitted.train_loss,
            validation_loss=self.fitted.validation_loss,
            best_epoch=self.fitted.best_epoch,
            stopped_early=self.fitted.stopped_early,
            step_mae=evaluation.step_mae,
            notes=(*(notes or ()), *self.notes),
        )


def _load(params: TrainerParams, context: Context) -> _Data:
    artifact = given(context, "training_data")
    path = load_dataset(artifact, context.store, context.work_dir)
    data = read_processed(path)
    if params.config_hash and params.config_hash != data.config_hash:
        raise BadInputError(
            f"{artifact.path} has config_hash {data.config_hash}, but config_hash {params.config_hash} was given"
        )
    if params.config_json and data.config_json and params.config_json != data.config_json:
        raise BadInputError(f"{artifact.path} was made with another configuration than the config_json that was given")
    check_rows(data, params)
    return _Data(path, artifact.uri or path.resolve().as_uri(), data, scored_origins(data, params))


def _fit_and_score(training: Training, params: TrainerParams, context: Context, data: _Data, fit: Fit) -> _Trained:
    start = utc_timestamp()
    fitted = fit(data.processed, _part(context.progress, 0.05, _FITTED))
    context.progress(_FITTED, f"scoring {len(data.origins)} rows")
    evaluation = evaluate(fitted.forecaster, data.processed, params, data.origins, fitted.plain)
    forecaster = fitted.forecaster
    if params.refit:
        # What is kept has seen every row; what was scored has not, so that the scores stay honest.
        forecaster = fitted.refit(_part(context.progress, _FITTED, _REFITTED))
    folder = context.work_dir / BUNDLE_DIR
    bundle.save(folder, forecaster, data.processed)
    parameters = {**training.parameters, **fitted.learned}
    return _Trained(data, fitted, evaluation, folder, parameters, start=start, end=utc_timestamp())


def _fit_recurrent(model_type: Any, data: ProcessedData, params: RecurrentParams, progress: Progress) -> Fitted:
    from flts.models.recurrent import fit_recurrent, refit_recurrent

    fit = fit_recurrent(model_type, data, params, progress)
    return Fitted(
        forecaster=fit.forecaster,
        refit=lambda progress: refit_recurrent(fit, data, params, progress),
        train_loss=tuple(fit.train_loss),
        validation_loss=tuple(fit.validation_loss),
        best_epoch=fit.best_epoch,
        stopped_early=fit.stopped_early,
    )


def _fit_prophet(data: ProcessedData, params: ProphetParams, progress: Progress) -> Fitted:
    from flts.models.prophet import fit_prophet, refit_prophet

    fit = fit_prophet(data, params, progress)
    return Fitted(
        forecaster=fit.forecaster,
        refit=lambda progress: refit_prophet(fit, data, params, progress),
        plain=fit.forecaster.plain() if params.residual_ar else None,
        learned={"phi": canonical_json(dict(fit.phi))} if params.residual_ar else {},
    )


def _part(progress: Progress, start: float, stop: float) -> Progress:
    """Return a progress that fills the span from ``start`` to ``stop`` of another."""

    def report(fraction: float | None, message: str) -> None:
        progress(None if fraction is None else start + fraction * (stop - start), message)

    return report


def _dataset_source(data: _Data) -> DatasetSource:
    config = json.loads(data.processed.config_json or "{}")
    return DatasetSource(
        name=str(config.get("dataset_name") or data.path.stem),
        sha256=sha256_file(data.path),
        uri=data.uri,
        rows=len(data.processed),
    )


def _run_files(data: ProcessedData, report: TrainingReport) -> dict[str, str]:
    files = {f"plots/{name}": text for name, text in training_plots(report).items()}
    files["scaler/scaler.json"] = f"{canonical_json(data.scaler.to_dict())}\n"
    if data.config_json:
        files["preprocess_config.json"] = data.config_json
    return files


def _result(
    outcome: Outcome, *, cached: bool = False, notes: tuple[str, ...] = (), files: Mapping[str, Path] | None = None
) -> Result:
    message, metrics = outcome.message, outcome.metrics
    done = "was trained before with the same inputs" if cached else "trained"
    scores = f"test RMSE {metrics.get('test_rmse', math.nan):.5g}, persistence {metrics['persistence_test_rmse']:.5g}"
    return Result(
        artifacts={
            "model": Artifact(message.to_json(), message.metadata() | {"mlflow_uri": message.model_uri}),
            "metrics": Artifact(f"{canonical_json(dict(metrics))}\n", flat_metadata(metrics)),
            "report": Artifact(outcome.report),
        },
        parameters={"run_id": message.run_id},
        message=f"{message.model_type} {done}: {scores} (min-max units), run {message.run_id}",
        files=files or {},
        cached=cached,
        notes=notes,
    )
