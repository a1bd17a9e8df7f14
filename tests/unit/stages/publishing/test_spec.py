"""The fingerprint of a training."""

from dataclasses import replace

import pytest

from flts.stages.publishing import spec as spec_module
from flts.stages.publishing.spec import TrainingSpec

SPEC = TrainingSpec("GRU", "", "c" * 64, "flts", {"seed": 1})


@pytest.mark.parametrize(
    "change",
    [
        {"model_type": "LSTM"},
        {"identifier": "b"},
        {"config_hash": "d" * 64},
        {"experiment_name": "other"},
        {"parameters": {"seed": 2}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_input_is_another_fingerprint(change):
    assert replace(SPEC, **change).fingerprint() != SPEC.fingerprint() == replace(SPEC).fingerprint()


def test_other_code_is_another_fingerprint(monkeypatch):
    before = SPEC.fingerprint()
    monkeypatch.setattr(spec_module, "source_digest", lambda: "other")
    assert SPEC.fingerprint() != before
