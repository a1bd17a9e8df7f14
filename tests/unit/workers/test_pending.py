"""What datasets wait for, told from what lies in the store."""

import pytest

from flts.store.file import FileStore
from flts.workers.handlers.evaluation import trained_key
from flts.workers.handlers.forecasting import DATA_FILE, MODEL_FILE, awaited_folder
from flts.workers.pending import PendingWork, awaited_forecasts, awaited_models

TYPES = ("GRU", "LSTM", "PROPHET")


@pytest.fixture
def store(tmp_path) -> FileStore:
    return FileStore(tmp_path)


def put(store: FileStore, *keys: str) -> None:
    for key in keys:
        store.put("bucket", key, b"{}")


def test_models_are_missed_of_data_of_which_some_are_trained(store):
    put(store, *(trained_key("one/h1", name) for name in TYPES))
    put(store, trained_key("two/h1", "PROPHET"), trained_key("two/h2", "GRU"), trained_key("two/h2", "PROPHET"))
    assert list(awaited_models(store, "bucket", TYPES)) == [
        PendingWork("two", "h1", ("GRU", "LSTM")),
        PendingWork("two", "h2", ("LSTM",)),
    ]


def test_models_that_are_not_expected_are_not_missed(store):
    put(store, trained_key("one/h1", "GRU"))
    assert list(awaited_models(store, "bucket", ("GRU",))) == []


def test_other_objects_of_promotions_are_not_looked_at(store):
    put(
        store,
        "current.json",
        "one/current.json",
        "one/h1/current.json",
        "one/h1/promotion-x.json",
        "one/h1/report.html",
    )
    put(store, "trained/tries/train-gru/training-data/0/1.json", "one/trainings/x.json")
    assert list(awaited_models(store, "bucket", TYPES)) == []


def test_a_forecast_misses_its_data_or_its_model(store):
    put(store, f"{awaited_folder('one', 'h1')}/{DATA_FILE}", f"{awaited_folder('one', 'h1')}/{MODEL_FILE}")
    put(store, f"{awaited_folder('two', 'h1')}/{DATA_FILE}", f"{awaited_folder('', 'h2')}/{MODEL_FILE}")
    put(store, "two/index/abc.json", "two/20250101T000000Z/results.jsonl")
    assert sorted(awaited_forecasts(store, "bucket"), key=lambda each: each.owner) == [
        PendingWork("global", "h2", ("inference data",)),
        PendingWork("two", "h1", ("a selected model",)),
    ]


def test_of_an_empty_store_nothing_is_awaited(store):
    assert [*awaited_models(store, "bucket", TYPES), *awaited_forecasts(store, "bucket")] == []
