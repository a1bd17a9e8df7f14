"""Candidates: the models and metrics of the trainers, checked to be comparable."""

import math
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import fields as dataclass_fields
from datetime import datetime
from pathlib import Path
from typing import Any

from flts.boundary.untrusted import json_object, read_document
from flts.contracts import ModelType, TrainedModel, past_moment
from flts.diagnostics.validation import shown
from flts.errors import BadInputError
from flts.models.registry import TRAINED_MODELS, ModelEntry
from flts.stage_interface import Context
from flts.stages.inputs import read_trained, required_input
from flts.stages.selection import SELECTION_FILE
from flts.timeseries.baseline import Baseline
from flts.timeseries.metrics import Scores

BASELINES: Mapping[Baseline, str] = {
    Baseline.PERSISTENCE: "persistence",
    Baseline.EXPONENTIAL_SMOOTHING: "exponential smoothing",
    Baseline.LINEAR: "the linear model",
}
# Trainers of older versions did not score it.
NEWER_BASELINES = frozenset({Baseline.EXPONENTIAL_SMOOTHING})
_SCORES = tuple(field.name for field in dataclass_fields(Scores))


@dataclass(frozen=True)
class Candidate:
    """A trained model with the metrics that decide about it.

    Attributes:
        message: The trainer's message.
        metrics_path: The file with its metrics.
        selection_path: The file in which a training without MLflow keeps its forecasts of the selection part.
        scores: On the selection part, in min-max units; NaN where one is missing.
        baselines: Scores of the baselines on the same rows, as far as the metrics have them.
        coverage: Share of measured values inside its intervals; ``None`` where it has none.
        experiment: MLflow experiment of its run.
        rows: How many rows were scored, if known.
    """

    message: TrainedModel
    metrics_path: Path
    selection_path: Path
    scores: Scores
    baselines: Mapping[str, Scores]
    coverage: float | None
    experiment: str
    rows: int | None = None

    @property
    def name(self) -> ModelType:
        """Its model type."""
        return self.message.model_type

    @property
    def trained_at(self) -> datetime:
        """The end of its training; ``BadInputError`` where the message has none, or one in the future."""
        message = self.message
        return past_moment(message.train_end, f"{message.model_type} (run {message.run_id}): train_end")

    @property
    def valid(self) -> bool:
        """True if its scores are finite numbers, so that it can win."""
        return _valid(self.scores)


def read_candidates(context: Context, model_types: Collection[ModelType]) -> list[Candidate]:
    """Read the models and metrics of the trainers, in the order in which ties are broken.

    Args:
        context: The input artifacts.
        model_types: The types to read; none: all that are required, and those of the optional ones that were given.

    Raises:
        BadInputError: One is missing or not finished, is of another type than its input, or has the metrics of another.
    """
    return [
        _candidate(context, model)
        for model in TRAINED_MODELS.values()
        if (model.model_type in model_types if model_types else not model.optional or _given(context, model.slot))
    ]


def common_config_hash(expected: str, candidates: Sequence[Candidate]) -> str:
    """Return the one ``config_hash`` of all candidates; ``BadInputError`` if they were trained on different data."""
    expected = expected or candidates[0].message.config_hash
    for candidate in candidates:
        if candidate.message.config_hash != expected:
            raise BadInputError(
                f"{candidate.name} was trained on data with config_hash {candidate.message.config_hash}, "
                f"but {expected} is expected of all candidates"
            )
    return expected


def _given(context: Context, slot: str) -> bool:
    """Tell whether an optional model was given; ``BadInputError`` if only one of its two inputs was."""
    model, metrics = f"{slot}_model", f"{slot}_metrics"
    if (model in context.inputs) is not (metrics in context.inputs):
        given, missing = (model, metrics) if model in context.inputs else (metrics, model)
        raise BadInputError(f"input {missing} is missing: {given} was given, and eval needs both or neither")
    return model in context.inputs


def _candidate(context: Context, expected: ModelEntry) -> Candidate:
    slot = expected.slot
    model, metrics = required_input(context, f"{slot}_model"), required_input(context, f"{slot}_metrics")
    message = read_trained(model)
    if message.model_type != expected.model_type:
        raise BadInputError(
            f"{slot}_model ({model.path}) is a {message.model_type} model: {expected.model_type} is expected"
        )
    fields = read_metrics(metrics.path)
    scores = _scores(fields, "", metrics.path)
    for name, reported in (("rmse", message.test_rmse), ("mae", message.test_mae), ("mse", message.test_mse)):
        measured = getattr(scores, name)
        if reported is not None and math.isfinite(measured) and not math.isclose(reported, measured, rel_tol=1e-6):
            raise BadInputError(
                f"{slot}_metrics ({metrics.path}) do not belong to {slot}_model ({model.path}): "
                f"test_{name} is {measured} in one, {reported} in the other"
            )
    baselines = {name: _scores(fields, f"{name}_", metrics.path) for name in Baseline}
    experiment = message.experiment or model.metadata.get("experiment") or "flts"
    return Candidate(
        message=message,
        metrics_path=metrics.path,
        selection_path=model.path.parent / SELECTION_FILE,
        scores=scores,
        baselines={name: scores for name, scores in baselines.items() if _valid(scores)},
        coverage=coverage if isinstance(coverage := fields.get("interval_coverage"), float) else None,
        experiment=str(experiment),
        rows=int(rows) if isinstance(rows := fields.get("scored_rows"), float) and math.isfinite(rows) else None,
    )


def read_metrics(path: Path) -> dict[str, Any]:
    """Read the metrics file of a trainer; ``BadInputError`` where it is something else."""
    return json_object(read_document(path, "metrics file"), str(path), "a metrics file", allow_nan=True)


def _scores(fields: Mapping[str, Any], prefix: str, path: Path) -> Scores:
    """Take the scores of a model or baseline from a metrics file; a missing one or ``null`` is NaN."""
    values = {name: fields.get(f"{prefix}test_{name}") for name in _SCORES}
    for name, value in values.items():
        too_large = isinstance(value, int) and abs(value) > sys.float_info.max
        if isinstance(value, bool) or not isinstance(value, int | float | None) or too_large:
            raise BadInputError(f"{path}: field '{prefix}test_{name}' is {shown(value)}, a number is expected")
    return Scores(**{name: math.nan if value is None else float(value) for name, value in values.items()})


def _valid(scores: Scores) -> bool:
    return all(math.isfinite(value) and value >= 0 for value in (scores.rmse, scores.mae, scores.mse))
