"""The leaderboard of the test data with real bundles: every candidate on the same rows, no trouble for the stage."""

import json
import math
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient

from flts.contracts import LeaderboardEntry
from flts.datafiles.processed_parquet import write_processed
from flts.models import bundle
from flts.models.baselines import LearnedBaselines, exponential_smoothing, smoothing_weights
from flts.models.forecasting import one_step
from flts.models.linear_baseline import LinearBaseline
from flts.models.registry import MODELS
from flts.params import InferenceParams, ProphetParams
from flts.progress import no_progress
from flts.stage_interface import Context, InputArtifact
from flts.stages.forecasting.leaderboard import Leaderboard, log_to_run
from flts.stages.forecasting.stage import run
from flts.store.file import FileStore
from flts.timeseries.metrics import Scores, score, target_range
from flts.tracking import Tracking
from tests.support.champions import HISTORY, noise, off_by, promotion_of, trained
from tests.support.processed import processed

LONGER = 20
TESTED = 120


def params(history=HISTORY):
    return ProphetParams(config_hash="", config_json="", identifier="", input_seq_len=history, residual_ar=True)


@pytest.fixture(scope="module")
def data():
    return noise()


@pytest.fixture(scope="module")
def unseen():
    return noise(TESTED, seed=6)


@pytest.fixture(scope="module")
def models(data, tmp_path_factory):
    """Models that are off by 0, 1 and 2, and one with a longer window; their bundles hold the baselines."""
    folder = tmp_path_factory.mktemp("models")
    fits = {name: off_by(data, offset) for name, offset in (("good", 0.0), ("fair", 1.0), ("bad", 2.0))}
    fits["long"] = MODELS["PROPHET"].fit(data, params(LONGER), no_progress).forecaster
    made = {}
    for name, forecaster in fits.items():
        model = trained(folder / name, data, forecaster, minute=1, trained_until=None)
        learned = LearnedBaselines.learn(data, params())
        bundle.save(folder / name / "bundle", forecaster, data, baselines=learned)
        digest = {"bundle_sha256": bundle.digest(folder / name / "bundle")}
        made[name] = replace(model, message=model.message.model_copy(update=digest))
    return made


@pytest.fixture
def infer(models, unseen, tmp_path):
    """Forecasts with a model, as eval promotes it among candidates."""

    def call(name="fair", candidates=(), data=unseen, store=None, **promotion):
        messages = [one if hasattr(one, "run_id") else models[one].message for one in candidates]
        selected = promotion_of(models[name]).model_copy(update={"candidates": messages or None, **promotion})
        (tmp_path / "selected.json").write_text(selected.to_json())
        write_processed(tmp_path / "test.parquet", data)
        work_dir = tmp_path / "work"
        work_dir.mkdir(exist_ok=True)
        inputs = {"inference_data": InputArtifact(tmp_path / "test.parquet")}
        inputs["selected_model"] = InputArtifact(tmp_path / "selected.json")
        output_dir = None if store else tmp_path / "out"
        context = Context(inputs, work_dir, store=store, output_dir=output_dir)
        return run(InferenceParams(config_hash="", identifier="station"), context)

    return call


def metrics_of(result):
    return json.loads(result.artifacts["metrics"].content)


def board_of(result, part="test"):
    entries = [LeaderboardEntry.model_validate(fields) for fields in json.loads(metrics_of(result)["leaderboard"])]
    return [entry for entry in entries if entry.part == part]


