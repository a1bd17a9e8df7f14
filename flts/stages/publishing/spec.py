"""The identity of a training: its inputs, and the code that shapes its result."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from flts.boundary import environment
from flts.contracts import ModelType, TrainedModel, canonical_json
from flts.stages.publishing.source_digest import source_digest


@dataclass(frozen=True)
class TrainingSpec:
    """A training to be done; ``parameters`` are all that shape the model."""

    model_type: ModelType
    identifier: str
    config_hash: str
    experiment_name: str
    parameters: Mapping[str, object]

    def fingerprint(self) -> str:
        """Return the SHA-256 over the training, the number of compute threads and the code that trains.

        The experiment counts too, because the run is looked up there.
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
                    "source": source_digest(),
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
