"""The parts of a publication that come from the training data and the report."""

from pathlib import Path

from flts.boundary.files import sha256_file
from flts.boundary.untrusted import json_object
from flts.contracts import canonical_json
from flts.report.data import TrainingReport
from flts.report.pages import training_plots
from flts.stage_interface import InputArtifact
from flts.timeseries.processed import ProcessedData
from flts.tracking import DatasetSource

SCALER_FILE = "scaler/scaler.json"


def dataset_source(artifact: InputArtifact, path: Path, data: ProcessedData) -> DatasetSource:
    """Describe training data for MLflow.

    Args:
        artifact: The input artifact.
        path: The file with the data.
        data: Its content.
    """
    named = f"preprocess_config in {path}"
    config = json_object(data.config_json, named, "a configuration") if data.config_json else {}
    return DatasetSource(
        name=str(config.get("dataset_name") or path.stem),
        sha256=sha256_file(path),
        uri=artifact.uri or path.resolve().as_uri(),
        rows=len(data),
    )


def run_files(data: ProcessedData, report: TrainingReport) -> dict[str, str]:
    """Return the texts that an MLflow run gets beside its model: plots, the scaler, the preprocessing configuration."""
    files = {f"plots/{name}": text for name, text in training_plots(report).items()}
    files[SCALER_FILE] = scaler_json(data)
    if data.config_json:
        files["preprocess_config.json"] = data.config_json
    return files


def scaler_json(data: ProcessedData) -> str:
    """Return the scaler as canonical JSON."""
    return f"{canonical_json(data.scaler.to_dict())}\n"
