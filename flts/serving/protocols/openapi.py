"""Requests and responses of the forecast server, for its OpenAPI document."""

from typing import Any

from pydantic import BaseModel

from flts.boundary.quantiles import MOST_QUANTILES
from flts.serving.protocols.predict import DEFAULT_STEPS, MAX_STEPS
from flts.web.openapi import Answers, describe_answers

_WORDS = {
    400: "The request is invalid; `detail` says why.",
    413: "The body is too large.",
    415: "The content type is neither JSON nor CSV.",
    429: "Too many forecasts are pending; `Retry-After` says when to try again.",
    503: "No model is promoted yet, the store or MLflow is unreachable, or too many requests are in progress.",
    504: "The forecast took too long.",
}


class Prediction(BaseModel):
    """One step: its time, every target with its bounds and quantiles, and its mode, rolling or recursive."""

    ts: str
    mode: str


class Predictions(BaseModel):
    """Forecasts in original units, and the model that made them."""

    status: str
    identifier: str
    run_id: str
    model_type: str
    config_hash: str
    promotion_time: str
    predictions: list[Prediction]


class ServerState(BaseModel):
    """State of the server."""

    status: str


class Readiness(ServerState):
    """Readiness, with the model being served.

    ``problem`` says why the latest promotion is not being served, if so; ``notice`` warns if no identifier is set.
    """

    identifier: str
    run_id: str
    model_type: str
    config_hash: str
    promotion_time: str
    problem: str | None
    notice: str | None


def error_responses(*statuses: int) -> Answers:
    """Describe error responses with these statuses."""
    return describe_answers(_WORDS, *statuses)


OUTAGE_ERRORS = error_responses(503, 504)
FORECAST_ERRORS = error_responses(400, 413, 429, 503, 504)

_TIMES = ["2018-02-05T23:20:00Z", "2018-02-05T23:30:00Z", "2018-02-05T23:40:00Z"]
_PREDICT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "inference_length": {
            "type": ["integer", "null"],
            "minimum": 1,
            "maximum": MAX_STEPS,
            "default": DEFAULT_STEPS,
            "description": "Number of steps to forecast.",
        },
        "data": {
            "type": ["object", "null"],
            "description": "Columns of a history to forecast from; if left out, the stored data is used.",
            "additionalProperties": {"type": "array", "items": {}},
        },
        "index_col": {
            "type": "string",
            "default": "time",
            "description": "Name of the column with timestamps in `data`.",
        },
        "quantiles": {
            "type": ["array", "string", "null"],
            "items": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
            "maxItems": MOST_QUANTILES,
            "uniqueItems": True,
            "description": "Quantiles to forecast, as a list or as text with commas: `<target>_q0.05`. The bounds of "
            "the intervals are then quantiles, too.",
        },
    },
}
_PARAMETERS = {
    "parameters": [
        {
            "name": "inference_length",
            "in": "query",
            "description": "Number of steps to forecast; takes precedence over the body.",
            "schema": {"type": "integer", "minimum": 1, "maximum": MAX_STEPS},
            "example": 3,
        },
        {
            "name": "quantiles",
            "in": "query",
            "description": "Quantiles to forecast, separated by commas; takes precedence over the body.",
            "schema": {"type": "string"},
            "example": "0.05,0.5,0.95",
        },
    ]
}
PREDICT_REQUEST = _PARAMETERS | {
    "requestBody": {
        "content": {
            "application/json": {
                "schema": _PREDICT_SCHEMA,
                "examples": {
                    "stored data": {"value": {"inference_length": 3}},
                    "quantiles": {"value": {"inference_length": 3, "quantiles": [0.05, 0.5, 0.95]}},
                    "own data": {"value": {"inference_length": 3, "data": {"time": _TIMES, "down": [1.5, 1.25, 1.0]}}},
                },
            }
        }
    }
}
_STEP = {"ts": "2018-02-05T23:50:00Z", "down": 1.1, "down_lower": 0.8, "down_upper": 1.4, "mode": "rolling"}
PREDICT_RESPONSE: Answers = {
    200: {
        "model": Predictions,
        "content": {
            "application/json": {
                "example": {
                    "status": "SUCCESS",
                    "identifier": "run-001",
                    "run_id": "0123456789abcdef0123456789abcdef",
                    "model_type": "GRU",
                    "config_hash": "273d5ab4a590",
                    "promotion_time": "2026-01-31T12:00:00.000000Z",
                    "predictions": [_STEP],
                }
            }
        },
    }
}
_PARAMS = {
    "type": "object",
    "properties": {name: _PREDICT_SCHEMA["properties"][name] for name in ("inference_length", "quantiles")},
}
_ROWS = [[time, value] for time, value in zip(_TIMES, [1.5, 1.25, 1.0], strict=True)]
INVOCATION_REQUEST = _PARAMETERS | {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "dataframe_split": {"type": "object"},
                        "dataframe_records": {"type": "array", "items": {"type": "object"}},
                        "params": _PARAMS,
                    },
                },
                "examples": {
                    "split": {
                        "value": {
                            "dataframe_split": {"columns": ["time", "down"], "data": _ROWS},
                            "params": {"inference_length": 3},
                        }
                    }
                },
            },
            "text/csv": {"schema": {"type": "string"}, "example": "time,down\n2018-02-05T23:20:00Z,1.5\n"},
        },
    }
}
_RECORD = {"time": "2018-02-05T23:50:00", "down": 1.1, "down_lower": 0.8, "down_upper": 1.4}
INVOCATION_RESPONSE: Answers = {200: {"content": {"application/json": {"example": {"predictions": [_RECORD]}}}}}
