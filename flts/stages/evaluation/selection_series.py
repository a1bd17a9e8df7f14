"""Forecasts of the selection part, which trainings keep as ``selection.json``, matched with the rows of the data.

They were made before any refit, so they are honest for rows that a refitted model has learned from since. A file that
cannot be used is a ``BadInputError`` that says why.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flts.contracts import Promotion, TrainedModel
from flts.errors import BadInputError
from flts.models.bundle import Bundle
from flts.stage_interface import Context
from flts.stages.evaluation.candidates import Candidate
from flts.stages.inputs import is_path
from flts.stages.selection import SELECTION_FILE, SelectionForecasts
from flts.timeseries.arrays import Flags, Floats, Indices
from flts.timeseries.frame import GAP_FACTOR
from flts.timeseries.metrics import score, target_range
from flts.timeseries.processed import ProcessedData

# The largest relative difference between two computations of one score, and between two readings of one value.
_SCORE_TOLERANCE, _VALUE_TOLERANCE = 1e-6, 1e-9


@dataclass(frozen=True)
class SelectionSeries:
    """One-step forecasts of a model: row numbers (k,) of the data, and (k, targets) in original units."""

    origins: Indices
    predicted: Floats


def read_challenger(winner: Candidate, data: ProcessedData, context: Context) -> SelectionSeries:
    """Read the winner's forecasts of the rows that it was scored on, and check that they give its scores."""
    found, source = _read(winner.message, winner.selection_path, context)
    row, shared = _rows_at(found, data)
    if set(found.predicted) != set(data.targets) or not shared.all():
        raise BadInputError(f"{source} holds forecasts of other rows or targets than training_data")
    predicted = found.matrix(data.targets)
    _check_scores(data.actual_matrix()[row], predicted, target_range(data), winner.scores.composite, source)
    return SelectionSeries(row, predicted)


def read_champion(champion: Promotion, loaded: Bundle, data: ProcessedData, context: Context) -> SelectionSeries:
    """Read the champion's forecasts of the rows that ``data`` holds too: same time, same measured values.

    Args:
        champion: The promotion that is in production.
        loaded: Its model.
        data: The challenger's training data; often not the data that the champion was trained on.
        context: Where MLflow is.
    """
    found, source = _read(champion, Path(champion.model_uri).parent / SELECTION_FILE, context)
    if set(found.predicted) != set(data.targets):
        raise BadInputError(f"{source} holds forecasts of {', '.join(found.predicted)}, not {', '.join(data.targets)}")
    here, trained = data.sampling_seconds, loaded.config.sampling_seconds
    if max(here, trained) > GAP_FACTOR * min(here, trained):
        raise BadInputError(f"{source} holds a forecast every {trained:g} s, but the data has a row every {here:g} s")
    row, shared = _rows_at(found, data)
    measured_here = data.actual_matrix()[row]
    if found.actual:
        measured = found.matrix(data.targets, actual=True)
    elif champion.config_hash == data.config_hash and shared.all():
        measured = measured_here
    else:
        raise BadInputError(
            f"{source} does not hold the measured values, because an older version wrote it, and it is about other data"
        )
    predicted = found.matrix(data.targets)
    unit = np.array([loaded.config.target_range[name] for name in data.targets])
    _check_scores(measured, predicted, unit, champion.composite_score, source)
    same = np.isclose(measured, measured_here, rtol=_VALUE_TOLERANCE, atol=0, equal_nan=True).all(axis=1)
    if shared.any() and not (shared & same).any():
        raise BadInputError(f"{source} holds other measured values at all {shared.sum()} times that the data holds too")
    return SelectionSeries(row[shared & same], predicted[shared & same])


def _read(message: TrainedModel | Promotion, path: Path, context: Context) -> tuple[SelectionForecasts, str]:
    """Return the content of a model's ``selection.json``, and a name for the file in sentences."""
    model, run_id = message.model_type, message.run_id
    if is_path(message.model_uri):
        if not path.is_file():
            raise BadInputError(f"{path} is missing: the training of {model} writes it next to the model")
        return SelectionForecasts.parse(path.read_bytes(), source=str(path)), str(path)
    if not context.tracking_uri:
        raise BadInputError(f"the forecasts of {model} are in MLflow: --mlflow-tracking-uri must name its address")
    from flts.tracking import Tracking

    tracking = Tracking(context.tracking_uri, wait_seconds=context.wait_seconds)
    texts = tracking.read_artifacts(run_id, (SELECTION_FILE,)) if tracking.status(run_id) else {}
    if SELECTION_FILE not in texts:
        raise BadInputError(f"run {run_id} of {model} has no {SELECTION_FILE}: an older version trained it")
    source = f"{SELECTION_FILE} of run {run_id}"
    return SelectionForecasts.parse(texts[SELECTION_FILE], source=source), source


def _rows_at(found: SelectionForecasts, data: ProcessedData) -> tuple[Indices, Flags]:
    """Return (k,) the row of each time, and whether the data holds that time at all."""
    row = np.minimum(np.searchsorted(data.frame.time, found.time), len(data) - 1).astype(np.int64)
    return row, data.frame.time[row] == found.time


def _check_scores(actual: Floats, predicted: Floats, unit: Floats, reported: float, source: str) -> None:
    composite = score(actual, predicted, unit=unit).composite
    if not np.isclose(composite, reported, rtol=_SCORE_TOLERANCE):
        raise BadInputError(f"{source} gives the composite score {composite:.6g}, but {reported:.6g} was reported")
