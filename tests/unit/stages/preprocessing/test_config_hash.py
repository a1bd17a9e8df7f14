"""The configuration that names a result."""

import hashlib
import json

import pytest

from flts.params import PreprocessParams
from flts.stages.preprocessing.config_hash import config_hash, preprocess_config

BASE = {"dataset_name": "PobleSec", "identifier": "run-001"}


def config(test_sha256="b" * 64, **changes):
    return preprocess_config(PreprocessParams(**{**BASE, **changes}), "a" * 64, test_sha256)


def test_the_configuration_is_canonical_json_of_what_changes_the_output():
    fields = json.loads(config())
    assert config() == json.dumps(fields, sort_keys=True, separators=(",", ":"))
    parameters = set(PreprocessParams.model_fields)
    left_out = {"identifier", "force_reprocess", "gateway_url", "input_bucket", "output_bucket"}
    assert set(fields) == parameters - left_out | {"train_sha256", "test_sha256", "format_version"}


def test_the_hash_is_the_sha256_of_its_bytes():
    text = config(extra_hash_salt="é")
    assert config_hash(text) == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    "changes",
    [
        {"dataset_name": "Other"},
        {"sample_train_rows": 50},
        {"clip_factor": 2.0},
        {"target_columns": "up"},
        {"extra_hash_salt": "x"},
        {"test_sha256": "c" * 64},
        {"test_sha256": None},
    ],
)
def test_whatever_changes_the_output_changes_the_hash(changes):
    assert config_hash(config(**changes)) != config_hash(config())


@pytest.mark.parametrize(
    "changes",
    [
        {"identifier": "run-002"},
        {"force_reprocess": 1},
        {"gateway_url": "file:///x"},
        {"input_bucket": "other"},
        {"output_bucket": "other"},
    ],
)
def test_who_asks_and_where_it_lies_does_not(changes):
    assert config(**changes) == config()
