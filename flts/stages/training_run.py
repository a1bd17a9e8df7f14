"""One training, one MLflow run: found again by its fingerprint, taken over half-finished, published once."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import flts
from flts.contracts import ModelType, TrainedModel, canonical_json
from flts.errors import FltsError
from flts.models import pyfunc
from flts.promotion import owner
from flts.stages.training_record import RunRecord, StoreRecord, TrainingRecord
from flts.store import ObjectStore
from flts.tracking import FINGERPRINT_TAG, DatasetSource, LoggedModel, ModelFromCode, Series, Tracking

METRICS_FILE = "metrics.json"
REPORT_FILE = "report.html"

_PARENT_TAG = "mlflow.parentRunId"
_EXTRAS: Mapping[ModelType, str] = {"GRU": "torch", "LSTM": "torch", "PROPHET": "prophet"}


@dataclass(frozen=True)
class Training:
    """What makes a training the same as another; ``parameters`` are all that shape the model."""

    model_type: ModelType
    identifier: str
    config_hash: str
    experiment_name: str
    parameters: Mapping[str, object]

    def fingerprint(self) -> str:
        """Return the SHA-256 over the training, the number of compute threads and the files of flts itself.

        The experiment counts too: who names another one looks for the run there.
        """
        return hashlib.sha256(
            canonical_json(
                {
                    "model_type": self.model_type,
                    "identifier": self.identifier,
                    "config_hash": self.config_hash,
                    "experiment_name": self.experiment_name,
                    "parameters": dict(self.parameters),
                    "threads": os.environ.get("FLTS_THREADS") or "1",
                    "source": _source_digest(Path(flts.__file__).parent),
                }
            ).encode()
        ).hexdigest()

    def message(self, run_id: str, train_start: str) -> TrainedModel:
        """Return the message of a training that has begun; ``experiment`` is there for the promotion."""
        return TrainedModel.model_validate(
            {
                "model_type": self.model_type,
                "config_hash": self.config_hash,
                "run_id": run_id,
                "status": "RUNNING",
                "model_uri": f"runs:/{run_id}/{self.model_type}",
                "test_rmse": None,
                "test_mae": None,
                "test_mse": None,
                "train_start": train_start,
                "train_end": "",
                "identifier": self.identifier,
                "artifact_uri": "",
                "operation": f"Trained: {self.model_type}",
                "experiment": self.experiment_name,
            }
        )


@dataclass(frozen=True)
class Outcome:
    """A finished training: its message, its metrics, and its report as HTML."""

    message: TrainedModel
    metrics: Mapping[str, float]
    report: str


@dataclass(frozen=True)
class RunContent:
    """What a run shows beside its model: ``files`` by name, ``/``-separated; ``series`` over epochs."""

    params: Mapping[str, object]
    series: Sequence[Series]
    dataset: DatasetSource
    files: Mapping[str, str]


class TrainingRun:
    """The MLflow run of a training, whichever process began it.

    Where there is a store, an object under ``trainings/`` decides: whoever writes the finished message first wins, and
    everyone else takes that result. Whatever comes after that message can be done again, and is, by whoever reads it.
    """

    def __init__(self, training: Training, tracking: Tracking, store: ObjectStore | None) -> None:
        """Look at a training; nothing is written yet."""
        self.training = training
        self.notes: list[str] = []
        self.run_id = ""
        self._made = ""
        self._tracking = tracking
        self._fingerprint = training.fingerprint()
        self._experiment_id = os.environ.get("MLFLOW_EXPERIMENT_ID") or tracking.experiment(training.experiment_name)
        self._record: TrainingRecord
        if store:
            self._record = StoreRecord(store, f"{owner(training.identifier)}/trainings/{self._fingerprint}.json")
        else:
            self._record = RunRecord(tracking, self._experiment_id, self._fingerprint)

    def begin(self, train_start: str) -> Outcome | None:
        """Return the outcome of an earlier training like this one; else make its run, or take it over half-finished."""
        while True:
            recorded = self._record.read()
            finished = recorded is not None and recorded.status == "SUCCESS"
            outcome = self._complete(recorded) if recorded and finished else None
            if recorded and outcome:
                self.run_id = recorded.run_id
                break
            self.run_id = self._run_to_use(recorded)
            if recorded and not finished and recorded.run_id == self.run_id:
                break
            if self._record.write(self.training.message(self.run_id, train_start)):
                break
        if self._made not in ("", self.run_id):
            self._tracking.delete_run(self._made)
        if outcome is None:
            if finished:
                self.notes.append("an earlier training like this one is gone from MLflow: trained again")
            self._tracking.set_status(self.run_id, "RUNNING")
        return outcome

    def publish(self, outcome: Outcome, content: RunContent, bundle: Path, work_dir: Path) -> Outcome:
        """Log everything, then the finished message; return what counts, which is another's if that was first."""
        model: LoggedModel | None = None
        failure: Exception | None = None
        try:
            model = self._tracking.upload_model(
                self.run_id, self.training.model_type, self._model_from_code(bundle), work_dir
            )
            message = outcome.message.model_copy(update={"artifact_uri": model.location})
            self._tracking.log(
                self.run_id,
                params=content.params,
                metrics=outcome.metrics,
                series=content.series,
                dataset=content.dataset,
                model=model,
            )
            files = {METRICS_FILE: f"{canonical_json(dict(outcome.metrics))}\n", REPORT_FILE: outcome.report}
            self._tracking.log_folder(self.run_id, _write_files(work_dir / "run", files | dict(content.files)))
            self._record.write(message)
        except Exception as error:
            # Whoever finished first may have removed what this process was still writing.
            failure = error
        recorded = self._record.read()
        counts = self._complete(recorded) if recorded and recorded.status == "SUCCESS" else None
        if recorded is None or counts is None:
            raise failure or RuntimeError(f"MLflow run {self.run_id} does not show what was logged to it")
        if model and model.location != recorded.artifact_uri:
            self._tracking.delete_model(model)
        return counts

    def abandon(self, status: Literal["FAILED", "KILLED"]) -> None:
        """Say in MLflow how a training ended that did not finish."""
        with suppress(FltsError):
            if self._tracking.status(self.run_id) == "RUNNING":
                self._tracking.set_status(self.run_id, status)

    def _complete(self, message: TrainedModel) -> Outcome | None:
        """Do what is left to do after a finished message; ``None`` when the run or its model is gone."""
        run_id, name = message.run_id, message.model_type
        status = self._tracking.status(run_id)
        texts = self._tracking.read_artifacts(run_id, (METRICS_FILE, REPORT_FILE)) if status else {}
        kept = [model for model in self._tracking.models(run_id, name) if model.location == message.artifact_uri]
        if len(texts) < 2 or not kept or not self._tracking.has_bundle(kept[0]):
            return None
        if status != "FINISHED":
            self._tracking.keep_model(run_id, name, message.artifact_uri)
        return Outcome(message, json.loads(texts[METRICS_FILE]), texts[REPORT_FILE])

    def _run_to_use(self, recorded: TrainedModel | None) -> str:
        if recorded and self._tracking.status(recorded.run_id):
            return recorded.run_id
        # A process that was killed right after it made its run left no other trace.
        if found := self._tracking.find_run(self._experiment_id, self._fingerprint):
            return found
        training = self.training
        tags = {
            FINGERPRINT_TAG: self._fingerprint,
            "model_type": training.model_type,
            "config_hash": training.config_hash,
            "identifier": training.identifier,
            _PARENT_TAG: os.environ.get("MLFLOW_RUN_ID", ""),
        }
        self._made = self._tracking.create_run(
            self._experiment_id,
            " ".join(filter(None, (training.model_type, training.identifier))),
            {name: value for name, value in tags.items() if value},
        )
        return self._made

    def _model_from_code(self, bundle: Path) -> ModelFromCode:
        return ModelFromCode(
            bundle=bundle,
            code=pyfunc.CODE_PATH,
            signature=pyfunc.SIGNATURE,
            requirements=[f"flts[{_EXTRAS[self.training.model_type]}]=={flts.__version__}", "pandas"],
        )


def _write_files(folder: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def _source_digest(package: Path) -> str:
    """Return the SHA-256 over every file of a package: code that changed may train another model."""
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*")):
        if path.is_file() and path.parent.name != "__pycache__":
            content = path.read_bytes()
            digest.update(f"{path.relative_to(package).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()
