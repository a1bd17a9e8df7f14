"""The champion, which is in production, as one more candidate: scored where it has not learned, beside the winner.

Whatever keeps the two from being compared is a ``BadInputError`` that says so in a sentence.
"""

import tempfile
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path

import numpy as np

from flts.contracts import Promotion, parse_timestamp
from flts.errors import BadInputError
from flts.models.bundle import Bundle
from flts.models.forecasting import one_step
from flts.stage_interface import Context
from flts.stages.evaluation.candidates import Candidate
from flts.stages.inputs import is_path, load_selected, read_dataset, required_input, with_time_features
from flts.stages.selection import SELECTION_FILE, SelectionForecasts
from flts.timeseries.arrays import Floats, Indices, Times
from flts.timeseries.metrics import Scores, score, target_range
from flts.timeseries.processed import ProcessedData
from flts.timeseries.windows import forecast_origins

LEAST_ROWS = 50
# As far as two computations of one score differ.
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class SameRowScores:
    """Scores of champion and challenger on the same ``rows`` rows, in min-max units of the challenger's fit part."""

    champion: Scores
    challenger: Scores
    rows: int


@dataclass(frozen=True)
class SelectionSeries:
    """What a candidate forecast before it was refitted: row numbers (k,), and (k, targets) in original units."""

    origins: Indices
    predicted: Floats


def read_data(context: Context, config_hash: str) -> ProcessedData:
    """Read the training data.

    Raises:
        BadInputError: It cannot be read, or is not what the candidates were trained on.
    """
    artifact = required_input(context, "training_data")
    data = read_dataset(artifact, context.store, context.work_dir)[1]
    if data.config_hash != config_hash:
        raise BadInputError(
            f"training_data ({artifact.path}) has config_hash {data.config_hash}, but the candidates were trained on "
            f"{config_hash}"
        )
    return data


def read_forecasts(winner: Candidate, data: ProcessedData, context: Context) -> SelectionSeries:
    """Read what the winner forecast for the rows that it was scored on, and hold it to its scores."""
    text, source = _selection(winner, context)
    found = SelectionForecasts.parse(text, source=source)
    row = np.minimum(np.searchsorted(data.frame.time, found.time), len(data) - 1)
    if set(found.predicted) != set(data.targets) or not np.array_equal(data.frame.time[row], found.time):
        raise BadInputError(f"{source} holds forecasts of other rows or targets than training_data")
    predicted = np.stack([found.predicted[name] for name in data.targets], axis=1)
    scores = score(data.actual_matrix()[row], predicted, unit=target_range(data))
    if not np.isclose(scores.composite, winner.scores.composite, rtol=_TOLERANCE):
        raise BadInputError(
            f"{source} gives {winner.name} the composite score {scores.composite:.6g}, its metrics "
            f"{winner.scores.composite:.6g}"
        )
    return SelectionSeries(row.astype(np.int64), predicted)


def load_champion(champion: Promotion, data: ProcessedData, context: Context) -> Bundle:
    """Fetch and verify the champion, and make sure that it can forecast the data."""
    folder = Path(tempfile.mkdtemp(prefix="champion-", dir=context.work_dir))
    loaded = load_selected(champion, context.tracking_uri, folder, wait_seconds=context.wait_seconds)
    forecaster = loaded.forecaster
    known = with_time_features(data, forecaster.features).features
    lacking = [name for name in (*forecaster.features, *forecaster.targets) if name not in known]
    if lacking:
        raise BadInputError(f"the data lacks its columns {', '.join(dict.fromkeys(lacking))}")
    if set(forecaster.targets) != set(data.targets):
        raise BadInputError(f"it forecasts {', '.join(forecaster.targets)}, not {', '.join(data.targets)}")
    return loaded


def compare(champion: Bundle, data: ProcessedData, challenger: SelectionSeries) -> SameRowScores:
    """Score champion and challenger on the rows that neither has learned from.

    Args:
        champion: What is in production.
        data: The challenger's training data.
        challenger: Its forecasts of the rows that it was scored on.
    """
    forecaster = champion.forecaster
    later = data.frame.time[challenger.origins] > _trained_until(champion)
    whole = forecast_origins(data.gap_before(), 0, len(data), forecaster.input_seq_len)
    chosen = later & np.isin(challenger.origins, whole)
    rows = challenger.origins[chosen]
    actual, unit = data.actual_matrix()[rows], target_range(data)
    measured = int((~np.isnan(actual)).any(axis=1).sum())
    if measured < LEAST_ROWS:
        raise BadInputError(
            f"only {measured} rows of the selection part are later than what it was trained on, {LEAST_ROWS} are needed"
        )
    predicted = one_step(forecaster, with_time_features(data, forecaster.features), rows)
    scores = score(actual, predicted[:, [forecaster.targets.index(name) for name in data.targets]], unit=unit)
    if not np.isfinite(scores.composite):
        raise BadInputError("it forecasts values that are not finite numbers")
    return SameRowScores(scores, score(actual, challenger.predicted[chosen], unit=unit), measured)


def _selection(winner: Candidate, context: Context) -> tuple[str, str]:
    """Return the text of the winner's ``selection.json``, and where it lies."""
    run_id = winner.message.run_id
    if is_path(winner.message.model_uri):
        path = winner.selection_path
        if not path.is_file():
            raise BadInputError(f"{path} is missing: {winner.name}'s training writes it beside its model")
        return path.read_text(encoding="utf-8"), str(path)
    if not context.tracking_uri:
        raise BadInputError(f"{winner.name}'s forecasts lie in MLflow: --mlflow-tracking-uri must name its address")
    from flts.tracking import Tracking

    tracking = Tracking(context.tracking_uri, wait_seconds=context.wait_seconds)
    texts = tracking.read_artifacts(run_id, (SELECTION_FILE,)) if tracking.status(run_id) else {}
    if SELECTION_FILE not in texts:
        raise BadInputError(f"{winner.name}'s run {run_id} has no {SELECTION_FILE}: an older version trained it")
    return texts[SELECTION_FILE], f"{SELECTION_FILE} of run {run_id}"


def _trained_until(champion: Bundle) -> Times:
    text = champion.config.trained_until
    if text is None:
        raise BadInputError("its bundle does not say until when it was trained: an older version made it")
    try:
        moment = parse_timestamp(text)
    except ValueError:
        raise BadInputError(f"its bundle has trained_until {text!r}, which is not a time") from None
    return np.array(moment.astimezone(UTC).replace(tzinfo=None), dtype="datetime64[us]")
