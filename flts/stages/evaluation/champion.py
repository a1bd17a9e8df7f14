"""The comparison of the winner with the champion, which is in production, on rows that shaped neither of them.

An obstacle to the comparison is a ``BadInputError`` that says so in a sentence.
"""

import tempfile
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path

import numpy as np

from flts.contracts import Promotion, parse_timestamp
from flts.datafiles.times import show_time
from flts.errors import BadInputError
from flts.models.bundle import Bundle
from flts.models.forecasting import one_step
from flts.stage_interface import Context
from flts.stages.evaluation.selection_series import SelectionSeries, read_champion
from flts.stages.inputs import load_selected, with_time_features
from flts.stages.selection import SELECTION_FILE
from flts.timeseries.arrays import Flags, Floats, Indices, Times
from flts.timeseries.metrics import Scores, score, target_range
from flts.timeseries.processed import ProcessedData
from flts.timeseries.windows import forecast_origins

LEAST_ROWS = 50


@dataclass(frozen=True)
class SameRowScores:
    """Scores of champion and challenger on the same rows, in min-max units of the challenger's fit part.

    Attributes:
        champion: The champion's.
        challenger: The challenger's.
        rows: How many rows were scored.
        later: How many of them are later than what the champion was trained on: it forecast them for this comparison.
            The others it forecast during its training, before it was refitted.
        first: When the first row is.
        last: When the last row is.
    """

    champion: Scores
    challenger: Scores
    rows: int
    later: int
    first: np.datetime64
    last: np.datetime64

    @property
    def provenance(self) -> str:
        """The time span of the rows, and when the champion forecast them, as the end of a sentence."""
        made = {
            "in its training, before any refit": self.rows - self.later,
            "now, because they are later than its training data": self.later,
        }
        parts = [f"{'all' if count == self.rows else count} of them {when}" for when, count in made.items() if count]
        span = f"from {show_time(self.first)} to {show_time(self.last)}"
        return f"the rows are {span}, and the champion forecast {', and '.join(parts)}"


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


def compare(
    champion: Promotion, loaded: Bundle, data: ProcessedData, challenger: SelectionSeries, context: Context
) -> SameRowScores:
    """Score champion and challenger on the rows of the selection part that shaped neither of them.

    These are the rows later than what the champion was trained on, which it forecasts here, and those that its training
    forecast before the refit and that are the same in both data.

    Args:
        champion: The promotion that is in production.
        loaded: Its model.
        data: The challenger's training data.
        challenger: The challenger's forecasts of the rows that it was scored on, from before its refit.
        context: Where MLflow is, which may keep the champion's forecasts.
    """
    later, remarks = _forecast_later(loaded, data, challenger.origins)
    kept = SelectionSeries(later.origins[:0], later.predicted[:0])
    if len(later.origins) < len(challenger.origins):
        try:
            kept = read_champion(champion, loaded, data, context)
            shared = int(np.isin(kept.origins, challenger.origins).sum())
            remarks.append(f"its {SELECTION_FILE} holds forecasts of {shared} of the same rows")
        except BadInputError as error:
            remarks.append(str(error))
    earlier = ~np.isin(kept.origins, later.origins)
    origins = np.concatenate([later.origins, kept.origins[earlier]])
    predicted = np.concatenate([later.predicted, kept.predicted[earlier]])
    rows, ours, theirs = np.intersect1d(challenger.origins, origins, return_indices=True)
    actual, unit = data.actual_matrix()[rows], target_range(data)
    measured = _measured(actual)
    count = int(measured.sum())
    if count < LEAST_ROWS:
        raise BadInputError(
            f"only {count} rows that shaped neither are known, {LEAST_ROWS} are needed: {'; '.join(remarks)}"
        )
    scores = score(actual, predicted[theirs], unit=unit)
    if not np.isfinite(scores.composite):
        raise BadInputError("it forecasts values that are not finite numbers")
    return SameRowScores(
        champion=scores,
        challenger=score(actual, challenger.predicted[ours], unit=unit),
        rows=count,
        later=int(np.isin(rows[measured], later.origins).sum()),
        first=data.frame.time[rows[measured][0]],
        last=data.frame.time[rows[measured][-1]],
    )


def _forecast_later(loaded: Bundle, data: ProcessedData, origins: Indices) -> tuple[SelectionSeries, list[str]]:
    """Forecast those of ``origins`` that are later than what the champion was trained on; also says how many are."""
    forecaster = loaded.forecaster
    whole = forecast_origins(data.gap_before(), 0, len(data), forecaster.input_seq_len)
    rows, remarks = origins[:0], []
    try:
        rows = origins[(data.frame.time[origins] > _trained_until(loaded)) & np.isin(origins, whole)]
        count = int(_measured(data.actual_matrix()[rows]).sum())
        remarks.append(f"{count} rows of the selection part are later than what it was trained on")
    except BadInputError as error:
        remarks.append(str(error))
    if not len(rows):
        return SelectionSeries(rows, np.empty((0, len(data.targets)))), remarks
    predicted = one_step(forecaster, with_time_features(data, forecaster.features), rows)
    return SelectionSeries(rows, predicted[:, [forecaster.targets.index(name) for name in data.targets]]), remarks


def _measured(actual: Floats) -> Flags:
    return np.asarray((~np.isnan(actual)).any(axis=1))


def _trained_until(champion: Bundle) -> Times:
    text = champion.config.trained_until
    if text is None:
        raise BadInputError("its bundle does not say until when it was trained: an older version made it")
    try:
        moment = parse_timestamp(text)
    except ValueError:
        raise BadInputError(f"its bundle has trained_until {text!r}, which is not a time") from None
    return np.array(moment.astimezone(UTC).replace(tzinfo=None), dtype="datetime64[us]")
