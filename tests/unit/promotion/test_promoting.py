"""Promotions: history written once, pointers that only move to a later promotion, whoever promotes at once."""

import hashlib
import json
import multiprocessing

import pytest

from flts.contracts import Promotion
from flts.errors import PreconditionFailedError, ServiceUnavailableError
from flts.promotion import history, promote
from flts.store.file import FileStore

BUCKET = "model-promotion"
RUNS = ["run-b", "run-a", "run-c"]


def promotion(minute=0, *, identifier="run-001", run_id="run-a", config_hash="c0ffee"):
    moment = f"2025-01-31T12:{minute:02d}:00.000000Z"
    return Promotion(
        model_uri=f"runs:/{run_id}/GRU",
        model_type="GRU",
        run_id=run_id,
        config_hash=config_hash,
        composite_score=0.1,
        test_rmse=0.1,
        test_mae=0.1,
        test_mse=0.1,
        promotion_time=moment,
        identifier=identifier,
        experiment="flts",
        rmse=0.1,
        mae=0.1,
        mse=0.1,
        score=0.1,
        timestamp=moment,
    )


@pytest.fixture
def store(tmp_path):
    return FileStore(tmp_path / "store")


def keys(store):
    return [info.key for info in store.list(BUCKET)]


def pointer(store, key="current.json"):
    return Promotion.parse(store.get(BUCKET, key)[0], source=key)


def test_history_and_three_pointers_hold_the_promotion(store):
    promoted = promote(store, promotion(), RUNS, BUCKET)

    digest = hashlib.sha256(b"run-a\nrun-b\nrun-c").hexdigest()[:12]
    history = f"run-001/c0ffee/promotion-2025-01-31T12:00:00.000000Z-{digest}.json"
    assert promoted.history_key == history
    assert keys(store) == sorted(["current.json", "run-001/current.json", "run-001/c0ffee/current.json", history])
    assert {store.get(BUCKET, key)[0] for key in keys(store)} == {promotion().to_json().encode()}
    assert not promoted.repeated
    assert promoted.newer_pointers == ()


def test_without_identifier_keys_say_global(store):
    promote(store, promotion(identifier=""), RUNS, BUCKET)
    assert {key.split("/")[0] for key in keys(store)} == {"global", "current.json"}
    assert pointer(store).identifier == ""


def test_a_repeat_finds_the_first_promotion_and_writes_nothing(store):
    promote(store, promotion(), RUNS, BUCKET)
    before = {info.key: info for info in store.list(BUCKET)}
    changed = promotion().model_copy(update={"composite_score": 0.9})

    promoted = promote(store, changed, sorted(RUNS), BUCKET)

    assert promoted.repeated
    assert promoted.promotion == promotion()
    assert {info.key: info for info in store.list(BUCKET)} == before


def test_a_repeat_moves_the_pointers_that_a_killed_run_left_behind(store):
    promote(store, promotion(0), RUNS, BUCKET)
    killed = promote(store, promotion(1), RUNS, BUCKET)
    for key in ("current.json", "run-001/current.json"):
        store.put(BUCKET, key, promotion(0).to_json().encode())

    assert promote(store, promotion(1), RUNS, BUCKET).repeated

    assert pointer(store) == pointer(store, "run-001/current.json") == killed.promotion


def test_an_earlier_promotion_is_kept_but_moves_no_pointer(store):
    promote(store, promotion(5), RUNS, BUCKET)
    promoted = promote(store, promotion(4), RUNS, BUCKET)
    assert promoted.newer_pointers == ("run-001/c0ffee/current.json", "run-001/current.json", "current.json")
    assert pointer(store) == promotion(5)
    assert store.head(BUCKET, promoted.history_key)


def test_runs_of_other_names_share_only_the_global_pointer(store):
    promote(store, promotion(5, identifier="one"), RUNS, BUCKET)
    promoted = promote(store, promotion(4, identifier="two"), RUNS, BUCKET)
    assert promoted.newer_pointers == ("current.json",)
    assert pointer(store, "one/current.json") == promotion(5, identifier="one")
    assert pointer(store, "two/current.json") == promotion(4, identifier="two")


@pytest.mark.parametrize("written", ["2025-01-31T12:04:00Z", "2025-01-31T12:04:00", "2025-01-31T13:04:00.000000+01:00"])
def test_times_are_compared_as_times_not_as_text(store, written):
    older = json.dumps({"promotion_time": written})
    store.put(BUCKET, "current.json", older.encode())
    assert "current.json" in promote(store, promotion(3), RUNS, BUCKET).newer_pointers
    promote(store, promotion(5), RUNS, BUCKET)
    assert pointer(store) == promotion(5)


