"""The one MLflow run of a training: found by its fingerprint, taken over where it is unfinished, published once."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from flts.boundary import retries
from flts.boundary.retries import RetryPolicy
from flts.contracts import TrainedModel, canonical_json
from flts.errors import FltsError
from flts.models import bundle, pyfunc
from flts.observability.shutdown import shutdown_grace_period
from flts.promotion import owner
from flts.stages.publishing.content import SCALER_FILE
from flts.stages.publishing.outbox import Outbox
from flts.stages.publishing.parent_run import find_parent_run
from flts.stages.publishing.publication import Publication, TrainingOutcome
from flts.stages.publishing.run_lock import RunLock, StoreLock, TrainingLock
from flts.stages.publishing.spec import TrainingSpec
from flts.store import ObjectStore
from flts.store.file import FileStore
from flts.tracking import FINGERPRINT_TAG, LoggedModel, ModelFromCode, Tracking, short_timeouts
from flts.tracking.retries import unreachable
from flts.version import __version__

METRICS_FILE = "metrics.json"
REPORT_FILE = "report.html"

_SECONDS_TO_SHOW = 2.0
_METRICS = TypeAdapter(dict[str, int | float])
_PARENT_TAG = "mlflow.parentRunId"


class TrainingRun:
    """The MLflow run of a training, whichever process began it.

    Where there is a store, an object under ``trainings/`` decides: the process that writes the finished message first
    wins, and all others take its result. Everything after that message can be repeated, and is, by every reader of it.
    """

    def __init__(
        self, spec: TrainingSpec, tracking: Tracking, store: ObjectStore | None, bucket: str, output_dir: Path | None
    ) -> None:
        """Prepare a training; nothing is written yet.

        Args:
            spec: The training.
            tracking: MLflow, which gets the run.
            store: Gets the lock, and the outbox.
            bucket: Bucket of both.
            output_dir: Gets the outbox where there is no store.
        """
        self.spec = spec
        self.notes: list[str] = []
        self.run_id = ""
        self._tracking = tracking
        self._fingerprint = spec.fingerprint()
        # A stage's calls wait by themselves. A worker's do not, and what it trained is worth waiting for.
        self._retries = RetryPolicy(retries.mlflow_wait_seconds() if tracking.wait_seconds is None else 0)
        self._experiment_id, self._parent = find_parent_run(tracking, spec.experiment_name)
        self._lock: TrainingLock
        self._outbox: Outbox | None = None
        key = f"{owner(spec.identifier)}/trainings/{self._fingerprint}"
        if store:
            self._lock = StoreLock(store, bucket, f"{key}.json")
            self._outbox = Outbox(store, bucket, key)
        else:
            self._lock = RunLock(tracking, self._experiment_id, self._fingerprint)
            if output_dir:
                self._outbox = Outbox(FileStore(output_dir / "kept"), bucket, key, f"{output_dir}/kept/")

    def begin(self, train_start: str) -> TrainingOutcome | None:
        """Return the outcome of an equal earlier training, else create its run or take over the unfinished one."""
        overtaken = False
        while True:
            recorded = self._lock.read()
            finished = recorded is not None and recorded.status == "SUCCESS"
            outcome = self._complete(recorded) if recorded and finished else None
            if recorded and outcome:
                self.run_id = recorded.run_id
                break
            self.run_id = self._run_to_use(recorded)
            if recorded and not finished and recorded.run_id == self.run_id:
                break
            if self._lock.write(self.spec.message(self.run_id, train_start)):
                break
            overtaken = True
        if isinstance(self._lock, StoreLock) and (overtaken or outcome is None):
            # Created by a process that was not the first, or twice because an answer was lost.
            for run_id in self._tracking.find_runs(self._experiment_id, self._fingerprint):
                if run_id != self.run_id:
                    self._tracking.delete_run(run_id)
        if outcome is None:
            if finished:
                self.notes.append("an earlier training like this one is gone from MLflow: trained again")
            self._tracking.set_status(self.run_id, "RUNNING")
        return outcome

    def check_artifact_store(self, scaler: str) -> None:
        """Log the scaler, the smallest file of a run, to find a store early that would refuse the trained model.

        Raises:
            ServiceUnavailableError: MLflow, or the store of its artifacts, is out of reach.
            BadInputError: The store refuses the credentials.
        """
        self._tracking.log_text(self.run_id, SCALER_FILE, scaler)

    def kept_publication(self, work_dir: Path) -> Publication | None:
        """Return the publication that an earlier attempt could not log; ``work_dir`` is for temporary files."""
        return self._outbox.load(self.run_id, work_dir) if self._outbox else None

    def publish(self, publication: Publication, work_dir: Path, progress: Callable[[str], None]) -> TrainingOutcome:
        """Log everything, then the finished message; return the valid outcome, that of another process if it was first.

        Services that are away are waited for. When they stay away, or refuse, the training is kept in the outbox.

        Args:
            publication: The content of the run.
            work_dir: A folder for temporary files.
            progress: Called when it begins.

        Raises:
            ServiceUnavailableError: A service stayed out of reach; the sentence says where the training is kept.
            BadInputError: MLflow refuses the credentials; likewise.
        """
        progress("logging to MLflow")
        try:
            outcome = self._retries.call(lambda: self._publish(publication, work_dir), unreachable)
        except FltsError as error:
            raise self._keep(publication, error) from error
        if self._outbox:
            with suppress(FltsError):  # files that stay are never read again
                self._outbox.remove()
        return outcome

    def _publish(self, publication: Publication, work_dir: Path) -> TrainingOutcome:
        model: LoggedModel | None = None
        failure: Exception | None = None
        outcome = publication.outcome
        try:
            model = self._tracking.upload_model(
                self.run_id, self.spec.model_type, _model_from_code(publication.bundle), work_dir
            )
            message = outcome.message.model_copy(update={"artifact_uri": model.location})
            self._tracking.log(
                self.run_id,
                params=publication.params,
                metrics=outcome.metrics,
                series=publication.series,
                dataset=publication.dataset,
                model=model,
            )
            files = {METRICS_FILE: f"{canonical_json(dict(outcome.metrics))}\n", REPORT_FILE: outcome.report}
            self._tracking.log_folder(self.run_id, _write_files(work_dir / "run", files | dict(publication.files)))
            self._lock.write(message)
        except Exception as error:
            # A process that finished first may have removed what this one was still writing.
            failure = error
        recorded = self._lock.read()
        valid = self._await_complete(recorded) if recorded and recorded.status == "SUCCESS" else None
        if recorded is None or valid is None:
            raise failure or RuntimeError(f"MLflow run {self.run_id} does not show what was logged to it")
        if model and model.location != recorded.artifact_uri:
            self._tracking.delete_model(model)
        return valid

    def _keep(self, publication: Publication, error: FltsError) -> FltsError:
        """Save the publication in the outbox, and return the error with its location."""
        if self._outbox is None:
            return error
        try:
            self._outbox.save(publication)
        except FltsError as second:
            return type(error)(f"{error}; the trained model is lost, because it cannot be kept either: {second}")
        return type(error)(
            f"{error}; the trained model is kept in {self._outbox.location}, and the same command publishes it from "
            "there without training again"
        )

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Set the status of the run where the block, which makes and publishes its model, ends with an error."""
        try:
            yield
        except BaseException as error:
            self._abandon("FAILED" if isinstance(error, Exception) else "KILLED")
            raise

    def _abandon(self, status: Literal["FAILED", "KILLED"]) -> None:
        """Set the status of a run that did not finish, if MLflow can be reached."""
        with suppress(Exception), short_timeouts(), shutdown_grace_period():
            if self._tracking.status(self.run_id) == "RUNNING":
                self._tracking.set_status(self.run_id, status)

    def _await_complete(self, message: TrainedModel) -> TrainingOutcome | None:
        """Repeat ``_complete`` for a moment: another process of this training may still write its files."""
        deadline = time.monotonic() + _SECONDS_TO_SHOW
        while not (outcome := self._complete(message)) and time.monotonic() < deadline:
            time.sleep(0.1)
        return outcome

    def _complete(self, message: TrainedModel) -> TrainingOutcome | None:
        """Do the remaining steps after a finished message; ``None`` where the run or its model is gone."""
        run_id, name = message.run_id, message.model_type
        status = self._tracking.status(run_id)
        texts = self._tracking.read_artifacts(run_id, (METRICS_FILE, REPORT_FILE)) if status else {}
        kept = [model for model in self._tracking.models(run_id, name) if model.location == message.artifact_uri]
        if len(texts) < 2 or not kept or not self._tracking.has_bundle(kept[0]):
            return None
        try:
            metrics = _METRICS.validate_json(texts[METRICS_FILE])
        except ValidationError:
            return None
        if status != "FINISHED":
            self._tracking.keep_model(run_id, name, message.artifact_uri)
        return TrainingOutcome(message, metrics, texts[REPORT_FILE])

    def _run_to_use(self, recorded: TrainedModel | None) -> str:
        if recorded and self._tracking.status(recorded.run_id):
            return recorded.run_id
        # A process that was killed right after it created its run has written nothing else.
        if found := self._tracking.find_runs(self._experiment_id, self._fingerprint):
            return found[0]
        spec = self.spec
        tags = {
            FINGERPRINT_TAG: self._fingerprint,
            "model_type": spec.model_type,
            "config_hash": spec.config_hash,
            "identifier": spec.identifier,
            _PARENT_TAG: self._parent,
        }
        return self._tracking.create_run(
            self._experiment_id,
            " ".join(filter(None, (spec.model_type, spec.identifier))),
            {name: value for name, value in tags.items() if value},
        )


def _model_from_code(folder: Path) -> ModelFromCode:
    return ModelFromCode(
        bundle=folder,
        code=pyfunc.CODE_PATH,
        signature=pyfunc.SIGNATURE,
        requirements=[f"flts[{','.join(bundle.extras(folder))}]=={__version__}"],
    )


def _write_files(folder: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder
