"""A dead letter is the message as it came, with headers that say why, and becomes that message again."""

import hashlib

import pytest

from flts.errors import FltsError
from flts.store.file import FileStore
from flts.workers.dead_letters import cut, dead_letter, original_headers, whole_body
from flts.workers.messages import ReceivedMessage
from flts.workers.outcomes import DeadLettered
from flts.workers.settings import read_topics

BUCKET = "our-promotions"
DEAD = DeadLettered("column temp is empty", 3, invalid=False)
TOPICS = read_topics("train-gru", {"FLTS_TOPIC_PREFIX": "blue-"})


def received(**changes) -> ReceivedMessage:
    fields = {"topic": "blue-training-data", "partition": 2, "offset": 17, "timestamp": 1_700_000_000_000}
    return ReceivedMessage(
        **{**fields, "key": b"run-001", "value": b"\xff{", "headers": [("request_id", b"r1")], **changes}
    )


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
    letter = dead_letter(received(), "train-gru", TOPICS, DeadLettered("größer als 3", 1, invalid=True))
    assert dict(letter.headers)["error"].decode() == "größer als 3"


def test_a_message_that_fails_again_does_not_gather_headers():
    once = dead_letter(received(), "train-gru", TOPICS, DEAD)
    again = dead_letter(received(headers=original_headers(once.headers)), "train-gru", TOPICS, DEAD)
    assert list(again.headers) == list(once.headers)


def test_a_letter_that_is_too_large_is_cut_and_becomes_the_whole_message_again(tmp_path):
    store = FileStore(tmp_path)
    body = b"x" * 3_000_000
    headers = [("request_id", b"r1"), ("huge", b"h" * 2_000_000)]
    message = received(key=b"k" * 1_000_000, value=body, headers=headers)
    small = cut(
        dead_letter(message, "train-gru", TOPICS, DeadLettered("e" * 1_000_000, 3, invalid=False)), store, BUCKET
    )
    said = dict(small.headers)

    size = len(small.key) + len(small.value) + sum(len(name) + len(value) for name, value in small.headers)
    assert size < 10_000
    assert body.startswith(small.value)
    assert said["body_sha256"] == hashlib.sha256(body).hexdigest().encode()
    assert said["body_object"].startswith(f"{BUCKET}/trained/dead-letters/blue-training-data/".encode())
    assert (said["request_id"], said["original_offset"], "huge" in said) == (b"r1", b"17", False)
    letter = received(topic=small.topic, value=small.value, headers=small.headers)
    assert whole_body(letter, store, BUCKET) == body
    assert [name for name, _ in original_headers(letter.headers)] == ["request_id"]


def test_a_whole_letter_asks_nothing_of_the_store(tmp_path):
    assert whole_body(received(), FileStore(tmp_path), BUCKET) == b"\xff{"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"body_object": b"processed-data/x"}, "names no body of a dead letter in bucket our-promotions"),
        ({"body_sha256": b"0"}, "is not the body that its header body_sha256 names"),
    ],
)
def test_a_body_that_is_not_the_letters_is_not_sent(tmp_path, changes, said):
    store = FileStore(tmp_path)
    small = cut(dead_letter(received(), "train-gru", TOPICS, DEAD), store, BUCKET)
    letter = received(topic=small.topic, value=small.value, headers=list({**dict(small.headers), **changes}.items()))
    with pytest.raises(FltsError, match=said):
        whole_body(letter, store, BUCKET)
