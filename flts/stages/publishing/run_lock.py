"""The lock of a training: its run, and whether that finished."""

from typing import Protocol

from flts.contracts import TrainedModel
from flts.store import ObjectStore
from flts.store.swap import get_or_none, put_if_unchanged
from flts.tracking import Tracking

MESSAGE_FILE = "model.json"


class TrainingLock(Protocol):
    """The state of a training, shared by all processes with its fingerprint."""

    def read(self) -> TrainedModel | None:
        """Return the message of a training that has begun or finished."""
        ...

    def write(self, message: TrainedModel) -> bool:
        """Replace the message that ``read`` returned; false, and nothing written, where another process was first."""
        ...


class StoreLock:
    """An object that changes by compare-and-swap."""

    def __init__(self, store: ObjectStore, bucket: str, key: str) -> None:
        """Keep the training under ``key``."""
        self._store = store
        self._bucket = bucket
        self._key = key
        self._etag: str | None = None

    def read(self) -> TrainedModel | None:
        """See ``TrainingLock``."""
        found = get_or_none(self._store, self._bucket, self._key)
        self._etag = found[1].etag if found else None
        return TrainedModel.parse(found[0], source=f"{self._bucket}/{self._key}") if found else None

    def write(self, message: TrainedModel) -> bool:
        """See ``TrainingLock``."""
        etag = put_if_unchanged(self._store, self._bucket, self._key, message.to_json().encode(), self._etag)
        self._etag = etag or self._etag
        return etag is not None


class RunLock:
    """The run itself, where there is no store: its tag shows that it began, an artifact that it finished.

    MLflow has no compare-and-swap: of two processes that finish within a few milliseconds, the later one wins.
    """

    def __init__(self, tracking: Tracking, experiment_id: str, fingerprint: str) -> None:
        """Look for the training's run in an experiment."""
        self._tracking = tracking
        self._experiment_id = experiment_id
        self._fingerprint = fingerprint
        self._seen: str | None = None

    def read(self) -> TrainedModel | None:
        """See ``TrainingLock``."""
        run_id = next(iter(self._tracking.find_runs(self._experiment_id, self._fingerprint)), None)
        self._seen = self._text(run_id) if run_id else None
        return TrainedModel.parse(self._seen, source=f"{MESSAGE_FILE} of MLflow run {run_id}") if self._seen else None

    def write(self, message: TrainedModel) -> bool:
        """See ``TrainingLock``."""
        if message.status == "RUNNING":
            return True
        if self._text(message.run_id) != self._seen:
            return False
        self._tracking.log_text(message.run_id, MESSAGE_FILE, message.to_json())
        return True

    def _text(self, run_id: str) -> str | None:
        return self._tracking.read_artifacts(run_id, (MESSAGE_FILE,)).get(MESSAGE_FILE)
