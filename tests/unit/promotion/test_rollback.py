"""Rolling back: which model comes back, that servers will follow, and what happens when others promote at once."""

import multiprocessing
from datetime import UTC, datetime

import pytest

from flts.contracts import Promotion, parse_timestamp
from flts.errors import BadInputError
from flts.promotion import entries, promote, read_pointer, roll_back, rollback_target
from flts.store.file import FileStore

BUCKET = "model-promotion"
NAME = "run-001"
POINTERS = ("current.json", "run-001/current.json", "run-001/c0ffee/current.json")


def promotion(minute, **fields):
    moment = f"2025-01-31T12:{minute:02d}:00.000000Z"
    scores = dict.fromkeys(("composite_score", "test_rmse", "test_mae", "test_mse", "rmse", "mae", "mse", "score"), 0.1)
    defaults = {
        "model_uri": f"runs:/run-{minute}/GRU",
        "model_type": "GRU",
        "run_id": f"run-{minute}",
        "config_hash": "c0ffee",
        "promotion_time": moment,
        "timestamp": moment,
        "identifier": NAME,
        "experiment": "flts",
    }
    return Promotion(**scores | defaults | fields)


def put(store, minute, **fields):
    made = promotion(minute, **fields)
    return promote(store, made, [made.run_id], BUCKET)


def back(store, wanted=""):
    target = rollback_target(store, BUCKET, NAME, wanted).promotion
    return roll_back(store, BUCKET, target, by="ana", why="forecasts drift")


def current(store, key=f"{NAME}/current.json"):
    return read_pointer(store, BUCKET, key).promotion


@pytest.fixture
def store(tmp_path):
    return FileStore(tmp_path / "store")


def test_a_rollback_is_a_new_promotion_that_says_who_and_why(store):
    put(store, 1, interval_coverage=0.9, operation="Promotion")
    put(store, 2)
    before = datetime.now(UTC)

    done = back(store)

    assert [current(store, key) for key in POINTERS] == [done.promotion] * 3
    moment = parse_timestamp(done.promotion.promotion_time)
    assert before <= moment <= datetime.now(UTC)
    assert done.promotion == promotion(1).model_copy(
        update={
            "promotion_time": done.promotion.promotion_time,
            "timestamp": done.promotion.promotion_time,
            "interval_coverage": 0.9,
            "operation": "Rollback",
            "status": "PROMOTED",
            "reason": "forecasts drift",
            "by": "ana",
        }
    )
    assert [entry.run_id for entry in entries(store, BUCKET, NAME)] == ["run-1", "run-2", "run-1"]


def test_a_second_rollback_goes_further_back_not_forward_again(store):
    for minute in (1, 2, 3):
        put(store, minute)
    assert back(store).promotion.run_id == "run-2"
    assert back(store).promotion.run_id == "run-1"
    with pytest.raises(BadInputError, match="nothing was in production for run-001 before run run-1"):
        back(store)


def test_after_a_rollback_and_a_new_promotion_the_model_rolled_back_to_comes_back(store):
    for minute in (1, 2, 3):
        put(store, minute)
    back(store)
    later = "2999-01-01T00:00:00.000000Z"
    put(store, 4, promotion_time=later, timestamp=later)
    assert back(store).promotion.run_id == "run-2"


def test_a_rollback_comes_after_a_pointer_from_the_future(store):
    later = "2999-01-01T00:00:00.000000Z"
    put(store, 1)
    put(store, 2, promotion_time=later, timestamp=later)
    done = back(store)
    assert done.promotion.promotion_time == "2999-01-01T00:00:00.000001Z"
    assert current(store) == done.promotion


def test_what_was_held_or_promoted_again_does_not_count_as_earlier(store):
    put(store, 1)
    held = promotion(2, status="HELD")
    promote(store, held, [held.run_id], BUCKET, lambda champion: held)
    put(store, 3)
    again = promotion(4, run_id="run-3")
    promote(store, again, ["others"], BUCKET)
    assert back(store).promotion.run_id == "run-1"


