"""The models that eval waits for are set once, recorded, and read by others."""

import pytest

from flts.errors import BadInputError
from flts.models.registry import REQUIRED_MODELS
from flts.store.file import FileStore
from flts.workers.expected_models import (
    read_expected_types,
    record_expected_types,
    record_key,
    recorded_expected_types,
)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, tuple(REQUIRED_MODELS)),
        ("", tuple(REQUIRED_MODELS)),
        ("PROPHET, gru", ("GRU", "PROPHET")),
        ("lstm,LSTM,", ("LSTM",)),
        ("LIGHTGBM,GRU", ("GRU", "LIGHTGBM")),
    ],
)
def test_eval_waits_for_the_models_of_every_pipeline_or_those_that_are_named(given, expected):
    assert read_expected_types({} if given is None else {"EXPECTED_MODEL_TYPES": given}) == expected


@pytest.mark.parametrize("given", [",", "GRU,ARIMA", "GRU;LSTM"])
def test_models_that_do_not_exist_cannot_be_expected(given):
    with pytest.raises(
        BadInputError, match=r"^environment variable EXPECTED_MODEL_TYPES must be some of GRU, LSTM, PRO"
    ):
        read_expected_types({"EXPECTED_MODEL_TYPES": given})


def test_what_a_worker_records_others_read_for_its_group_alone(tmp_path):
    store = FileStore(tmp_path)
    assert recorded_expected_types(store, "bucket", "blue-eval-promoter") is None
    record_expected_types(store, "bucket", "blue-eval-promoter", ("GRU", "LSTM"))
    record_expected_types(store, "bucket", "blue-eval-promoter", ("GRU",))
    assert recorded_expected_types(store, "bucket", "blue-eval-promoter") == ("GRU",)
    assert recorded_expected_types(store, "bucket", "eval-promoter") is None


def test_a_damaged_record_is_named(tmp_path):
    store = FileStore(tmp_path)
    store.put("bucket", record_key("group"), b"{")
    with pytest.raises(BadInputError, match=r"bucket/trained/expected/group\.json"):
        recorded_expected_types(store, "bucket", "group")
