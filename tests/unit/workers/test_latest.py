"""What workers keep between messages: the latest stays, whatever the order in which messages come, and how often."""

import itertools
import json
import threading
from typing import Any

import pytest

from flts.contracts import Message
from flts.errors import BadInputError
from flts.store.file import FileStore
from flts.workers.latest import get_json, keep_latest

BUCKET, KEY = "bucket", "kept.json"


@pytest.fixture
def store(tmp_path) -> FileStore:
    return FileStore(tmp_path)


def keep(store: FileStore, when: int, who: str = "") -> None:
    keep_latest(store, BUCKET, KEY, Message(when=when, who=who), "a message", lambda fields, _: fields["when"])


def kept(store: FileStore) -> dict[str, Any]:
    found = get_json(store, BUCKET, KEY)
    assert found
    return found[0]


@pytest.mark.parametrize("order", list(itertools.permutations((1, 2, 3))))
def test_the_latest_stays_in_whatever_order_they_come(store, order):
    for when in order:
        keep(store, when)
    assert kept(store) == {"v": 1, "when": 3, "who": ""}


def test_a_message_that_comes_again_changes_nothing(store):
    keep(store, 1, "first")
    before = store.head(BUCKET, KEY)
    keep(store, 1, "second")
    assert store.head(BUCKET, KEY) == before


def test_the_latest_of_many_writers_at_once_stays(store):
    threads = [threading.Thread(target=keep, args=(store, when)) for when in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kept(store)["when"] == 19


def test_a_message_that_does_not_say_when_is_refused_before_anything_is_kept(store):
    def when(_fields, place):
        raise BadInputError(f"{place}: no time")

    with pytest.raises(BadInputError, match="message: no time"):
        keep_latest(store, BUCKET, KEY, Message(), "a message", when)
    assert get_json(store, BUCKET, KEY) is None


def test_what_is_kept_is_read_with_numbers_that_json_has_not(store):
    store.put(BUCKET, KEY, b'{"score": NaN}')
    assert json.dumps(kept(store)) == '{"score": NaN}'


def test_what_is_damaged_is_named(store):
    store.put(BUCKET, KEY, b"{")
    with pytest.raises(BadInputError, match=r"bucket/kept\.json is not a JSON object"):
        get_json(store, BUCKET, KEY)


def test_a_damaged_object_gives_way(store):
    store.put(BUCKET, KEY, b"not JSON")
    keep(store, 1)
    assert kept(store)["when"] == 1