DAMAGED = {
    "empty": b"",
    "a list": b"[]",
    "no time": b"{}",
    "a number": b'{"promotion_time": 17}',
    "an object": b'{"promotion_time": {"a": []}}',
    "no text": b"\xff",
    "half a character": b'{"promotion_time": "\\ud800"}',
    "nested": b'{"a":' * 100_000,
    "nested and whole": b"[" * 10_000 + b"]" * 10_000,
    "a number without end": b'{"promotion_time": ' + b"1" * 10_000 + b"}",
    "out of time": b'{"promotion_time": "0001-01-01T00:00:00+14:00"}',
    "huge": b'{"a": "' + b"a" * (1 << 25) + b'"}',
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_a_pointer_that_names_no_time_is_replaced(store, content):
    store.put(BUCKET, "current.json", content)
    promote(store, promotion(), RUNS, BUCKET)
    assert pointer(store) == promotion()


def test_a_pointer_of_the_older_system_counts_by_its_timestamp(store):
    store.put(BUCKET, "current.json", b'{"timestamp": "2025-01-31T12:09:00Z"}')
    assert promote(store, promotion(8), RUNS, BUCKET).newer_pointers == ("current.json",)


def _promote_in_a_process(root, minutes, barrier):
    store = FileStore(root)
    barrier.wait()
    for minute in minutes:
        promote(store, promotion(minute, run_id=f"run-{minute}"), [f"run-{minute}"], BUCKET)


def test_eight_processes_at_once_end_at_the_latest(tmp_path):
    minutes = [(7 * step + 11) % 40 for step in range(40)]  # each once, up and down
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(8)
    processes = [
        context.Process(target=_promote_in_a_process, args=(tmp_path, minutes[part::8], barrier)) for part in range(8)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()

    assert [process.exitcode for process in processes] == [0] * 8
    store = FileStore(tmp_path)
    for key in ("current.json", "run-001/current.json", "run-001/c0ffee/current.json"):
        assert pointer(store, key) == promotion(39, run_id="run-39")
    assert len(keys(store)) == 40 + 3


class ContestedStore(FileStore):
    """Lets another promotion, one second later each time, slip in before every swap of a pointer."""

    def __init__(self, root, rivals, key="current.json"):
        super().__init__(root)
        self.rivals = rivals
        self.key = key

    def put(self, bucket, key, data, *, if_match=None, if_none_match=False):
        if key == self.key and self.rivals:
            super().put(bucket, key, self.rivals.pop(0).to_json().encode())
        return super().put(bucket, key, data, if_match=if_match, if_none_match=if_none_match)


def test_a_lost_swap_is_tried_again(tmp_path):
    store = ContestedStore(tmp_path, [promotion(1), promotion(2)])
    promote(store, promotion(9), RUNS, BUCKET)
    assert pointer(store) == promotion(9)


def test_a_lost_swap_to_a_later_promotion_leaves_it(tmp_path):
    store = ContestedStore(tmp_path, [promotion(10)])
    assert promote(store, promotion(9), RUNS, BUCKET).newer_pointers == ("current.json",)
    assert pointer(store) == promotion(10)


def held(promotion):
    return promotion.model_copy(update={"status": "HELD", "reason": "the champion is better"})


def test_a_held_promotion_goes_to_the_history_and_moves_no_pointer(store):
    promote(store, promotion(1, run_id="champion"), RUNS, BUCKET)
    done = promote(store, promotion(2), ["other"], BUCKET, lambda champion: held(promotion(2)))
    assert done.promotion == history.find(store, BUCKET, done.history_key) == held(promotion(2))
    assert done.champion == pointer(store) == promotion(1, run_id="champion")
    assert done.newer_pointers == ()


def test_a_repeat_of_a_held_promotion_does_not_ask_again(store):
    first = promote(store, promotion(2), RUNS, BUCKET, lambda champion: held(promotion(2)))
    again = promote(store, promotion(2), RUNS, BUCKET, lambda champion: promotion(2))
    assert (again.promotion, again.repeated, again.champion) == (first.promotion, True, None)
    assert keys(store) == [first.history_key]


def test_the_gate_is_asked_again_about_a_champion_that_came_meanwhile(tmp_path):
    store = ContestedStore(tmp_path, [promotion(5, run_id="rival")], key="run-001/current.json")
    asked = []

    def decide(champion):
        asked.append(champion and champion.promotion.run_id)
        return held(promotion(9)) if champion else promotion(9)

    done = promote(store, promotion(9), RUNS, BUCKET, decide)

    assert asked == [None, "rival"]
    assert (done.promotion, done.champion.run_id) == (held(promotion(9)), "rival")
    assert keys(store) == sorted([done.history_key, "run-001/current.json"])
    assert pointer(store, "run-001/current.json").run_id == "rival"


def test_the_gate_is_asked_once_about_each_champion(tmp_path):
    store, asked = FileStore(tmp_path), []
    promote(store, promotion(9), RUNS, BUCKET, lambda champion: asked.append(champion) or promotion(9))
    assert asked == [None]


class RefusingStore(FileStore):
    def put(self, bucket, key, data, *, if_match=None, if_none_match=False):
        if key == "current.json":
            raise PreconditionFailedError("changed")
        return super().put(bucket, key, data, if_match=if_match, if_none_match=if_none_match)


def test_a_pointer_that_never_holds_still_is_a_service_error(tmp_path, monkeypatch):
    monkeypatch.setattr("flts.store.swap.time.sleep", lambda seconds: None)
    with pytest.raises(ServiceUnavailableError, match=r"model-promotion/current\.json"):
        promote(RefusingStore(tmp_path), promotion(), RUNS, BUCKET)
