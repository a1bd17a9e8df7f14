"""Records that are logged to MLflow, and that it returns."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class MetricSeries:
    """A metric over epochs; the first value has step 1."""

    name: str
    values: Sequence[float]


@dataclass(frozen=True)
class DatasetSource:
    """The training data of a run: a name, the SHA-256 of the file, its address, and its number of rows."""

    name: str
    sha256: str
    uri: str
    rows: int


@dataclass(frozen=True)
class LoggedModel:
    """A model in MLflow; ``location`` is its artifact folder, ``ready`` is true when it is complete."""

    model_id: str
    location: str
    ready: bool
