"""Handler of preprocess: a request names parameters; claim checks of the results go to trainers and inference."""

from flts.stage_interface import Result
from flts.stages.topics import INFERENCE_DATA, TRAINING_DATA
from flts.workers.messages import OutgoingMessage, ReceivedMessage, encode, fields_of
from flts.workers.settings import Topics
from flts.workers.stage_runner import StageRunner


def handle(received: ReceivedMessage, runner: StageRunner) -> list[OutgoingMessage]:
    """Preprocess the dataset of a request."""
    changes = {name: value for name, value in fields_of(received).items() if name != "v"}
    result = runner.run(changes, {})
    identifier = str(changes.get("identifier", runner.identifier))
    return claim_checks(result, identifier, runner.topics)


def claim_checks(result: Result, identifier: str, topics: Topics) -> list[OutgoingMessage]:
    """Return the messages that follow a run: the claim checks of its data."""
    made = {TRAINING_DATA: "training_data", INFERENCE_DATA: "inference_data"}
    return [
        OutgoingMessage(topics.produces[topic], identifier.encode(), encode(result.artifacts[name]))
        for topic, name in made.items()
    ]