def test_the_baselines_forecast_the_test_data_as_they_learned_in_training(infer, data, unseen):
    metrics = metrics_of(infer())
    origins = np.arange(HISTORY, TESTED)
    actual = unseen.actual_matrix()[origins]
    naive = np.abs(np.diff(data.actual["y"][: data.parts.fit_end])).mean()
    forecasts = {
        "exponential_smoothing": exponential_smoothing(unseen, smoothing_weights(data), origins),
        "linear": LinearBaseline.learn(data, params()).forecast(unseen, origins),
        "persistence": unseen.actual_matrix()[origins - 1],
    }
    for name, predicted in forecasts.items():
        error = (predicted - actual)[:, 0]
        assert metrics[f"backtest_{name}_rmse"] == pytest.approx(math.sqrt((error**2).mean()))
        assert metrics[f"backtest_{name}_mae"] == pytest.approx(np.abs(error).mean())
        assert metrics[f"backtest_{name}_mase"] == pytest.approx(np.abs(error).mean() / naive)
    assert metrics["backtest_mase"] == pytest.approx(metrics["backtest_mae"] / naive)
    assert metrics["backtest_nrmse"] == pytest.approx(metrics["backtest_rmse"] / np.abs(actual).mean())
    assert "backtest_smape" in metrics


def test_a_model_that_loses_to_a_baseline_says_so_first(infer):
    assert (
        infer("bad")
        .notes[0]
        .startswith(
            "PROPHET does not beat exponential smoothing or the linear baseline on the test data: backtest RMSE "
        )
    )
    assert not any("does not beat" in note for note in infer("good").notes)


def test_every_candidate_is_scored_on_the_rows_of_the_backtest(infer, models, data, unseen):
    result = infer("fair", ["good", "fair", "bad"])
    board, origins = board_of(result), np.arange(HISTORY, TESTED)
    by_run = {entry.run_id: entry for entry in board}
    actual = unseen.actual_matrix()[origins]
    for name, offset in (("good", 0.0), ("fair", 1.0), ("bad", 2.0)):
        predicted = one_step(off_by(data, offset), unseen, origins)
        expected = score(actual, predicted)
        entry = by_run[models[name].message.run_id]
        assert (entry.rmse, entry.mae, entry.mse) == pytest.approx((expected.rmse, expected.mae, expected.mse))
        assert entry.composite == pytest.approx(score(actual, predicted, unit=target_range(data)).composite)
        assert (entry.model, entry.rows) == ("PROPHET", len(origins))
    assert [entry.rank for entry in board] == list(range(1, len(board) + 1))
    assert [entry.composite for entry in board] == sorted(entry.composite for entry in board)
    assert {entry.model for entry in board if entry.run_id is None} == {
        *("persistence", "seasonal_naive", "exponential_smoothing", "linear")
    }
    persistence = next(entry for entry in board if entry.model == "persistence")
    assert persistence.skill == 0
    good = by_run[models["good"].message.run_id]
    assert good.rank == 1
    assert good.skill == pytest.approx(1 - good.rmse / persistence.rmse)
    assert not any("leaderboard" in note for note in result.notes)


def test_a_longer_window_takes_rows_from_all(infer, models):
    board = board_of(infer("fair", ["fair", "long"]))
    assert {entry.rows for entry in board} == {TESTED - LONGER}
    assert models["long"].message.run_id in {entry.run_id for entry in board}
    assert metrics_of(infer("fair", ["fair", "long"]))["backtest_rows"] == TESTED - HISTORY


def test_what_cannot_be_compared_is_left_out_with_a_note(infer, models, data, tmp_path):
    good = models["good"].message
    nowhere = good.model_copy(update={"run_id": "a", "model_uri": str(tmp_path / "nowhere")})
    in_mlflow = good.model_copy(update={"run_id": "b", "model_uri": "runs:/b/PROPHET"})
    other = processed({"z": data.frame.columns["y"]}, targets=("z",))
    bundle.save(tmp_path / "other", off_by(other, 0.0), other)
    digest = bundle.digest(tmp_path / "other")
    of_z = good.model_copy(update={"run_id": "c", "model_uri": str(tmp_path / "other"), "bundle_sha256": digest})

    result = infer("fair", [nowhere, in_mlflow, of_z, good])

    runs = {entry.run_id for entry in board_of(result)} - {None}
    assert runs == {models["fair"].message.run_id, good.run_id}
    said = [note for note in result.notes if note.startswith("PROPHET is not on the leaderboard of the test data: ")]
    assert len(said) == 3
    assert "nowhere" in said[0]
    assert "--mlflow-tracking-uri" in said[1]
    assert "it forecasts z, not y" in said[2]


