"""The gate with real trainings in a real MLflow: a refitted champion meets what is trained on the same data."""

import numpy as np
import pytest

from flts.contracts import Promotion
from flts.datafiles.processed_parquet import write_processed
from flts.stage_interface import Context, InputArtifact
from flts.stages import STAGES
from flts.store.file import FileStore
from tests.support.processed import processed
from tests.support.training import Place

POOR = {"gru": {"epochs": 1, "linear_skip": False}, "prophet": {"residual_ar": False}}
POOR["lstm"] = POOR["gru"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A series every hour, with a daily cycle, in which a value depends on the one before it."""
    folder, rows = tmp_path_factory.mktemp("trained"), 1000
    values, shocks = np.sin(2 * np.pi * np.arange(rows) / 24), np.random.default_rng(0).normal(size=rows)
    for row in range(1, rows):
        shocks[row] += 0.95 * shocks[row - 1]
    write_processed(folder / "data.parquet", processed({"y": (values + shocks).tolist()}))
    return folder


@pytest.fixture(scope="module")
def place(folder):
    return Place(folder / "data.parquet", f"sqlite:///{folder}/mlflow.db", f"file://{folder}/store")


def candidates(place, folder, name, settings):
    """Train all three, and return the inputs of eval."""
    inputs = {"training_data": InputArtifact(place.training_data)}
    for slot in ("gru", "lstm", "prophet"):
        given = {"identifier": "station", "input_seq_len": 12} | settings.get(slot, {})
        result = place.train(f"train-{slot}", **given)
        for output in ("model", "metrics"):
            path = folder / f"{name}-{slot}-{output}.json"
            path.write_text(result.artifacts[output].content)
            inputs[f"{slot}_{output}"] = InputArtifact(path)
    return inputs


@pytest.fixture(scope="module")
def good(place, folder):
    return candidates(place, folder, "good", {})


@pytest.fixture(scope="module")
def poor(place, folder):
    return candidates(place, folder, "poor", POOR)


@pytest.fixture
def evaluate(place, tmp_path):
    """Runs eval with a store of its own; returns the result and the decision."""

    def call(inputs, **given):
        params = STAGES["eval"].params.model_validate({"config_hash": "", "identifier": "station"} | given)
        store = FileStore(tmp_path / "store")
        result = STAGES["eval"].run(params, Context(inputs, tmp_path, store=store, tracking_uri=place.tracking_uri))
        return result, Promotion.parse(result.artifacts["promotion_metadata"].content, source="promotion_metadata")

    return call


def test_a_worse_challenger_does_not_replace_a_champion_refitted_on_the_same_data(good, poor, evaluate, tmp_path):
    _, champion = evaluate(good, gate="champion")
    assert (champion.status, champion.reason) == ("PROMOTED", "nothing is in production yet")

    result, told = evaluate(poor, gate="champion")

    assert told.composite_score > champion.composite_score
    assert (told.status, told.champion_run_id) == ("HELD", champion.run_id)
    title = f"the champion {champion.model_type} (run {champion.run_id})"
    scores = f"composite score {told.composite_score:.4g} against {champion.composite_score:.4g}"
    assert told.reason == (
        f"{told.model_type} is held: it does not beat {title} on the same 150 rows: {scores}; the rows are from "
        "2024-02-05 10:00:00 to 2024-02-11 15:00:00, and the champion forecast all of them in its training, before any "
        "refit"
    )
    assert told.reason in result.artifacts["report"].content
    pointer = (tmp_path / "store" / "model-promotion" / "station" / "current.json").read_bytes()
    assert Promotion.parse(pointer, source="current.json") == champion


@pytest.mark.parametrize(("incomparable", "status"), [("promote", "PROMOTED"), ("hold", "HELD")])
def test_where_the_champions_forecasts_are_gone_the_parameter_decides(
    good, poor, evaluate, folder, tmp_path, incomparable, status
):
    _, champion = evaluate(good)
    (kept,) = folder.glob(f"**/{champion.run_id}/artifacts/selection.json")
    kept.rename(tmp_path / "selection.json")
    try:
        _, told = evaluate(poor, gate="champion", incomparable=incomparable)
    finally:
        (tmp_path / "selection.json").rename(kept)
    assert told.status == status
    assert f"run {champion.run_id} of {champion.model_type} has no selection.json" in told.reason
