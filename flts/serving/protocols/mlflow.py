"""MLflow's scoring protocol, also used by SageMaker: ``/invocations``, ``/ping``, ``/version``.

Clients send a history as JSON (``dataframe_split`` or ``dataframe_records``) or as CSV, and get records back. See
https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally/#inference-server-specification
"""

import io
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import pyarrow as pa
from pyarrow import csv
from pydantic_core import to_json

from flts.boundary.untrusted import json_object
from flts.datafiles.arrow import is_number
from flts.diagnostics.validation import shown
from flts.errors import BadInputError
from flts.serving.forecasts import ForecastResult
from flts.serving.protocols.columns import Column
from flts.serving.protocols.predict import PredictRequest, choose_quantiles, choose_steps, forecast_columns, records
from flts.timeseries.frame import TIME_COLUMN
from flts.web.errors import HttpError

_JSON, _CSV = "application/json", "text/csv"
_FORMATS = ("dataframe_split", "dataframe_records")


def read_invocation(
    body: bytes, steps: int | None, quantiles: str | None = None, *, content_type: str
) -> PredictRequest:
    """Read the body of a request; ``steps`` and ``quantiles`` take precedence over the body's own parameters.

    Raises:
        HttpError: 415 for an unsupported content type.
        BadInputError: The body is not valid for its content type.
    """
    mime = content_type.partition(";")[0].strip().lower()
    if mime == _CSV:
        return PredictRequest(choose_steps(steps), _from_csv(body), quantiles=choose_quantiles(quantiles))
    if mime != _JSON:
        raise HttpError(415, f"Content-Type must be {_JSON} or {_CSV}, got {shown(content_type, quoted=True)}")
    fields = json_object(body, "the body", "a JSON object", allow_nan=True)
    found = [name for name in _FORMATS if name in fields]
    if len(found) != 1:
        raise BadInputError(f"the body must have exactly one of the fields {' and '.join(_FORMATS)}")
    columns = _from_split(fields[found[0]]) if found == ["dataframe_split"] else _from_records(fields[found[0]])
    params = fields.get("params") or {}
    if not isinstance(params, dict):
        raise BadInputError(f"params must be a JSON object, got {shown(params)}")
    asked = choose_quantiles(quantiles, params.get("quantiles"))
    return PredictRequest(choose_steps(steps, params.get("inference_length")), columns, quantiles=asked)


def render_invocation(result: ForecastResult) -> bytes:
    """Return the response as JSON, one record per step, as MLflow renders the table of the model's pyfunc."""
    columns = {
        TIME_COLUMN: [moment.isoformat() for moment in result.forecast.time.tolist()],
        **forecast_columns(result),
    }
    return to_json({"predictions": records(columns)})


def mlflow_version() -> str:
    """Return the version of the installed MLflow."""
    for name in ("mlflow-skinny", "mlflow"):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return "unknown"


def _from_split(split: Any) -> Mapping[str, list[Any]]:
    if (
        not isinstance(split, dict)
        or not isinstance(split.get("columns"), list)
        or not isinstance(split.get("data"), list)
    ):
        raise BadInputError("dataframe_split must have the fields columns and data, each a list")
    names, rows = split["columns"], split["data"]
    if not all(isinstance(name, str) for name in names):
        raise BadInputError("the columns of dataframe_split must be strings")
    bad_row = next((n for n, row in enumerate(rows) if not isinstance(row, list) or len(row) != len(names)), None)
    if bad_row is not None:
        raise BadInputError(f"row {bad_row} of dataframe_split must be a list of {len(names)} values, one per column")
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=False)) if rows else {name: [] for name in names}


def _from_records(records: Any) -> Mapping[str, list[Any]]:
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise BadInputError("dataframe_records must be a list of JSON objects, one per row")
    names = dict.fromkeys(name for record in records for name in record)
    return {name: [record.get(name) for record in records] for name in names}


def _from_csv(body: bytes) -> Mapping[str, Column]:
    try:
        table = csv.read_csv(
            io.BytesIO(body),
            read_options=csv.ReadOptions(use_threads=False),
            convert_options=csv.ConvertOptions(column_types={TIME_COLUMN: pa.string()}),
        )
    except pa.ArrowInvalid as error:
        raise BadInputError(f"the body is not CSV with a header line: {str(error).splitlines()[0]}") from None
    return {
        name: column.to_numpy() if is_number(column.type) else column.to_pylist()
        for name, column in zip(table.column_names, table.columns, strict=True)
    }
