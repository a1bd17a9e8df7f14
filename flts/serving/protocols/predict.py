"""Requests and responses of ``/predict``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_json

from flts.boundary.quantiles import parse_quantiles
from flts.boundary.untrusted import json_object
from flts.diagnostics.validation import shown
from flts.errors import BadInputError
from flts.models.bundle import Bundle
from flts.serving.forecasts import ForecastResult
from flts.serving.protocols.columns import to_history
from flts.stages.forecasting.batch import RECURSIVE, ROLLING
from flts.timeseries.frame import TIME_COLUMN
from flts.timeseries.processed import ProcessedData

DEFAULT_STEPS, MAX_STEPS = 10, 10_000
_FIELDS = ("inference_length", "data", "index_col", "quantiles")


@dataclass(frozen=True)
class PredictRequest:
    """A request for ``steps`` and ``quantiles`` from ``columns``; without columns, from the stored data."""

    steps: int
    columns: Mapping[str, Any] | None = None
    time_column: str = TIME_COLUMN
    quantiles: tuple[float, ...] = ()

    def history(self, bundle: Bundle) -> ProcessedData:
        """Return the history; raises what ``to_history`` raises."""
        return to_history(bundle, self.columns or {}, self.time_column)


def read_predict(body: bytes, steps: int | None, quantiles: str | None = None) -> PredictRequest:
    """Read the body of a request; ``steps`` and ``quantiles`` of the query take precedence over the body.

    Raises:
        BadInputError: It is not a valid body for ``/predict``.
    """
    fields = json_object(body.strip() or b"{}", "the body", "a JSON object", allow_nan=True)
    if unknown := [name for name in fields if name not in _FIELDS]:
        raise BadInputError(f"unknown field {shown(unknown[0], quoted=True)}; the fields are {', '.join(_FIELDS)}")
    data, time_column = fields.get("data"), fields.get("index_col", TIME_COLUMN)
    if data is not None and not (isinstance(data, dict) and all(isinstance(each, list) for each in data.values())):
        raise BadInputError("data must be a JSON object of columns, each a list of values")
    if not isinstance(time_column, str):
        raise BadInputError(f"index_col must be the name of the column with timestamps, got {shown(time_column)}")
    asked = choose_quantiles(quantiles, fields.get("quantiles"))
    return PredictRequest(choose_steps(steps, fields.get("inference_length")), data, time_column, asked)


def choose_steps(*asked: object) -> int:
    """Return the first number of steps that is not ``None``, or else ``DEFAULT_STEPS``.

    Raises:
        BadInputError: One of them is not a whole number or is out of bounds.
    """
    return next(iter([_check_steps(steps) for steps in asked if steps is not None]), DEFAULT_STEPS)


def choose_quantiles(*asked: object) -> tuple[float, ...]:
    """Return the quantiles, ascending, of the first text or list that is not ``None``, or else none.

    Raises:
        BadInputError: They are no quantiles.
    """
    try:
        return parse_quantiles(next((each for each in asked if each is not None), None))
    except ValueError as error:
        raise BadInputError(f"quantiles {error}") from None


def _check_steps(steps: object) -> int:
    if isinstance(steps, bool) or not isinstance(steps, int) or not 1 <= steps <= MAX_STEPS:
        raise BadInputError(
            f"inference_length must be a whole number from 1 to {MAX_STEPS}, got {shown(steps, quoted=True)}"
        )
    return steps


def render_predict(result: ForecastResult) -> bytes:
    """Return the response as JSON."""
    return to_json({"status": "SUCCESS", **result.loaded.identity, "predictions": _predictions(result)})


def _predictions(result: ForecastResult) -> list[dict[str, Any]]:
    columns = {"ts": [f"{moment.isoformat()}Z" for moment in result.forecast.time.tolist()]}
    columns |= forecast_columns(result)
    columns["mode"] = [RECURSIVE if recursive else ROLLING for recursive in result.forecast.recursive.tolist()]
    return records(columns)


def records(columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Convert columns of equal length into one dictionary per row."""
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def forecast_columns(result: ForecastResult) -> dict[str, list[Any]]:
    """Return the values of every target, then their bounds and quantiles, in original units."""
    targets = result.loaded.bundle.forecaster.targets
    columns: dict[str, list[Any]] = dict(zip(targets, result.forecast.values.T.tolist(), strict=True))
    if result.bounds:
        columns |= {name: values.tolist() for name, values in result.bounds.columns(targets).items()}
    return columns
