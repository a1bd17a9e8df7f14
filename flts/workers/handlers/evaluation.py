"""Handler of eval: the store records which models of a dataset are trained; the last one starts the comparison."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from flts.contracts import ModelType, TrainedModel, canonical_json, past_moment
from flts.models.registry import MODELS, entry
from flts.params import EvalParams
from flts.promotion import owner
from flts.stages.topics import SELECTED_MODELS
from flts.workers.latest import get_json, keep_latest
from flts.workers.messages import OutgoingMessage, ReceivedMessage, encode, parse
from flts.workers.stage_runner import StageRunner

_SCORES = ("test_rmse", "test_mae", "test_mse")


def handle(received: ReceivedMessage, runner: StageRunner[EvalParams]) -> list[OutgoingMessage]:
    """Record that a model is trained; compare the models of its data when it is the last one that was missing."""
    message = parse(TrainedModel, received)
    entry(message.model_type, received.place)
    if message.status != "SUCCESS":
        return []
    identifier = message.identifier or runner.identifier
    expected = runner.expected_types
    folder = f"{owner(identifier)}/{message.config_hash}"
    bucket = runner.params.promotion_bucket
    keep_latest(runner.store, bucket, trained_key(folder, message.model_type), message, received.place, _train_end)
    if message.model_type not in expected:
        return []
    trained: dict[ModelType, Mapping[str, Any]] = {}
    for name in expected:
        found = get_json(runner.store, bucket, trained_key(folder, name))
        if found is None:
            return []
        trained[name] = found[0]
    result = runner.run(
        {"config_hash": message.config_hash, "identifier": identifier},
        _inputs(trained),
        arguments={"model_types": ",".join(expected)},
    )
    runner.store.put(bucket, f"{folder}/report.html", encode(result.artifacts["report"]))
    return [
        OutgoingMessage(
            runner.topics.produces[SELECTED_MODELS], b"promotion", encode(result.artifacts["selected_model"])
        )
    ]


def trained_key(folder: str, model_type: ModelType) -> str:
    """Return the key of the record of a trained model; ``folder`` is that of an owner and its data."""
    return f"{folder}/trained/{model_type}.json"


def _train_end(fields: Mapping[str, Any], place: str) -> tuple[datetime, str]:
    """Return the order of a training: its end, and its run where two ended at the same moment."""
    return past_moment(fields.get("train_end"), f"{place}: train_end"), str(fields.get("run_id"))


def _inputs(trained: Mapping[ModelType, Mapping[str, Any]]) -> dict[str, str]:
    """Return the stage's input artifacts. Messages of older trainers have only the three metrics that decide."""
    inputs = {}
    for name, fields in trained.items():
        slot = MODELS[name].slot
        inputs[f"{slot}_model"] = canonical_json(fields)
        inputs[f"{slot}_metrics"] = canonical_json(fields.get("metrics") or {name: fields[name] for name in _SCORES})
    claims = [fields["training_data"] for fields in trained.values() if fields.get("training_data")]
    return inputs | ({"training_data": json.dumps(claims[0])} if claims else {})
