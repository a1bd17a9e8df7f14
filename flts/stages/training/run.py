"""One training, one MLflow run: found again by its fingerprint, taken over half-finished, published once."""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from flts.boundary import retries
from flts.contracts import TrainedModel, canonical_json
from flts.errors import FltsError, ServiceUnavailableError
from flts.models import pyfunc
from flts.models.registry import MODELS
from flts.observability.shutdown import shutdown_grace_period
from flts.promotion import owner
from flts.stages.training.outbox import Outbox
from flts.stages.training.parent_run import enclosing_run
from flts.stages.training.publication import Publication, TrainingOutcome
from flts.stages.training.run_lock import RunLock, StoreLock, TrainingLock
from flts.stages.training.spec import TrainingSpec
from flts.store import ObjectStore
from flts.store.file import FileStore
from flts.tracking import FINGERPRINT_TAG, LoggedModel, ModelFromCode, Tracking, short_timeouts
from flts.version import __version__

METRICS_FILE = "metrics.json"
REPORT_FILE = "report.html"
SCALER_FILE = "scaler/scaler.json"

_SECONDS_TO_SHOW = 2.0
_METRICS = TypeAdapter(dict[str, int | float])
_PARENT_TAG = "mlflow.parentRunId"


class TrainingRun:
    """The MLflow run of a training, whichever process began it.

    Where there is a store, an object under ``trainings/`` decides: whoever writes the finished message first wins, and
    everyone else takes that result. Whatever comes after that message can be done again, and is, by whoever reads it.
    """

    def __init__(
        self, spec: TrainingSpec, tracking: Tracking, store: ObjectStore | None, output_dir: Path | None
    ) -> None:
        """Look at a training; nothing is written yet.

        Args:
            spec: The training.
            tracking: Where its run goes.
            store: Where its claim goes, and what MLflow does not take.
            output_dir: Where the latter goes when there is no store.
        """
        self.spec = spec
        self.notes: list[str] = []
        self.run_id = ""
        self._tracking = tracking
        self._fingerprint = spec.fingerprint()
        self._wait_seconds = retries.mlflow_wait_seconds()
        self._experiment_id, self._parent = enclosing_run(tracking, spec.experiment_name)
        self._claim: TrainingLock
        self._shelf: Outbox | None = None
        key = f"{owner(spec.identifier)}/trainings/{self._fingerprint}"
        if store:
            self._claim = StoreLock(store, f"{key}.json")
            self._shelf = Outbox(store, key, "")
        else:
            self._claim = RunLock(tracking, self._experiment_id, self._fingerprint)
            if output_dir:
                self._shelf = Outbox(FileStore(output_dir / "kept"), key, f"{output_dir}/kept/")

    def begin(self, train_start: str) -> TrainingOutcome | None:
        """Return the outcome of an earlier training like this one; else make its run, or take it over half-finished."""
        overtaken = False
        while True:
            recorded = self._claim.read()
            finished = recorded is not None and recorded.status == "SUCCESS"
            outcome = self._complete(recorded) if recorded and finished else None
            if recorded and outcome:
                self.run_id = recorded.run_id
                break
            self.run_id = self._run_to_use(recorded)
            if recorded and not finished and recorded.run_id == self.run_id:
                break
            if self._claim.write(self.spec.message(self.run_id, train_start)):
                break
            overtaken = True
        if isinstance(self._claim, StoreLock) and (overtaken or outcome is None):
            # Made by a process that found out too late that another was first, or twice because an answer got lost.
            for run_id in self._tracking.find_runs(self._experiment_id, self._fingerprint):
                if run_id != self.run_id:
                    self._tracking.delete_run(run_id)
        if outcome is None:
            if finished:
                self.notes.append("an earlier training like this one is gone from MLflow: trained again")
            self._tracking.set_status(self.run_id, "RUNNING")
        return outcome

    def check_artifact_store(self, scaler: str) -> None:
        """Log the scaler, the smallest file of a run: what refuses it would refuse the trained model too.

        Raises:
            ServiceUnavailableError: MLflow, or the store of its artifacts, is out of reach.
            BadInputError: The store refuses the credentials.
        """
        self._tracking.log_text(self.run_id, SCALER_FILE, scaler)

    def shelved(self, work_dir: Path) -> Publication | None:
        """Return the publication that an earlier attempt could not log; ``work_dir`` is a scratch folder."""
        return self._shelf.load(self.run_id, work_dir) if self._shelf else None

    def publish(self, publication: Publication, work_dir: Path, progress: Callable[[str], None]) -> TrainingOutcome:
        """Log everything, then the finished message; return what counts, which is another's if that was first.

        Services that went away are waited for. When they stay away, or refuse, the training is kept in the store.

        Args:
            publication: What MLflow gets of it.
            work_dir: A scratch folder.
            progress: Told what is waited for.

        Raises:
            ServiceUnavailableError: A service stayed out of reach; the sentence says where the training is kept.
            BadInputError: MLflow refuses the credentials; likewise.
        """
        import stamina

        def attempt() -> TrainingOutcome:
            progress("logging to MLflow")
            try:
                return self._publish(publication, work_dir)
            except ServiceUnavailableError as error:
                progress(f"waiting, because {error}")
                raise

        caller = stamina.RetryingCaller(attempts=None, timeout=self._wait_seconds, wait_initial=1.0, wait_max=20.0)
        try:
            outcome = caller.on(ServiceUnavailableError)(attempt)
        except FltsError as error:
            raise self._keep(publication, error) from error
        if self._shelf:
            with suppress(FltsError):  # what stays is never looked at again
                self._shelf.remove()
        return outcome

    def _publish(self, publication: Publication, work_dir: Path) -> TrainingOutcome:
        model: LoggedModel | None = None
        failure: Exception | None = None
        outcome = publication.outcome
        try:
            model = self._tracking.upload_model(
                self.run_id, self.spec.model_type, self._model_from_code(publication.bundle), work_dir
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
            self._claim.write(message)
        except Exception as error:
            # Whoever finished first may have removed what this process was still writing.
            failure = error
        recorded = self._claim.read()
        counts = self._await_complete(recorded) if recorded and recorded.status == "SUCCESS" else None
        if recorded is None or counts is None:
            raise failure or RuntimeError(f"MLflow run {self.run_id} does not show what was logged to it")
        if model and model.location != recorded.artifact_uri:
            self._tracking.delete_model(model)
        return counts

    def _keep(self, publication: Publication, error: FltsError) -> FltsError:
        """Keep what was trained, and return the error with a word about it."""
        if self._shelf is None:
            return error
        try:
            self._shelf.save(publication)
        except FltsError as second:
            return type(error)(f"{error}; the trained model is lost, because it cannot be kept either: {second}")
        return type(error)(
            f"{error}; the trained model is kept in {self._shelf.place}, and the same command publishes it from there "
            "without training again"
        )

    def abandon(self, status: Literal["FAILED", "KILLED"]) -> None:
        """Say in MLflow how a training ended that did not finish, if MLflow is there to listen."""
        with suppress(Exception), short_timeouts(), shutdown_grace_period():
            if self._tracking.status(self.run_id) == "RUNNING":
                self._tracking.set_status(self.run_id, status)

    def _await_complete(self, message: TrainedModel) -> TrainingOutcome | None:
        """Do what ``_complete`` does, again for a moment: another process of this training may be writing its files."""
        deadline = time.monotonic() + _SECONDS_TO_SHOW
        while not (outcome := self._complete(message)) and time.monotonic() < deadline:
            time.sleep(0.1)
        return outcome

    def _complete(self, message: TrainedModel) -> TrainingOutcome | None:
        """Do what is left to do after a finished message; ``None`` when the run or its model is gone."""
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
        # A process that was killed right after it made its run left no other trace.
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

    def _model_from_code(self, bundle: Path) -> ModelFromCode:
        return ModelFromCode(
            bundle=bundle,
            code=pyfunc.CODE_PATH,
            signature=pyfunc.SIGNATURE,
            requirements=[f"flts[{MODELS[self.spec.model_type].extra}]=={__version__}"],
        )


def _write_files(folder: Path, files: Mapping[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder
