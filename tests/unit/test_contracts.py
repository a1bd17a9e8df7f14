"""Messages as others may write them: what is wrong is named with the field, in words of our own."""

import json

import pytest

from flts.contracts import ClaimCheck, Promotion, TrainedModel, parse_timestamp, utc_timestamp
from flts.errors import BadInputError

HASH = "c" * 64
TRAINED = {
    "model_type": "GRU",
    "config_hash": HASH,
    "run_id": "abc",
    "status": "SUCCESS",
    "model_uri": "runs:/abc/GRU",
    "test_rmse": 0.1,
    "test_mae": None,
    "test_mse": 0.1,
    "train_start": "2025-01-31T11:00:00Z",
    "train_end": "2025-01-31T12:00:00Z",
    "identifier": "run-001",
    "artifact_uri": "",
    "operation": "Trained: GRU",
}
CLAIM = {
    "bucket": "",
    "object": "data.csv",
    "size": 3,
    "identifier": "run-001",
    "config_hash": "",
    "sha256": HASH,
    "rows": 1,
}


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("status", "DONE", "field 'status' must be 'RUNNING' or 'SUCCESS', got DONE"),
        ("model_type", "gru; rm", "field 'model_type' must be of the form ^[A-Z][A-Z0-9]{0,31}$, got 'gru; rm'"),
        ("model_type", ["GRU"], "field 'model_type' must be text"),
        ("test_rmse", "low", "field 'test_rmse' must be a number, got low"),
        ("test_rmse", {"a": 1}, "field 'test_rmse' must be a number"),
        ("run_id", None, "field 'run_id' must be text, got None"),
        ("model_uri", "bundle\0", "none of them a control character, got 'bundle\\x00'"),
        ("model_uri", "runs:/abc/\x1b[31mGRU", "none of them a control character, got 'runs:/abc/\\x1b[31mGRU'"),
        ("model_uri", "a" * 5000, f"at most 4096 characters, none of them a control character, got {'a' * 77}..."),
        ("artifact_uri", "file:///x\n", "none of them a control character, got 'file:///x\\n'"),
        ("config_hash", "current.json", "field 'config_hash' must be at most 128 letters, digits, '-' and '_'"),
        ("config_hash", "a/../b", "field 'config_hash' must be at most 128 letters, digits, '-' and '_'"),
        ("config_hash", "a" * 129, "field 'config_hash' must be at most 128 letters, digits, '-' and '_'"),
    ],
)
def test_a_wrong_field_is_named(field, value, said):
    with pytest.raises(BadInputError) as caught:
        TrainedModel.parse(json.dumps(TRAINED | {field: value}), source="model.json")
    assert str(caught.value).startswith("model.json is not a trained-model message: ")
    assert said in str(caught.value)


@pytest.mark.parametrize("field", TRAINED)
def test_a_missing_field_is_named(field):
    fields = {name: value for name, value in TRAINED.items() if name != field}
    with pytest.raises(BadInputError, match=f"is not a trained-model message: field '{field}' is missing$"):
        TrainedModel.parse(json.dumps(fields), source="model.json")


def test_older_messages_are_as_good_as_before():
    assert TrainedModel.parse(json.dumps(TRAINED), source="model.json").bundle_sha256 is None
    assert TrainedModel.parse(json.dumps(TRAINED | {"config_hash": "", "later": [1]}), source="m").config_hash == ""
    assert ClaimCheck.parse(json.dumps(CLAIM), source="claim.json").config_hash == ""
    with pytest.raises(BadInputError, match="field 'composite_score' is missing"):
        Promotion.parse(json.dumps(TRAINED), source="promotion.json")


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "soon", ""])
def test_a_time_that_is_none_is_a_value_error(text):
    with pytest.raises(ValueError, match=r"."):
        parse_timestamp(text)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("2025-01-31T12:00:00Z", "2025-01-31T12:00:00.000000Z"),
        ("2025-01-31T13:00:00.5+01:00", "2025-01-31T12:00:00.500000Z"),
        ("0007-01-31T12:00:00", "0007-01-31T12:00:00.000000Z"),
    ],
)
def test_times_are_written_in_utc(text, written):
    assert utc_timestamp(parse_timestamp(text)) == written
    assert utc_timestamp(parse_timestamp(written)) == written
