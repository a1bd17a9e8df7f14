"""The steps of a training: fit on the fit part, score on the selection part, refit, bundle."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path

import numpy as np

from flts.contracts import ModelType, utc_timestamp
from flts.models import bundle
from flts.models.base import FitResult
from flts.models.intervals import Intervals
from flts.models.registry import MODELS
from flts.params import TrainerParams
from flts.progress import Progress, part_of
from flts.stages.training.scoring import SelectionEvaluation, evaluate
from flts.timeseries.arrays import Indices
from flts.timeseries.processed import ProcessedData

# Progress of a training after each of its steps.
FITTED, REFITTED = 0.75, 0.9
_LOADED, _SCORED, _MEASURED = 0.05, 0.77, 0.8


@dataclass(frozen=True)
class FittedModel:
    """A model that is fitted, scored and bundled.

    Attributes:
        fit: The result of the fit.
        evaluation: Its scores on the selection part.
        coverage: Share of the selection part within its intervals; see ``Intervals.coverage``.
        bundle: The folder of its bundle.
        start: Timestamp of the beginning of the training.
        end: Timestamp of its end.
        trained_until: Timestamp of the last row that it was trained on.
    """

    fit: FitResult
    evaluation: SelectionEvaluation
    coverage: float
    bundle: Path
    start: str
    end: str
    trained_until: str

    @property
    def metrics(self) -> Mapping[str, float]:
        """Return every finite figure by its metric name."""
        metrics = self.evaluation.metrics() | {"interval_coverage": self.coverage}
        if self.fit.train_loss:
            metrics |= {"best_epoch": self.fit.best_epoch, "epochs_run": len(self.fit.train_loss)}
        return {name: value for name, value in metrics.items() if math.isfinite(value)}

    @property
    def notes(self) -> tuple[str, ...]:
        """Return remarks for people on the result."""
        if "test_rmse" in self.metrics:
            return ()
        return (f"{self.fit.forecaster.model_type} forecasts values that are not finite, and cannot be promoted",)


def train(
    model_type: ModelType,
    data: ProcessedData,
    params: TrainerParams,
    origins: Indices,
    folder: Path,
    progress: Progress,
) -> FittedModel:
    """Train a model.

    Args:
        model_type: The type of the model.
        data: Training data.
        params: Parameters of the training.
        origins: (k,) rows of the selection part to score.
        folder: The folder for the bundle.
        progress: Called with the progress, up to ``REFITTED``.

    Raises:
        BadInputError: The data does not suit the model, or the training diverged.
    """
    start = utc_timestamp()
    fit = MODELS[model_type].fit(data, params, part_of(progress, _LOADED, FITTED))
    progress(FITTED, f"scoring {len(origins)} rows")
    evaluation = evaluate(fit.forecaster, data, params, origins, fit.plain)
    progress(_SCORED, f"measuring intervals of {params.interval_level:.0%}")
    intervals = _intervals(fit, data, evaluation, params.interval_level)
    forecaster = fit.forecaster
    if params.refit:
        # The model that is kept has seen every row; the one that was scored has not, so that the scores are honest.
        forecaster = fit.refit(part_of(progress, _MEASURED, REFITTED))
    # The validation part counts: it chose the epoch, or the strength of a correction.
    rows = len(data) if params.refit else data.parts.validation_end
    trained_until = utc_timestamp(data.frame.time[rows - 1].item().replace(tzinfo=UTC))
    learned = evaluation.baselines
    bundle.save(folder, forecaster, data, trained_until=trained_until, intervals=intervals, baselines=learned)
    coverage = intervals.coverage(data, evaluation.predicted, origins) if intervals else math.nan
    return FittedModel(fit, evaluation, coverage, folder, start=start, end=utc_timestamp(), trained_until=trained_until)


def _intervals(fit: FitResult, data: ProcessedData, evaluation: SelectionEvaluation, level: float) -> Intervals | None:
    """Calibrate the intervals; none where a forecast is not finite, or a target has no score."""
    scored = ~np.isnan(evaluation.actual)
    if not np.isfinite(evaluation.predicted).all() or not scored.any(axis=0).all():
        return None
    return Intervals.learn(fit.forecaster, data, evaluation.predicted, evaluation.origins, level)
