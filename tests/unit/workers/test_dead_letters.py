"""A dead letter is the message as it came, with headers that say why, and becomes that message again."""

import pytest

from flts.workers.child import Dead
from flts.workers.dead_letters import dead_letter, original_headers
from flts.workers.messages import Received
from flts.workers.settings import read_topics

DEAD = Dead("column temp is empty", 3, bad=False)
TOPICS = read_topics("train-gru", {"FLTS_TOPIC_PREFIX": "blue-"})


def received(**changes) -> Received:
    fields = {"topic": "blue-training-data", "partition": 2, "offset": 17, "timestamp": 1_700_000_000_000}
    return Received(**{**fields, "key": b"run-001", "value": b"\xff{", "headers": [("request_id", b"r1")], **changes})


def test_a_dead_letter_is_the_message_unchanged_with_headers_that_say_why():
    letter = dead_letter(received(), "train-gru", TOPICS, DEAD)
    assert (letter.topic, letter.key, letter.value) == ("blue-DLQ-training-data", b"run-001", b"\xff{")
    assert list(letter.headers) == [
        ("request_id", b"r1"),
        ("error", b"column temp is empty"),
        ("stage", b"train-gru"),
        ("attempts", b"3"),
        ("original_topic", b"blue-training-data"),
        ("original_partition", b"2"),
        ("original_offset", b"17"),
        ("original_timestamp", b"1700000000000"),
    ]


@pytest.mark.parametrize("changes", [{"key": None}, {"value": None}, {"headers": ()}])
def test_what_a_message_lacks_its_dead_letter_lacks_too(changes):
    message = received(**changes)
    letter = dead_letter(message, "train-gru", TOPICS, DEAD)
    assert (letter.key, letter.value) == (message.key, message.value)
    assert list(original_headers(letter.headers)) == list(message.headers)


def test_a_message_without_a_time_says_none():
    assert dict(dead_letter(received(timestamp=None), "train-gru", TOPICS, DEAD).headers)["original_timestamp"] == b""


def test_a_reason_in_any_language_is_kept():
    letter = dead_letter(received(), "train-gru", TOPICS, Dead("größer als 3", 1, bad=True))
    assert dict(letter.headers)["error"].decode() == "größer als 3"


def test_a_message_that_fails_again_does_not_gather_headers():
    once = dead_letter(received(), "train-gru", TOPICS, DEAD)
    again = dead_letter(received(headers=original_headers(once.headers)), "train-gru", TOPICS, DEAD)
    assert list(again.headers) == list(once.headers)
