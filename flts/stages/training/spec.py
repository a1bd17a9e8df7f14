"""What makes a training the same as another: its inputs, and the code that shapes its result."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from flts.boundary import environment
from flts.contracts import ModelType, TrainedModel, canonical_json

# The code that fits, scores and bundles a model. A change in a report, a store, a runner or a server trains nothing
# again; nor does one in params.py or a declaration, because the parameters' values are in the fingerprint themselves.
SOURCES = (
    "boundary",
    "contracts.py",
    "datafiles",
    "diagnostics",
    "errors.py",
    "lazy.py",
    "models",
    "progress.py",
    "stages/training/fitting.py",
    "stages/training/scoring.py",
    "timeseries",
)


PACKAGE = Path(__file__).parents[2]


@dataclass(frozen=True)
class TrainingSpec:
    """A training to be done; ``parameters`` are all that shape the model."""

    model_type: ModelType
    identifier: str
    config_hash: str
    experiment_name: str
    parameters: Mapping[str, object]

    def fingerprint(self) -> str:
        """Return the SHA-256 over the training, the number of compute threads and ``SOURCES``.

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
                    "source": source_digest(PACKAGE),
                }
            ).encode()
        ).hexdigest()

    def message(self, run_id: str, train_start: str) -> TrainedModel:
        """Return the message of a training that has begun; ``experiment`` is there for the promotion."""
        return TrainedModel(
            model_type=self.model_type,
            config_hash=self.config_hash,
            run_id=run_id,
            status="RUNNING",
            model_uri=f"runs:/{run_id}/{self.model_type}",
            test_rmse=None,
            test_mae=None,
            test_mse=None,
            train_start=train_start,
            train_end="",
            identifier=self.identifier,
            artifact_uri="",
            operation=f"Trained: {self.model_type}",
            experiment=self.experiment_name,
        )


def source_files(package: Path) -> Iterator[Path]:
    """Yield the files of ``SOURCES`` under the folder of flts, in order."""
    for name in SOURCES:
        path = package / name
        yield from [path] if path.is_file() else sorted(path.rglob("*.py"))


def source_digest(package: Path) -> str:
    """Return the SHA-256 over ``source_files``: code that changed may train another model."""
    digest = hashlib.sha256()
    for path in source_files(package):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(package).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()
