"""MLflow: trainings as runs, and their model bundles.

Works with ``mlflow-skinny`` against a server, and with the whole ``mlflow`` package on ``sqlite:///file.db``. Only
``MlflowClient`` is used: the fluent interface looks for a git repository, and its ``log_model`` runs the model that it
logs and guesses its requirements, which takes seconds and needs pandas.
"""

import re
from pathlib import Path
from typing import Protocol

from flts.diagnostics.validation import shown
from flts.errors import BadInputError
from flts.tracking.mlmodel import ModelFromCode, copy_bundle, local_bundle
from flts.tracking.records import DatasetSource, LoggedModel, MetricSeries
from flts.tracking.retries import short_timeouts
from flts.tracking.runs import FINGERPRINT_TAG, Tracking

__all__ = [
    "FINGERPRINT_TAG",
    "DatasetSource",
    "LoggedModel",
    "MetricSeries",
    "ModelFromCode",
    "ModelReference",
    "Tracking",
    "download_bundle",
    "prepare",
    "short_timeouts",
]


class ModelReference(Protocol):
    """A message that names a logged model: a trained model or a promotion."""

    @property
    def model_uri(self) -> str:
        """Return ``runs:/<run_id>/<TYPE>``."""
        ...

    @property
    def artifact_uri(self) -> str | None:
        """Return the location in MLflow, if the message names it."""
        ...

    @property
    def bundle_sha256(self) -> str | None:
        """Return the digest of the bundle, if the message names it."""
        ...


def prepare(tracking_uri: str, experiment_name: str, *, wait_seconds: int | None = None) -> None:
    """Create the SQLite database and the experiment where they are missing; any number of processes may do so at once.

    Args:
        tracking_uri: MLflow's address.
        experiment_name: The experiment.
        wait_seconds: Seconds to wait for an MLflow that is away; ``None`` where the caller waits.

    Raises:
        BadInputError: The address has a scheme that FLTS does not know, or its database cannot be used.
        ServiceUnavailableError: The server cannot be reached.
    """
    Tracking(tracking_uri, wait_seconds=wait_seconds).experiment(experiment_name)


def download_bundle(
    tracking_uri: str | None, model: ModelReference, destination: Path, *, wait_seconds: int | None = None
) -> Path:
    """Fetch the bundle of a logged model; nothing of it is run, loaded or verified here.

    Args:
        tracking_uri: MLflow's address; ``None`` where none is known.
        model: Names the model. Where its ``artifact_uri`` is a folder of this machine, and it has a digest to verify
            that folder by, MLflow is not even imported.
        destination: Folder for the bundle's folder; created when missing.
        wait_seconds: Seconds to wait for an MLflow that is away; ``None`` where the caller waits.

    Returns:
        The bundle's folder.

    Raises:
        BadInputError: There is no such model, MLflow's address is missing, or the model holds no bundle: files of
            other names, links, or files that are too large.
        ServiceUnavailableError: The server cannot be reached.
    """
    matched = re.fullmatch(r"runs:/([a-zA-Z0-9][\w-]{0,255})/([\w-]{1,255})", model.model_uri, re.ASCII)
    if not matched:
        raise BadInputError(
            f"model_uri {shown(model.model_uri)} is not an MLflow model: expected runs:/<run_id>/<TYPE>"
        )
    destination.mkdir(parents=True, exist_ok=True)
    if model.bundle_sha256 and (folder := local_bundle(model.artifact_uri or "")):
        return copy_bundle(folder, destination)
    if tracking_uri is None:
        raise BadInputError(
            f"model_uri {model.model_uri} is in MLflow: --mlflow-tracking-uri (in Python, tracking_uri) must name it"
        )
    return Tracking(tracking_uri, wait_seconds=wait_seconds).download_bundle(matched[1], matched[2], destination)
