"""What ``/predict`` takes and answers with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_json

from flts.boundary.untrusted import json_object
from flts.diagnostics.validation import shown
from flts.errors import BadInputError
from flts.models.bundle import Bundle
from flts.serving.forecasts import ForecastResult
from flts.serving.protocols.columns import history_of
from flts.stages.forecasting.batch import RECURSIVE, ROLLING
from flts.timeseries.frame import TIME_COLUMN
from flts.timeseries.processed import ProcessedData

DEFAULT_STEPS, MOST_STEPS = 10, 10_000
_FIELDS = ("inference_length", "data", "index_col")


@dataclass(frozen=True)
class PredictRequest:
    """How many steps to forecast, and from which columns; ``None``: from the stored data."""

    steps: int
    columns: Mapping[str, Any] | None = None
    time_column: str = TIME_COLUMN

    def history(self, bundle: Bundle) -> ProcessedData:
        """Return the history; errors as of ``history_of``."""
        return history_of(bundle, self.columns or {}, self.time_column)


def read_question(body: bytes, steps: int | None) -> PredictRequest:
    """Read the body of a request; ``steps`` wins over what it says.

    Raises:
        BadInputError: It is not what ``/predict`` takes.
    """
    fields = json_object(body.strip() or b"{}", "the body", "a JSON object", allow_nan=True)
    if unknown := [name for name in fields if name not in _FIELDS]:
        raise BadInputError(f"field {shown(unknown[0], quoted=True)} is not expected: {', '.join(_FIELDS)} are")
    data, time_column = fields.get("data"), fields.get("index_col", TIME_COLUMN)
    if data is not None and not (isinstance(data, dict) and all(isinstance(each, list) for each in data.values())):
        raise BadInputError("data must be a JSON object of columns, each a list of values")
    if not isinstance(time_column, str):
        raise BadInputError(f"index_col must be the name of the column of timestamps, got {shown(time_column)}")
    return PredictRequest(choose_steps(steps, fields.get("inference_length")), data, time_column)


def choose_steps(*asked: object) -> int:
    """Return the first of the numbers of steps that is given, ``DEFAULT_STEPS`` where none is.

    Raises:
        BadInputError: One of them is no number of steps, or out of bounds.
    """
    return next(iter([_check_steps(steps) for steps in asked if steps is not None]), DEFAULT_STEPS)


def _check_steps(steps: object) -> int:
    if isinstance(steps, bool) or not isinstance(steps, int) or not 1 <= steps <= MOST_STEPS:
        raise BadInputError(
            f"inference_length must be a whole number from 1 to {MOST_STEPS}, got {shown(steps, quoted=True)}"
        )
    return steps


def render_answer(made: ForecastResult) -> bytes:
    """Return the answer as JSON."""
    return to_json({"status": "SUCCESS", **made.loaded.identity, "predictions": _predictions(made)})


def _predictions(made: ForecastResult) -> list[dict[str, Any]]:
    columns = {"ts": [f"{moment.isoformat()}Z" for moment in made.forecast.time.tolist()]}
    columns |= forecast_columns(made)
    columns["mode"] = [RECURSIVE if recursive else ROLLING for recursive in made.forecast.recursive.tolist()]
    return records(columns)


def records(columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Turn columns, which are as long as each other, into one document a row."""
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def forecast_columns(made: ForecastResult) -> dict[str, list[Any]]:
    """Return the values of every target, then their bounds, in original units."""
    targets = made.loaded.bundle.forecaster.targets
    columns: dict[str, list[Any]] = dict(zip(targets, made.forecast.values.T.tolist(), strict=True))
    if made.bounds:
        for name, lower, upper in zip(targets, made.bounds.lower.T, made.bounds.upper.T, strict=True):
            bounds = {f"{name}_lower": lower.tolist(), f"{name}_upper": upper.tolist()}
            columns |= {bound: values for bound, values in bounds.items() if bound not in targets}
    return columns
