"""What a finished training hands on, and what MLflow gets of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flts.contracts import TrainedModel
from flts.tracking import DatasetSource, MetricSeries


@dataclass(frozen=True)
class TrainingOutcome:
    """What the training stage hands on: its message, its metrics, and its report as HTML."""

    message: TrainedModel
    metrics: Mapping[str, float]
    report: str


@dataclass(frozen=True)
class Publication:
    """What MLflow gets of a finished training.

    Attributes:
        outcome: What the stage hands on.
        bundle: The folder of the model bundle.
        params: Parameters of the run.
        series: Metrics over epochs.
        dataset: What was trained on.
        files: Texts beside the model, by ``/``-separated name.
    """

    outcome: TrainingOutcome
    bundle: Path
    params: Mapping[str, object]
    series: Sequence[MetricSeries]
    dataset: DatasetSource
    files: Mapping[str, str]