def test_a_candidate_whose_forecasts_are_not_finite_has_no_rank(infer, models, unseen, monkeypatch):
    from flts.stages.forecasting import leaderboard

    monkeypatch.setattr(leaderboard, "one_step", lambda _, data, origins: np.full((len(origins), 1), np.nan))
    *_, last = board_of(infer("fair", ["good"]))
    assert (last.run_id, last.rank, last.rmse, last.skill) == (models["good"].message.run_id, None, None, None)


def test_the_table_is_a_file_with_both_parts(infer, models, unseen):
    run_id = models["good"].message.run_id
    chosen = LeaderboardEntry(model="PROPHET", run_id=run_id, part="selection", rank=1, composite=0.25, rows=7)
    result = infer("fair", ["good"], leaderboard=[chosen])
    table = pq.read_table(result.files["leaderboard.parquet"])
    assert table.column_names == [
        *("model", "run_id", "part", "rank", "composite", "rmse", "mae", "mse", "mase", "smape", "nrmse", "skill"),
        "rows",
    ]
    rows = table.to_pylist()
    assert rows[-1] == dict.fromkeys(table.column_names) | chosen.model_dump()
    assert [row for row in rows if row["part"] == "test"] == [entry.model_dump() for entry in board_of(result)]
    page = result.artifacts["report"].content
    assert page.index("The test data: errors") < page.index("The selection part: errors")


def test_in_a_store_the_table_is_that_of_the_latest_evaluation(infer, tmp_path):
    store = FileStore(tmp_path / "store")
    first, again = infer("fair", store=store), infer("fair", ["good"], store=store)
    assert again.cached
    keys = [info.key for info in store.list("inference-logs")]
    (key,) = [key for key in keys if key.endswith("/leaderboard.parquet")]
    assert key.rpartition("/")[0] in first.message
    (tmp_path / "board.parquet").write_bytes(store.get("inference-logs", key)[0])
    assert pq.read_table(tmp_path / "board.parquet").num_rows == len(board_of(again)) == len(board_of(first)) + 1


def test_the_leaderboard_is_logged_to_the_run_of_the_model_and_replaced(infer, models, tmp_path):
    database = f"sqlite:///{tmp_path / 'mlflow.db'}"
    tracking = Tracking(database)
    run_id = tracking.create_run(tracking.experiment("flts"), "GRU", {})
    context = Context({}, tmp_path, tracking_uri=database)
    selected = models["fair"].message.model_copy(update={"run_id": run_id, "model_uri": f"runs:/{run_id}/PROPHET"})
    first, second = (
        Leaderboard(Scores(1, 1, 1), {}, (LeaderboardEntry(model=name, part="test"),), ()) for name in ("GRU", "LSTM")
    )
    for board in (first, second):
        assert log_to_run(board, selected, context) == ""
    (found,) = MlflowClient(database).list_artifacts(run_id)
    assert found.path == "leaderboard.parquet"
    path = MlflowClient(database).download_artifacts(run_id, found.path, str(tmp_path))
    assert pq.read_table(path).to_pylist()[0]["model"] == "LSTM"
    missing = selected.model_copy(update={"run_id": "f" * 32})
    assert log_to_run(first, missing, context).startswith("the leaderboard is not in MLflow: ")
    assert log_to_run(first, models["fair"].message, context) == ""  # a bundle that is not in MLflow
    assert log_to_run(first, selected, replace(context, tracking_uri=None)) == ""


def test_a_bundle_of_an_older_version_has_the_baselines_that_learn_nothing(infer, models, data, tmp_path):
    bundle.save(tmp_path / "older", off_by(data, 2.0), data)
    where = {"model_uri": str(tmp_path / "older"), "bundle_sha256": bundle.digest(tmp_path / "older")}
    result = infer("bad", **where)
    metrics = metrics_of(result)
    assert "backtest_seasonal_naive_rmse" in metrics
    assert not {"backtest_linear_rmse", "backtest_exponential_smoothing_rmse", "backtest_mase"} & metrics.keys()
    assert not any("does not beat" in note for note in result.notes)
