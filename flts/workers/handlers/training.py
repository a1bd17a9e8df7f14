"""Handler of the trainers: a claim check of training data comes in; start and end of the training go out."""

import json

from flts.contracts import ClaimCheck, TrainedModel, canonical_json
from flts.stages.topics import TRAINED_MODELS
from flts.workers.messages import OutgoingMessage, ReceivedMessage, claim_check
from flts.workers.stage_runner import StageRunner


def handle(received: ReceivedMessage, runner: StageRunner) -> list[OutgoingMessage]:
    """Train on the data of a claim check."""
    claim = claim_check(received, runner.store, runner.identifier)
    topic = runner.topics.produces[TRAINED_MODELS]

    def announce(message: str) -> None:
        runner.announce(_trained(topic, TrainedModel.parse(message, source="the training that began"), claim))

    result = runner.run(
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
