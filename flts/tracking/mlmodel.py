"""The folder of an MLflow model from code whose one artifact is a bundle.

Written here and not by ``mlflow.pyfunc.save_model``, which runs the code, needs pandas and guesses requirements.
Format: https://mlflow.org/docs/latest/ml/model/#storage-format, as ``mlflow.pyfunc.load_model`` reads it.
"""

import json
import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from flts.boundary.untrusted import copy_folder
from flts.models.registry import largest_files

BUNDLE = "artifacts/bundle"


@dataclass(frozen=True)
class ModelFromCode:
    """A model to log.

    Attributes:
        bundle: Folder that becomes the artifact ``bundle``.
        code: Script that defines the model for ``mlflow.pyfunc``.
        signature: Its signature, in the form of ``ModelSignature.to_dict``.
        requirements: pip requirements for loading it.
    """

    bundle: Path
    code: Path
    signature: Mapping[str, str | None]
    requirements: Sequence[str]

    def write(self, folder: Path, *, run_id: str, model_id: str) -> None:
        """Write the model as MLflow's files into ``folder``."""
        from mlflow.version import VERSION

        shutil.copytree(self.bundle, folder / BUNDLE)
        shutil.copy(self.code, folder)
        (folder / "requirements.txt").write_text("\n".join([f"mlflow=={VERSION}", *self.requirements]) + "\n")
        description = {
            "flavors": {
                "python_function": {
                    "artifacts": {"bundle": {"path": BUNDLE, "uri": BUNDLE}},
                    "code": None,
                    "env": {"virtualenv": "python_env.yaml"},
                    "loader_module": "mlflow.pyfunc.loaders.code_model",
                    "model_code_path": self.code.name,
                    "python_version": platform.python_version(),
                    "streamable": False,
                }
            },
            "mlflow_version": VERSION,
            "model_id": model_id,
            "run_id": run_id,
            "signature": dict(self.signature),
        }
        environment = {"python": platform.python_version(), "dependencies": ["-r requirements.txt"]}
        # MLflow reads both as YAML, of which JSON is a subset.
        (folder / "MLmodel").write_text(json.dumps(description, indent=2) + "\n")
        (folder / "python_env.yaml").write_text(json.dumps(environment, indent=2) + "\n")


def local_bundle(location: str) -> Path | None:
    """Return the bundle's folder of a model on this machine, ``file:///..``; ``None`` for any other."""
    try:
        parts = urlsplit(location)
        folder = Path(unquote(parts.path)) / BUNDLE
        return folder if parts.scheme == "file" and parts.netloc in ("", "localhost") and folder.is_dir() else None
    except (ValueError, OSError):  # not an address, or not a possible name of a folder
        return None


def copy_bundle(folder: Path, destination: Path) -> Path:
    """Copy a bundle's folder into ``destination`` and return the copy.

    Raises:
        BadInputError: A file in it does not belong to a bundle, is a link, or is too large.
    """
    copy = destination / folder.name
    copy.mkdir(exist_ok=True)
    copy_folder(folder, copy, largest_files(), "model bundle")
    return copy
