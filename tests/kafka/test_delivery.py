"""Messages that come more than once and in any order, and requests that come as messages."""

import json
import random

import pytest

from flts.models.registry import REQUIRED_MODELS
from tests.support import kafka

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("kafka_crew"), pytest.mark.timeout(900)]


def test_duplicates_in_any_order_give_one_promotion_and_one_forecast(crew: kafka.Place) -> None:
    chance = random.Random(7)  # noqa: S311
    identifiers = [f"again-{number}" for number in range(3)]
    aside = crew.prefix + "aside-"  # nobody listens there
    assert crew.run("flts-topics", FLTS_TOPIC_PREFIX=aside).returncode == 0
    for number, identifier in enumerate(identifiers):
        crew.preprocess(f"slice-{number}", identifier, FLTS_TOPIC_PREFIX=aside)
    data = {topic: crew.messages(f"aside-{topic}") for topic in ("training-data", "inference-data")}
    assert {topic: len(found) for topic, found in data.items()} == {"training-data": 3, "inference-data": 3}

    _send_shuffled(crew, data, chance)
    crew.until(lambda: kafka.finished(crew, *identifiers))
    crew.until(lambda: kafka.waiting(crew) == 0)
    later = {topic: _of(crew, topic, identifiers) for topic in ("model-training", "model-selected")}
    _send_shuffled(crew, data | later, chance)
    crew.until(lambda: kafka.waiting(crew) == 0)

    for identifier in identifiers:
        assert len(crew.history(identifier)) == 1
        assert len(crew.forecasts(identifier)) == 1
        assert kafka.finished_runs(crew, identifier) == dict.fromkeys(REQUIRED_MODELS, 1)
    states = [message["status"] for message in crew.documents("model-training")]
    assert {"RUNNING", "SUCCESS"} == set(states)
    assert not [each for each in kafka.dead_letters(crew) if b"again-" in (each["value"] or b"")]


def test_a_dataset_is_started_by_a_message(crew: kafka.Place) -> None:
    request = {"v": 1, "dataset_name": "slice-0", "identifier": "requested", "lags_enable": True, "lags_n": 2}
    crew.send("preprocess-requests", json.dumps(request).encode(), headers={"request_id": "the-request"})

    crew.until(lambda: kafka.finished(crew, "requested"))
    crew.until(lambda: _performance(crew, "requested"))

    (performance,) = _performance(crew, "requested")
    folder = performance["log_object_key"].rpartition("/")[0]
    assert crew.store.head("inference-logs", f"{folder}/report.html")
    assert performance["operation"] == "Inference"
    assert performance["metrics"]["backtest_rmse"] > 0
    assert performance["rows"] == 10
    said = [event for worker in crew.workers for event in worker.events("done") if event["identifier"] == "requested"]
    assert {event["request_id"] for event in said} == {"the-request"}, "one id through all stages"
    assert {event["stage"] for event in said} == {*kafka.STAGES, "preprocess"}


def test_a_request_for_what_there_is_not_is_a_dead_letter(crew: kafka.Place) -> None:
    crew.send("preprocess-requests", b'{"dataset_name": "no-such", "identifier": "lost"}', key="lost")

    letters = crew.until(lambda: [each for each in crew.messages("DLQ-preprocess-requests") if each["key"] == b"lost"])

    assert letters[0]["value"] == b'{"dataset_name": "no-such", "identifier": "lost"}'
    assert "no-such.csv" in letters[0]["headers"]["error"]
    assert letters[0]["headers"]["attempts"] == "1"


def test_messages_of_older_producers_are_completed_from_their_objects(crew: kafka.Place) -> None:
    aside = crew.prefix + "older-"
    assert crew.run("flts-topics", FLTS_TOPIC_PREFIX=aside).returncode == 0
    crew.preprocess("slice-1", "older", FLTS_TOPIC_PREFIX=aside, EXTRA_HASH_SALT="older")
    for topic in ("inference-data", "training-data"):
        (message,) = crew.documents(f"older-{topic}")
        crew.send(topic, json.dumps({name: message[name] for name in ("bucket", "object", "identifier")}).encode())

    crew.until(lambda: kafka.finished(crew, "older"))


def _send_shuffled(at: kafka.Place, messages: dict[str, list[dict]], chance: random.Random) -> None:
    copies = [
        (topic, message) for topic, found in messages.items() for message in found for _ in range(chance.randint(1, 3))
    ]
    chance.shuffle(copies)
    for topic, message in copies:
        at.send(topic, message["value"], message["key"])


def _of(at: kafka.Place, topic: str, identifiers: list[str]) -> list[dict]:
    return [each for each in at.messages(topic) if json.loads(each["value"])["identifier"] in identifiers]


def _performance(at: kafka.Place, identifier: str) -> list[dict]:
    return [each for each in at.documents("performance-eval") if each["identifier"] == identifier]


def test_a_dead_letter_and_the_log_of_its_worker_have_no_secrets(place: kafka.Place) -> None:
    hidden = {"AWS_SECRET_ACCESS_KEY": "of-a-key-that-leaks", "SOME_TOKEN": "leak5"}
    worker = place.start("preprocess", "--listen", **hidden)
    for name in hidden.values():
        place.send("preprocess-requests", json.dumps({"dataset_name": name, "identifier": "x"}).encode(), key="x")

    letters = place.until(
        lambda: len(found := place.messages("DLQ-preprocess-requests")) == 2 and found  # as many as were sent
    )

    worker.terminate()
    for letter in letters:
        assert "***" in letter["headers"]["error"]
        assert "leak" not in str(letter["headers"])
    assert "leak" not in worker.log.read_text()
