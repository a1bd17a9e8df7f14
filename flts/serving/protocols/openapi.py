"""What the server takes and answers with, as its OpenAPI document says it."""

from typing import Any

from pydantic import BaseModel

from flts.serving.protocols.predict import DEFAULT_STEPS, MOST_STEPS
from flts.web.openapi import Answers, describe_answers

_WORDS = {
    400: "The request is outside the rules; the sentence says which.",
    413: "The body is too large.",
    415: "The body is of another type than JSON and CSV.",
    429: "Too many forecasts are waited for; `Retry-After` says when to come again.",
    503: "No model is promoted yet, or the store or MLflow is out of reach, or too many requests are at work.",
    504: "The forecast took too long.",
}


class Prediction(BaseModel):
    """A step: its time, every target, their bounds, and whether it was made from earlier forecasts."""

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
    """How the server is."""

    status: str


class Readiness(ServerState):
    """Whether forecasts are made.

    ``problem`` says why not with what is promoted, if so; ``notice`` that every promotion is followed, if so.
    """

    identifier: str
    run_id: str
    model_type: str
    config_hash: str
    promotion_time: str
    problem: str | None
    notice: str | None


def problems_of(*statuses: int) -> Answers:
    """Describe answers that say no."""
    return describe_answers(_WORDS, *statuses)


UNAVAILABLE = problems_of(503, 504)
REFUSED = problems_of(400, 413, 429, 503, 504)

_TIMES = ["2018-02-05T23:20:00Z", "2018-02-05T23:30:00Z", "2018-02-05T23:40:00Z"]
_QUESTION: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "inference_length": {
            "type": ["integer", "null"],
            "minimum": 1,
            "maximum": MOST_STEPS,
            "default": DEFAULT_STEPS,
            "description": "Steps to forecast.",
        },
        "data": {
            "type": ["object", "null"],
            "description": "Columns of a history to forecast onward from; left out: the stored data.",
            "additionalProperties": {"type": "array", "items": {}},
        },
        "index_col": {"type": "string", "default": "time", "description": "The column of timestamps in `data`."},
    },
}
_PARAMETERS = {
    "parameters": [
        {
            "name": "inference_length",
            "in": "query",
            "description": "Steps to forecast; wins over the body.",
            "schema": {"type": "integer", "minimum": 1, "maximum": MOST_STEPS},
            "example": 3,
        }
    ]
}
PREDICT_TAKES = _PARAMETERS | {
    "requestBody": {
        "content": {
            "application/json": {
                "schema": _QUESTION,
                "examples": {
                    "stored data": {"value": {"inference_length": 3}},
                    "own data": {"value": {"inference_length": 3, "data": {"time": _TIMES, "down": [1.5, 1.25, 1.0]}}},
                },
            }
        }
    }
}
_STEP = {"ts": "2018-02-05T23:50:00Z", "down": 1.1, "down_lower": 0.8, "down_upper": 1.4, "mode": "rolling"}
PREDICTED: Answers = {
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
_PARAMS = {"type": "object", "properties": {"inference_length": _QUESTION["properties"]["inference_length"]}}
_ROWS = [[time, value] for time, value in zip(_TIMES, [1.5, 1.25, 1.0], strict=True)]
INVOCATION_TAKES = _PARAMETERS | {
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
INVOKED: Answers = {200: {"content": {"application/json": {"example": {"predictions": [_RECORD]}}}}}
