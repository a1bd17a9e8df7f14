"""Preprocess: a request is the stage's parameters; the claim checks on what it makes go to trainers and inference."""

from flts.stage_interface import Result
from flts.workers.messages import OutgoingMessage, ReceivedMessage, encoded, fields_of
from flts.workers.settings import INFERENCE_DATA, TRAINING_DATA, Topics
from flts.workers.stage_runner import StageRunner


def handle(received: ReceivedMessage, desk: StageRunner) -> list[OutgoingMessage]:
    """Preprocess what a request asks for."""
    changes = {name: value for name, value in fields_of(received).items() if name != "v"}
    result = desk.run(changes, {})
    identifier = str(changes.get("identifier", desk.identifier))
    return claim_checks(result, identifier, desk.topics)


def claim_checks(result: Result, identifier: str, topics: Topics) -> list[OutgoingMessage]:
    """Return what a run of the stage tells the others."""
    made = {TRAINING_DATA: "training_data", INFERENCE_DATA: "inference_data"}
    return [
        OutgoingMessage(topics.produces[kind], identifier.encode(), encoded(result.artifacts[name]))
        for kind, name in made.items()
    ]
