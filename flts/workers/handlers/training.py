"""Trainers: a claim check on training data comes in; that a training began, and the trained model, go out."""

import json

from flts.contracts import ClaimCheck, TrainedModel, canonical_json
from flts.workers.messages import OutgoingMessage, ReceivedMessage, claim_check
from flts.workers.settings import TRAINED_MODELS
from flts.workers.stage_runner import StageRunner


def handle(received: ReceivedMessage, desk: StageRunner) -> list[OutgoingMessage]:
    """Train on the data that a claim check names."""
    claim = claim_check(received, desk.store, desk.identifier)
    topic = desk.topics.produces[TRAINED_MODELS]

    def announce(message: str) -> None:
        desk.announce(_trained(topic, TrainedModel.parse(message, source="what began"), claim))

    result = desk.run(
        {"config_hash": claim.config_hash, "identifier": claim.identifier},
        {"training_data": claim.to_json()},
        announce=announce,
    )
    message = TrainedModel.parse(result.artifacts["model"].content, source="the trained model")
    metrics = json.loads(result.artifacts["metrics"].content)
    return [_trained(topic, message.model_copy(update={"metrics": metrics}), claim)]


def _trained(topic: str, message: TrainedModel, claim: ClaimCheck) -> OutgoingMessage:
    """Add the training data to a message: eval needs them to compare the winner with what is in production."""
    fields = json.loads(message.to_json()) | {"training_data": json.loads(claim.to_json())}
    return OutgoingMessage(topic, f"trained-{message.model_type}".encode(), canonical_json(fields).encode())
