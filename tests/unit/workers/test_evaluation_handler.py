"""Eval's handler: which models of a dataset it waits for, and when it compares them."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from flts.params import EvalParams
from flts.runtime.reporters import JsonReporter
from flts.stages import STAGES
from flts.store.file import FileStore
from flts.workers.handlers.evaluation import handle, trained_key
from flts.workers.messages import OutgoingMessage, ReceivedMessage
from flts.workers.settings import read_topics
from flts.workers.stage_runner import StageRunner

HASH = "c" * 64


@pytest.fixture
def runner(tmp_path: Path) -> StageRunner[EvalParams]:
    params = EvalParams(config_hash="", identifier="", gateway_url=f"file://{tmp_path}")
    reporter = JsonReporter(STAGES["eval"], sys.stderr)
    store = FileStore(tmp_path)
    return StageRunner(STAGES["eval"], params, read_topics("eval", {}), store, reporter, lambda _: None)


def tell(runner: StageRunner[EvalParams], model_type: str, rmse: float) -> list[OutgoingMessage]:
    """Hand it the message of a finished training."""
    message = {
        "model_type": model_type,
        "config_hash": HASH,
        "run_id": f"run-{model_type}",
        "status": "SUCCESS",
        "model_uri": f"runs:/run-{model_type}/{model_type}",
        **{"test_rmse": rmse, "test_mae": 0.1, "test_mse": 0.01},
        **{"train_start": "2026-01-01T00:00:00Z", "train_end": "2026-01-01T00:00:01Z"},
        **{"identifier": "station", "artifact_uri": "", "operation": f"Trained: {model_type}"},
    }
    return handle(ReceivedMessage("model-training", 0, 0, 0, b"key", json.dumps(message).encode()), runner)


def test_all_that_are_expected_are_compared_the_fourth_trainers_too(runner: StageRunner[EvalParams]) -> None:
    boosted = replace(runner, expected_types=("GRU", "LSTM", "PROPHET", "LIGHTGBM"))
    assert [tell(boosted, name, 0.2) for name in ("GRU", "LIGHTGBM", "PROPHET")] == [[], [], []]

    (promoted,) = tell(boosted, "LSTM", 0.3)

    assert json.loads(promoted.value)["model_type"] == "GRU"


def test_one_that_is_not_expected_is_kept_in_mind_and_starts_no_comparison(runner: StageRunner[EvalParams]) -> None:
    pair = replace(runner, expected_types=("GRU", "LSTM"))
    assert tell(pair, "GRU", 0.2) == []
    assert len(tell(pair, "LSTM", 0.3)) == 1

    assert tell(pair, "LIGHTGBM", 0.1) == []

    keys = {info.key for info in runner.store.list("model-promotion", "station/")}
    assert trained_key(f"station/{HASH}", "LIGHTGBM") in keys
    assert len([key for key in keys if "/promotion-" in key]) == 1
