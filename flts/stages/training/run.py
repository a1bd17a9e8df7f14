"""One training, one MLflow run: found again by its fingerprint, taken over half-finished, published once."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import flts
from flts import environment
from flts.contracts import ModelType, TrainedModel, canonical_json
from flts.errors import FltsError, ServiceUnavailableError
from flts.models import pyfunc
from flts.promotion import owner
from flts.stages.training.claim import RunRecord, StoreRecord, TrainingRecord
from flts.stages.training.publication import FinishedTraining, KeptTraining, Outcome
from flts.store import ObjectStore
from flts.store.file import FileStore
from flts.tracking import FINGERPRINT_TAG, LoggedModel, ModelFromCode, Tracking, impatient

METRICS_FILE = "metrics.json"
REPORT_FILE = "report.html"

# Seconds that a finished training waits for services that went away: a server's restart takes a minute or two.
_PATIENCE = 180
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
                    "threads": environment.threads(),
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


class TrainingRun:
    """The MLflow run of a training, whichever process began it.

    Where there is a store, an object under ``trainings/`` decides: whoever writes the finished message first wins, and
    everyone else takes that result. Whatever comes after that message can be done again, and is, by whoever reads it.
    """

    def __init__(
        self, training: Training, tracking: Tracking, store: ObjectStore | None, output_dir: Path | None
    ) -> None:
        """Look at a training; nothing is written yet.

        Args:
            training: The training.
            tracking: Where its run goes.
            store: Where its claim goes, and what MLflow does not take.
            output_dir: Where the latter goes when there is no store.
        """
        self.training = training
        self.notes: list[str] = []
        self.run_id = ""
        self._tracking = tracking
        self._fingerprint = training.fingerprint()
        self._experiment_id = os.environ.get("MLFLOW_EXPERIMENT_ID") or tracking.experiment(training.experiment_name)
        self._patience = environment.whole_number("FLTS_PATIENCE_SECONDS", default=_PATIENCE, minimum=0)
        self._record: TrainingRecord
        self._kept: KeptTraining | None = None
        key = f"{owner(training.identifier)}/trainings/{self._fingerprint}"
        if store:
            self._record = StoreRecord(store, f"{key}.json")
            self._kept = KeptTraining(store, key, "")
        else:
            self._record = RunRecord(tracking, self._experiment_id, self._fingerprint)
            if output_dir:
                self._kept = KeptTraining(FileStore(output_dir / "kept"), key, f"{output_dir}/kept/")

    def begin(self, train_start: str) -> Outcome | None:
        """Return the outcome of an earlier training like this one; else make its run, or take it over half-finished."""
        overtaken = False
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
            overtaken = True
        if isinstance(self._record, StoreRecord) and (overtaken or outcome is None):
            # Made by a process that found out too late that another was first, or twice because an answer got lost.
            for run_id in self._tracking.find_runs(self._experiment_id, self._fingerprint):
                if run_id != self.run_id:
                    self._tracking.delete_run(run_id)
        if outcome is None:
            if finished:
                self.notes.append("an earlier training like this one is gone from MLflow: trained again")
            self._tracking.set_status(self.run_id, "RUNNING")
        return outcome

    def kept(self, work_dir: Path) -> FinishedTraining | None:
        """Return the finished training that an earlier attempt could not publish; ``work_dir`` is a scratch folder."""
        return self._kept.load(self.run_id, work_dir) if self._kept else None

    def publish(self, finished: FinishedTraining, work_dir: Path, progress: Callable[[str], None]) -> Outcome:
        """Log everything, then the finished message; return what counts, which is another's if that was first.

        Services that went away are waited for. When they stay away, or refuse, the training is kept in the store.

        Args:
            finished: The training.
            work_dir: A scratch folder.
            progress: Told what is waited for.

        Raises:
            ServiceUnavailableError: A service stayed out of reach; the sentence says where the training is kept.
            BadInputError: MLflow refuses the credentials; likewise.
        """
        import stamina

        def attempt() -> Outcome:
            progress("logging to MLflow")
            try:
                return self._publish(finished, work_dir)
            except ServiceUnavailableError as error:
                progress(f"waiting, because {error}")
                raise

        caller = stamina.RetryingCaller(attempts=None, timeout=self._patience, wait_initial=1.0, wait_max=20.0)
        try:
            outcome = caller.on(ServiceUnavailableError)(attempt)
        except FltsError as error:
            raise self._keep(finished, error) from error
        if self._kept:
            with suppress(FltsError):  # what stays is never looked at again
                self._kept.remove()
        return outcome

    def _publish(self, finished: FinishedTraining, work_dir: Path) -> Outcome:
        model: LoggedModel | None = None
        failure: Exception | None = None
        outcome, content = finished.outcome, finished.content
        try:
            model = self._tracking.upload_model(
                self.run_id, self.training.model_type, self._model_from_code(finished.bundle), work_dir
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

    def _keep(self, finished: FinishedTraining, error: FltsError) -> FltsError:
        """Keep what was trained, and return the error with a word about it."""
        if self._kept is None:
            return error
        try:
            self._kept.save(finished)
        except FltsError as second:
            return type(error)(f"{error}; the trained model is lost, because it cannot be kept either: {second}")
        return type(error)(
            f"{error}; the trained model is kept in {self._kept.place}, and the same command publishes it from there "
            "without training again"
        )

    def abandon(self, status: Literal["FAILED", "KILLED"]) -> None:
        """Say in MLflow how a training ended that did not finish, if MLflow is there to listen."""
        with suppress(Exception), impatient():  # a process that is told to end has ten seconds
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
        if found := self._tracking.find_runs(self._experiment_id, self._fingerprint):
            return found[0]
        training = self.training
        tags = {
            FINGERPRINT_TAG: self._fingerprint,
            "model_type": training.model_type,
            "config_hash": training.config_hash,
            "identifier": training.identifier,
            _PARENT_TAG: os.environ.get("MLFLOW_RUN_ID", ""),
        }
        return self._tracking.create_run(
            self._experiment_id,
            " ".join(filter(None, (training.model_type, training.identifier))),
            {name: value for name, value in tags.items() if value},
        )

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
