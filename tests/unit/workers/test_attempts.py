"""How often a message is tried: what counts, what does not, and what a worker that dies leaves behind."""

import json
import time
from threading import Event
from typing import Any

import pytest

from flts.errors import BadInputError, ServiceUnavailableError
from flts.runtime.signals import Stopped
from flts.store.file import FileStore
from flts.workers.attempts import Attempt, AttemptsExhaustedError
from flts.workers.messages import ReceivedMessage
from tests.support.waiting import wait_until

BUCKET = "our-promotions"
KEY = "trained/tries/train-gru/training-data/2/17.json"
RECEIVED = ReceivedMessage("training-data", 2, 17, 1_700_000_000_000, b"key", b"{}")


@pytest.fixture
def store(tmp_path) -> FileStore:
    return FileStore(tmp_path)


def attempt(store: FileStore, *, limit: int = 3, record_now: bool = False, crash: str = "", **changes: Any) -> Attempt:
    received = ReceivedMessage(**{**vars(RECEIVED), **changes})
    return Attempt(store, BUCKET, "train-gru", received, limit, record_now=record_now, crash=crash)


def record(store: FileStore) -> dict[str, Any] | None:
    if store.head(BUCKET, KEY) is None:
        return None
    fields: dict[str, Any] = json.loads(store.get(BUCKET, KEY)[0])
    return {name: fields[name] for name in ("failed", "begun", "reason")}


def die(store: FileStore) -> None:
    """Begin a try and never end it, as a worker does that is killed as a whole."""
    attempt(store, record_now=True).__enter__()


def test_a_message_is_given_up_when_it_failed_three_times(store):
    for number in (1, 2):
        with attempt(store, record_now=number == 1) as tried:
            pass
        assert tried.number == 1  # before it is known what came before
        tried.failed(f"reason {number}")
        assert record(store) == {"failed": number, "begun": 0, "reason": f"reason {number}"}
    with attempt(store) as last:
        pass
    with pytest.raises(AttemptsExhaustedError, match="reason 3") as caught:
        last.failed("reason 3")
    assert caught.value.attempts == 3


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_the_limit_is_what_was_asked_for(store, limit):
    for _ in range(limit - 1):
        attempt(store, limit=limit).failed("no")
    with pytest.raises(AttemptsExhaustedError) as caught:
        attempt(store, limit=limit).failed("no")
    assert caught.value.attempts == limit


def test_a_crash_of_the_stage_counts_one_and_says_why(store):
    die(store)
    for number in (1, 2):
        attempt(store, crash="was ended by SIGSEGV").__enter__()
        assert record(store) == {"failed": number, "begun": 1, "reason": "was ended by SIGSEGV"}
    with pytest.raises(AttemptsExhaustedError, match="was ended by SIGSEGV") as caught:
        attempt(store, crash="was ended by SIGSEGV")
    assert caught.value.attempts == 3


def test_a_death_of_the_whole_worker_counts_a_third(store):
    for number in range(1, 10):
        die(store)
        assert record(store) == {"failed": 0, "begun": number, "reason": ""}
    with pytest.raises(AttemptsExhaustedError, match="every worker that handles it dies") as caught:
        attempt(store, record_now=True)
    assert caught.value.attempts == 3


def test_deaths_and_failures_add_up(store):
    attempt(store).failed("no")
    attempt(store).failed("no, again")
    for _ in range(3):
        die(store)
    with pytest.raises(AttemptsExhaustedError, match="no, again"):
        attempt(store, record_now=True)


def test_a_quick_message_asks_nothing_of_the_store(store):
    with attempt(store) as quick:
        pass
    quick.done()
    assert not store.root.joinpath(BUCKET).exists()


def test_a_try_is_recorded_when_it_has_lasted_for_a_moment_and_forgotten_when_it_is_done(store):
    begun = time.monotonic()
    with attempt(store) as slow:
        wait_until(lambda: record(store))
        assert time.monotonic() >= begun + 0.2
        assert record(store) == {"failed": 0, "begun": 1, "reason": ""}
    slow.done()
    assert record(store) is None


def test_the_first_message_after_a_start_is_recorded_before_it_begins(store):
    tried = attempt(store, record_now=True)
    assert record(store) == {"failed": 0, "begun": 1, "reason": ""}
    with tried:
        pass
    tried.done()
    assert record(store) is None


def test_a_failure_after_a_record_counts_once(store):
    with attempt(store, record_now=True) as tried:
        pass
    tried.failed("no")
    assert record(store) == {"failed": 1, "begun": 0, "reason": "no"}


@pytest.mark.parametrize("end", [Stopped(), KeyboardInterrupt()], ids=["SIGTERM", "Ctrl-C"])
def test_who_is_told_to_end_takes_the_try_back(store, end):
    attempt(store).failed("no")
    tried = attempt(store, record_now=True)
    assert record(store) == {"failed": 1, "begun": 1, "reason": "no"}
    with pytest.raises(type(end)), tried:
        raise end
    assert record(store) == {"failed": 1, "begun": 0, "reason": "no"}


def test_a_service_that_is_away_takes_the_try_back(store):
    for _ in range(20):
        tried = attempt(store, record_now=True)
        with pytest.raises(ServiceUnavailableError), tried:
            raise ServiceUnavailableError("MLflow cannot be reached")
        tried.postponed()
        assert record(store) == {"failed": 0, "begun": 0, "reason": ""}


def test_nothing_is_taken_back_that_was_not_recorded(store):
    die(store)
    tried = attempt(store)
    with pytest.raises(Stopped), tried:
        raise Stopped
    tried.postponed()
    assert record(store) == {"failed": 0, "begun": 1, "reason": ""}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"failed": "many"}', b"\xff"])
def test_of_a_damaged_record_nothing_is_known(store, content):
    store.put(BUCKET, KEY, content)
    with attempt(store, record_now=True) as tried:
        assert tried.number == 1
    tried.done()
    assert record(store) is None


def test_a_record_of_a_topic_that_was_made_again_is_of_another_message(store):
    attempt(store).failed("no")
    attempt(store).failed("no")
    attempt(store, timestamp=RECEIVED.timestamp + 1).failed("the first of its own")
    assert record(store) == {"failed": 1, "begun": 0, "reason": "the first of its own"}


def test_every_message_of_every_group_has_a_record_of_its_own(store):
    attempt(store).failed("no")
    for changes in ({"topic": "inference-data"}, {"partition": 1}, {"offset": 18}):
        attempt(store, **changes).failed("no")
    Attempt(store, BUCKET, "train-lstm", RECEIVED, 3, record_now=True)
    assert sorted(info.key for info in store.list(BUCKET)) == [
        "trained/tries/train-gru/inference-data/2/17.json",
        "trained/tries/train-gru/training-data/1/17.json",
        KEY,
        "trained/tries/train-gru/training-data/2/18.json",
        "trained/tries/train-lstm/training-data/2/17.json",
    ]


def test_a_store_that_cannot_be_written_does_not_break_the_work_off(tmp_path, monkeypatch):
    (tmp_path / "no-folder").touch()
    store, refused = FileStore(tmp_path / "no-folder"), Event()
    put = store.put

    def tell(*asked: Any, **options: Any) -> Any:
        try:
            return put(*asked, **options)
        except BadInputError:
            refused.set()
            raise

    monkeypatch.setattr(store, "put", tell)
    with attempt(store):
        assert refused.wait(60)
