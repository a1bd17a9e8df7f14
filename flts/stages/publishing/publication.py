"""The output of a finished training, and what is logged to MLflow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flts.contracts import TrainedModel
from flts.tracking import DatasetSource, MetricSeries


@dataclass(frozen=True)
class TrainingOutcome:
    """The output of the training stage: its message, its metrics, and its report as HTML."""

    message: TrainedModel
    metrics: Mapping[str, float]
    report: str


@dataclass(frozen=True)
class Publication:
    """The content of a finished training's MLflow run.

    Attributes:
        outcome: The output of the stage.
        bundle: The folder of the model bundle.
        params: Parameters of the run.
        series: Metrics over epochs.
        dataset: The training data.
        files: Texts that are logged with the model, by ``/``-separated name.
    """

    outcome: TrainingOutcome
    bundle: Path
    params: Mapping[str, object]
    series: Sequence[MetricSeries]
    dataset: DatasetSource
    files: Mapping[str, str]