def test_a_held_model_can_be_promoted_by_its_id(store):
    put(store, 1)
    held = promotion(2, status="HELD", gate="champion", champion_run_id="run-1", champion_time="x")
    promote(store, held, [held.run_id], BUCKET, lambda champion: held)
    wanted = next(entry.id for entry in entries(store, BUCKET, NAME) if entry.run_id == "run-2")

    done = back(store, wanted[:8])

    assert (done.promotion.run_id, done.promotion.status) == ("run-2", "PROMOTED")
    assert (done.promotion.gate, done.promotion.champion_run_id, done.promotion.champion_time) == (None, None, None)


@pytest.mark.parametrize(("wanted", "sentence"), [("ffffffffffff", "has no promotion"), ("", "nothing is in prod")])
def test_where_there_is_nothing_to_go_back_to_it_is_said(store, wanted, sentence):
    with pytest.raises(BadInputError, match=sentence):
        back(store, wanted)


def test_an_id_that_is_not_the_only_one_is_refused(store):
    put(store, 1)
    promote(store, promotion(2), ["run-1"], BUCKET)
    wanted = entries(store, BUCKET, NAME)[0].id
    with pytest.raises(BadInputError, match=f"2 promotions begin with '{wanted}'"):
        back(store, wanted)


def test_of_a_long_history_only_the_latest_may_be_read(store):
    for number in range(1, 6):
        put(store, number)
    assert [entry.run_id for entry in entries(store, BUCKET, NAME, latest=2)] == ["run-4", "run-5"]
    assert len(entries(store, BUCKET, latest=9)) == 5


def test_an_unreadable_decision_is_no_target(store):
    put(store, 1)
    key = put(store, 2).history_key
    store.put(BUCKET, key, b"{}")
    wanted = next(entry.id for entry in entries(store, BUCKET, NAME) if not entry.promotion)
    with pytest.raises(BadInputError, match="is not a promotion"):
        back(store, wanted)


class ContestedStore(FileStore):
    """Lets another promotion slip in before the pointer is swapped."""

    def __init__(self, root, rival):
        super().__init__(root)
        self.rival = rival

    def put(self, bucket, key, data, *, if_match=None, if_none_match=False):
        if key == f"{NAME}/current.json" and self.rival:
            rival, self.rival = self.rival, None
            super().put(bucket, key, rival.to_json().encode())
        return super().put(bucket, key, data, if_match=if_match, if_none_match=if_none_match)


def test_a_promotion_that_slips_in_is_older_than_the_rollback_and_gives_way(tmp_path):
    store = FileStore(tmp_path)
    put(store, 1)
    put(store, 2)
    done = back(ContestedStore(tmp_path, promotion(3)))
    assert current(store) == done.promotion
    assert done.promotion.run_id == "run-1"


def test_a_later_promotion_that_slips_in_stays_and_it_is_said(tmp_path):
    store = FileStore(tmp_path)
    put(store, 1)
    put(store, 2)
    rival = promotion(3, promotion_time="2999-01-01T00:00:00.000000Z")
    with pytest.raises(BadInputError, match="was moved to a later promotion in the meantime: roll back again"):
        back(ContestedStore(tmp_path, rival))
    assert current(store) == rival


def _promote_many(root, minutes, barrier):
    store = FileStore(root)
    barrier.wait()
    for minute in minutes:
        put(store, minute)


def _roll_back_once(root, barrier):
    store = FileStore(root)
    barrier.wait()
    roll_back(store, BUCKET, promotion(1), by="ana", why="now")


def test_a_rollback_while_others_promote_is_what_stays(tmp_path):
    store = FileStore(tmp_path)
    put(store, 1)
    put(store, 2)
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(5)
    processes = [
        context.Process(target=_promote_many, args=(tmp_path, range(3 + part, 59, 4), barrier)) for part in range(4)
    ]
    processes.append(context.Process(target=_roll_back_once, args=(tmp_path, barrier)))
    for process in processes:
        process.start()
    for process in processes:
        process.join()

    assert [process.exitcode for process in processes] == [0] * 5
    assert {current(store, key).operation for key in POINTERS} == {"Rollback"}
    assert {current(store, key).run_id for key in POINTERS} == {"run-1"}
    assert len(entries(store, BUCKET, NAME)) == 58 + 1
