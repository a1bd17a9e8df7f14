"""Inference: data and a selected model come in, in any order; the store keeps each until the other is there."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from flts.contracts import ClaimCheck, ForecastBatch, Performance, Promotion, past_moment
from flts.promotion import owner
from flts.runtime.work_folders import work_folder
from flts.stage_interface import InputArtifact, Result
from flts.stages.inputs import read_dataset
from flts.workers.latest import get_json, keep_latest
from flts.workers.messages import OutgoingMessage, ReceivedMessage, claim_check, encoded, parse
from flts.workers.settings import PERFORMANCE, SELECTED_MODELS
from flts.workers.stage_runner import StageRunner

DATA_FILE, MODEL_FILE = "inference_data.json", "selected_model.json"


def handle(received: ReceivedMessage, desk: StageRunner) -> list[OutgoingMessage]:
    """Keep what came; forecast when the other is there too.

    Raises:
        BadInputError: What came is no such message, or the two do not fit each other.
        ServiceUnavailableError: A service is out of reach.
    """
    bucket = str(getattr(desk.params, "inference_log_bucket"))  # noqa: B009 - a parameter of inference
    if received.topic == desk.topics.consumes[SELECTED_MODELS]:
        promotion = parse(Promotion, received)
        identifier = promotion.identifier or desk.identifier
        config_hash = promotion.data_config_hash or promotion.config_hash
        folder = awaited_folder(identifier, config_hash)
        keep_latest(desk.store, bucket, f"{folder}/{MODEL_FILE}", promotion, received.place, _promoted)
    else:
        claim = claim_check(received, desk.store, desk.identifier)
        _check(claim, desk)
        identifier, config_hash = claim.identifier, claim.config_hash
        folder = awaited_folder(identifier, config_hash)
        desk.store.put(bucket, f"{folder}/{DATA_FILE}", claim.to_json().encode())
    data, model = (get_json(desk.store, bucket, f"{folder}/{name}") for name in (DATA_FILE, MODEL_FILE))
    if data is None or model is None:
        return []
    result = desk.run(
        {"config_hash": config_hash, "identifier": identifier},
        {"inference_data": json.dumps(data[0]), "selected_model": json.dumps(model[0])},
    )
    return [_performance(desk, bucket, result)]


def _check(claim: ClaimCheck, desk: StageRunner) -> None:
    """Refuse data that are not there, or not what was announced: later they would be held against the model."""
    with work_folder() as scratch:
        path = scratch / DATA_FILE
        path.write_text(claim.to_json(), encoding="utf-8")
        read_dataset(InputArtifact(path), desk.store, scratch)


def awaited_folder(identifier: str, config_hash: str) -> str:
    """Return where data and model of a forecast are kept, in the bucket of forecasts."""
    return f"{owner(identifier)}/index/awaited/{config_hash}"


def _performance(desk: StageRunner, bucket: str, result: Result) -> OutgoingMessage:
    """Put the report beside the forecast, and return the notice that it was made."""
    predictions = result.artifacts["predictions"]
    batch = ForecastBatch.parse(predictions.content, source="the forecast")
    key = str(predictions.metadata["log_object_key"])
    desk.store.put(bucket, f"{key.rpartition('/')[0]}/report.html", encoded(result.artifacts["report"]))
    message = Performance(
        status=batch.status,
        identifier=batch.identifier,
        run_id=batch.run_id,
        model_type=batch.model_type,
        config_hash=batch.config_hash,
        rows=len(batch.samples),
        log_bucket=bucket,
        log_object_key=key,
        metrics=json.loads(str(result.artifacts["metrics"].content)),
    )
    return OutgoingMessage(desk.topics.produces[PERFORMANCE], batch.identifier.encode(), message.to_json().encode())


def _promoted(fields: Mapping[str, Any], place: str) -> datetime:
    return past_moment(fields.get("promotion_time"), f"{place}: promotion_time")
