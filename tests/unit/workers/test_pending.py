"""Datasets that wait, found from the objects in the store."""

import pytest

from flts.store.file import FileStore
from flts.workers.handlers.evaluation import trained_key
from flts.workers.handlers.forecasting import DATA_FILE, MODEL_FILE, pending_folder
from flts.workers.pending import PendingWork, pending_forecasts, pending_models

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
    assert pending_models(store, "bucket", TYPES).datasets == [
        PendingWork("two", "h1", ("GRU", "LSTM")),
        PendingWork("two", "h2", ("LSTM",)),
    ]


def test_models_that_are_not_expected_are_not_missed(store):
    put(store, trained_key("one/h1", "GRU"))
    assert pending_models(store, "bucket", ("GRU",)).datasets == []


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
    assert pending_models(store, "bucket", TYPES).datasets == []


def test_a_forecast_misses_its_data_or_its_model(store):
    put(store, f"{pending_folder('one', 'h1')}/{DATA_FILE}", f"{pending_folder('one', 'h1')}/{MODEL_FILE}")
    put(store, f"{pending_folder('two', 'h1')}/{DATA_FILE}", f"{pending_folder('', 'h2')}/{MODEL_FILE}")
    put(store, "two/index/abc.json", "two/20250101T000000Z/results.jsonl")
    assert sorted(pending_forecasts(store, "bucket"), key=lambda each: each.owner) == [
        PendingWork("global", "h2", ("inference data",)),
        PendingWork("two", "h1", ("a selected model",)),
    ]


def test_of_an_empty_store_nothing_is_awaited(store):
    assert [*pending_models(store, "bucket", TYPES).datasets, *pending_forecasts(store, "bucket")] == []


def test_a_type_that_no_trainer_has_ever_reported_is_named(store):
    put(store, trained_key("one/h1", "GRU"), trained_key("one/h1", "LSTM"), trained_key("two/h1", "GRU"))
    pending = pending_models(store, "bucket", TYPES)
    assert pending.unreported == ["PROPHET"]
    (sentence,) = pending.warnings()
    assert sentence == (
        "datasets wait for a model of type PROPHET, which no trainer has ever reported: start flts-train-prophet, "
        "or leave PROPHET out of EXPECTED_MODEL_TYPES of eval"
    )
    put(store, trained_key("three/h1", "PROPHET"))
    assert pending_models(store, "bucket", TYPES).unreported == []


def test_before_the_first_training_no_type_counts_as_unreported(store):
    assert pending_models(store, "bucket", TYPES).unreported == []
