"""Handler of inference: the store keeps data and selected model, whichever comes first, until both are there."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from flts.contracts import ClaimCheck, ForecastBatch, Performance, Promotion, past_moment
from flts.params import InferenceParams
from flts.promotion import owner
from flts.runtime.work_folders import work_folder
from flts.stage_interface import InputArtifact, Result
from flts.stages.inputs import read_dataset
from flts.stages.topics import PERFORMANCE, SELECTED_MODELS
from flts.workers.latest import get_json, keep_latest
from flts.workers.messages import OutgoingMessage, ReceivedMessage, claim_check, encode, parse
from flts.workers.stage_runner import StageRunner

DATA_FILE, MODEL_FILE = "inference_data.json", "selected_model.json"


def handle(received: ReceivedMessage, runner: StageRunner[InferenceParams]) -> list[OutgoingMessage]:
    """Keep a claim check or a promotion; forecast when there is one of each.

    Raises:
        BadInputError: The message is neither, or the two do not fit each other.
        ServiceUnavailableError: A service cannot be reached.
    """
    bucket = runner.params.inference_log_bucket
    if received.topic == runner.topics.consumes[SELECTED_MODELS]:
        promotion = parse(Promotion, received)
        identifier = promotion.identifier or runner.identifier
        config_hash = promotion.data_config_hash or promotion.config_hash
        folder = pending_folder(identifier, config_hash)
        keep_latest(runner.store, bucket, f"{folder}/{MODEL_FILE}", promotion, received.place, _promoted)
    else:
        claim = claim_check(received, runner.store, runner.identifier)
        _check(claim, runner)
        identifier, config_hash = claim.identifier, claim.config_hash
        folder = pending_folder(identifier, config_hash)
        runner.store.put(bucket, f"{folder}/{DATA_FILE}", claim.to_json().encode())
    data, model = (get_json(runner.store, bucket, f"{folder}/{name}") for name in (DATA_FILE, MODEL_FILE))
    if data is None or model is None:
        return []
    result = runner.run(
        {"config_hash": config_hash, "identifier": identifier},
        {"inference_data": json.dumps(data[0]), "selected_model": json.dumps(model[0])},
    )
    return [_performance(runner, bucket, result)]


def _check(claim: ClaimCheck, runner: StageRunner) -> None:
    """Refuse data that are missing or differ from their claim check: later the model would be blamed for them."""
    with work_folder() as scratch:
        path = scratch / DATA_FILE
        path.write_text(claim.to_json(), encoding="utf-8")
        read_dataset(InputArtifact(path), runner.store, scratch)


def pending_folder(identifier: str, config_hash: str) -> str:
    """Return the folder, in the bucket of forecasts, that keeps data and model until both are there."""
    return f"{owner(identifier)}/index/awaited/{config_hash}"


def _performance(runner: StageRunner, bucket: str, result: Result) -> OutgoingMessage:
    """Put the report next to the forecast, and return the message about it."""
    predictions = result.artifacts["predictions"]
    batch = ForecastBatch.parse(predictions.content, source="the forecast")
    key = str(predictions.metadata["log_object_key"])
    runner.store.put(bucket, f"{key.rpartition('/')[0]}/report.html", encode(result.artifacts["report"]))
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
    return OutgoingMessage(runner.topics.produces[PERFORMANCE], batch.identifier.encode(), message.to_json().encode())


def _promoted(fields: Mapping[str, Any], place: str) -> datetime:
    return past_moment(fields.get("promotion_time"), f"{place}: promotion_time")
