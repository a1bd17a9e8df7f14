"""What is logged to MLflow, and what it keeps."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class MetricSeries:
    """A metric over epochs; the first value has step 1."""

    name: str
    values: Sequence[float]


@dataclass(frozen=True)
class DatasetSource:
    """What a run was trained on: a name, the SHA-256 of the file, where it lies, and its rows."""

    name: str
    sha256: str
    uri: str
    rows: int


@dataclass(frozen=True)
class LoggedModel:
    """A model that MLflow keeps; ``location`` is its own artifact folder, ``ready`` whether it is complete."""

    model_id: str
    location: str
    ready: bool
