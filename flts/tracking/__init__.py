"""MLflow: trainings as runs, model bundles in and out.

Works with ``mlflow-skinny`` against a server, and with the whole ``mlflow`` package on ``sqlite:///file.db``. Only
``MlflowClient`` is used: the fluent interface looks for a git repository, and its ``log_model`` runs the model that it
logs and guesses its requirements, which takes seconds and needs pandas.
"""

import re
import shutil
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from flts.errors import BadInputError
from flts.tracking.access import impatient
from flts.tracking.mlmodel import BUNDLE, ModelFromCode
from flts.tracking.runs import FINGERPRINT_TAG, DatasetSource, LoggedModel, Series, Tracking

__all__ = [
    "FINGERPRINT_TAG",
    "DatasetSource",
    "LoggedModel",
    "ModelFromCode",
    "ModelReference",
    "Series",
    "Tracking",
    "download_bundle",
    "impatient",
    "prepare",
]


class ModelReference(Protocol):
    """What names a logged model: a trained-model message or a promotion."""

    @property
    def model_uri(self) -> str:
        """``runs:/<run_id>/<TYPE>``."""
        ...


def prepare(tracking_uri: str, experiment_name: str) -> None:
    """Make the SQLite database and the experiment where they are missing; any number of processes may do so at once.

    Raises:
        BadInputError: The address is of no kind that FLTS knows, or its database cannot be used.
        ServiceUnavailableError: The server is out of reach.
    """
    Tracking(tracking_uri).experiment(experiment_name)


def download_bundle(tracking_uri: str, model: ModelReference, destination: Path) -> Path:
    """Fetch the bundle of a logged model; nothing of it is run, loaded or verified here.

    Args:
        tracking_uri: MLflow's address.
        model: Names the model. Where its ``artifact_uri`` is a folder of this machine, MLflow is not even imported.
        destination: Folder that gets the bundle's folder; made when missing.

    Returns:
        The bundle's folder.

    Raises:
        BadInputError: There is no such model, or it holds no bundle.
        ServiceUnavailableError: The server is out of reach.
    """
    destination.mkdir(parents=True, exist_ok=True)
    local = urlsplit(str(getattr(model, "artifact_uri", "")))
    if local.scheme == "file" and (folder := Path(unquote(local.path)) / BUNDLE).is_dir():
        return Path(shutil.copytree(folder, destination / folder.name, dirs_exist_ok=True))
    matched = re.fullmatch(r"runs:/([^/]+)/([^/]+)", model.model_uri)
    if not matched:
        raise BadInputError(f"model_uri {model.model_uri!r} is not an MLflow model: expected runs:/<run_id>/<TYPE>")
    return Tracking(tracking_uri).download_bundle(matched[1], matched[2], destination)
