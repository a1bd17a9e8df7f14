"""The eval stage: scores worked out by hand, what may win, and what is promoted."""

import json
import math
import os

import pytest

from flts.contracts import Promotion, TrainedModel
from flts.errors import BadInputError
from flts.models import bundle
from flts.params import EvalParams, ProphetParams
from flts.stage_interface import Context, InputArtifact
from flts.stages.evaluation.stage import run
from flts.stages.inputs import read_selected
from flts.store.file import FileStore

HASH = "c" * 64
PARAMS = EvalParams(config_hash=HASH, identifier="run-001")
TYPES = {"gru": "GRU", "lstm": "LSTM", "prophet": "PROPHET", "lightgbm": "LIGHTGBM"}
# 0.5 rmse + 0.3 mae + 0.2 mse: 0.121, 0.114 and 0.16.
SCORES = {"gru": (0.2, 0.06, 0.015), "lstm": (0.15, 0.1, 0.045), "prophet": (0.2, 0.1, 0.15)}


def message(slot, **fields):
    defaults = {
        "model_type": TYPES[slot],
        "config_hash": HASH,
        "run_id": f"run-{slot}",
        "status": "SUCCESS",
        "model_uri": f"runs:/run-{slot}/{TYPES[slot]}",
        "test_rmse": None,
        "test_mae": None,
        "test_mse": None,
        "train_start": "2025-01-31T11:00:00.000000Z",
        "train_end": "2025-01-31T12:00:00.000000Z",
        "identifier": "run-001",
        "artifact_uri": f"/mlflow/{slot}",
        "operation": f"Trained: {TYPES[slot]}",
    }
    return TrainedModel(**defaults | fields)


class Candidates:
    """The six input artifacts of eval as files, with other scores or messages where a test gives them."""

    def __init__(self, folder):
        self.folder = folder
        self.inputs = {}
        for slot, scores in SCORES.items():
            self.model(slot)
            self.metrics(slot, scores)

    def model(self, slot, **fields):
        self._write(f"{slot}_model", message(slot, **fields).to_json())
        return self

    def metrics(self, slot, scores, **baselines):
        fields = dict(zip(("test_rmse", "test_mae", "test_mse"), scores, strict=True))
        for prefix, values in baselines.items():
            fields |= dict(zip((f"{prefix}_test_{name}" for name in ("rmse", "mae", "mse")), values, strict=True))
        self._write(f"{slot}_metrics", json.dumps(fields))
        return self

    def given(self, name, path):
        self.inputs[name] = InputArtifact(path)
        return self

    def _write(self, name, content):
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        (folder / "artifact.json").write_text(content)
        self.inputs[name] = InputArtifact(folder / "artifact.json")

    def evaluate(self, params=PARAMS, **context):
        work_dir = self.folder / "work"
        work_dir.mkdir(exist_ok=True)
        return run(params, Context(self.inputs, work_dir, **context))


@pytest.fixture
def candidates(tmp_path):
    return Candidates(tmp_path)


def selected(result):
    return Promotion.parse(result.artifacts["selected_model"].content, source="selected_model")


def test_the_lowest_composite_score_wins(candidates):
    result = candidates.evaluate()
    promotion = selected(result)
    assert promotion.score == promotion.composite_score == pytest.approx(0.114)
    given = {"score": 0.114, "composite_score": 0.114, "candidates": None, "leaderboard": None}
    assert promotion.model_copy(update=given) == Promotion(
        model_uri="runs:/run-lstm/LSTM",
        model_type="LSTM",
        run_id="run-lstm",
        config_hash=HASH,
        composite_score=0.114,
        test_rmse=0.15,
        test_mae=0.1,
        test_mse=0.045,
        promotion_time="2025-01-31T12:00:00.000000Z",
        identifier="run-001",
        experiment="flts",
        weights={"rmse": 0.5, "mae": 0.3, "mse": 0.2},
        rmse=0.15,
        mae=0.1,
        mse=0.045,
        score=0.114,
        timestamp="2025-01-31T12:00:00.000000Z",
        operation="Promotion",
        status="PROMOTED",
        artifact_uri="/mlflow/lstm",
    )
    assert result.artifacts["promotion_metadata"] == result.artifacts["selected_model"]
    assert result.artifacts["selected_model"].metadata["model_type"] == "LSTM"
    assert result.notes == ()


def test_the_promotion_carries_every_candidate_and_the_leaderboard(candidates):
    for slot, scores in SCORES.items():
        candidates.metrics(slot, scores, persistence=(0.3, 0.1, 0.09), exponential_smoothing=(0.12, 0.1, 0.0144))
    extra = json.loads(candidates.inputs["lstm_metrics"].path.read_text())
    extra |= {"test_mase": 0.8, "scored_rows": 77.0, "exponential_smoothing_test_mase": 0.9}
    candidates.inputs["lstm_metrics"].path.write_text(json.dumps(extra))
    candidates.model("gru", metrics={"test_rmse": 0.2})  # as over Kafka
    result = candidates.evaluate()
    promotion = selected(result)
    assert promotion.candidates == [message(slot) for slot in SCORES]
    assert promotion.leaderboard is not None
    assert [(entry.rank, entry.model, entry.run_id) for entry in promotion.leaderboard] == [
        (1, "exponential_smoothing", None),
        (2, "LSTM", "run-lstm"),
        (3, "GRU", "run-gru"),
        (4, "PROPHET", "run-prophet"),
        (5, "persistence", None),
    ]
    smoothing, lstm, gru, *_ = promotion.leaderboard
    assert (lstm.composite, lstm.skill) == (pytest.approx(0.114), pytest.approx(1 - 0.15 / 0.3))
    assert (lstm.mase, lstm.rows, smoothing.mase, smoothing.rows) == (0.8, 77, 0.9, 77)
    assert (gru.mase, gru.rows, gru.part) == (None, None, "selection")
    assert not {"candidates", "leaderboard"} & result.artifacts["selected_model"].metadata.keys()
    assert "Models and baselines one step ahead on the selection part" in result.artifacts["report"].content


@pytest.mark.parametrize(
    ("tied", "winner"),
    [(("gru", "lstm", "prophet"), "GRU"), (("lstm", "prophet"), "LSTM"), (("gru", "prophet"), "GRU")],
)
def test_ties_go_in_the_order_gru_lstm_prophet(candidates, tied, winner):
    for slot in tied:
        candidates.metrics(slot, (0.1, 0.1, 0.1))
    result = candidates.evaluate()
    assert selected(result).model_type == winner
    assert "tie" in result.artifacts["report"].content


@pytest.mark.parametrize("broken", [math.nan, None, math.inf, -1.0])
@pytest.mark.parametrize("position", [0, 1, 2])
def test_metrics_that_are_no_scores_never_win(candidates, broken, position):
    scores = [0.001, 0.001, 0.001]
    scores[position] = broken
    result = candidates.metrics("gru", scores).evaluate()
    assert selected(result).model_type == "LSTM"
    (note,) = result.notes
    assert note.startswith("GRU cannot win")


def test_a_missing_metric_never_wins(candidates):
    candidates.inputs["gru_metrics"].path.write_text('{"test_rmse": 0.001, "test_mae": 0.001}')
    assert selected(candidates.evaluate()).model_type == "LSTM"


def test_without_any_valid_metrics_nothing_is_promoted(candidates, tmp_path):
    for slot in SCORES:
        candidates.metrics(slot, (math.nan, 0.1, 0.1))
    with pytest.raises(BadInputError, match=r"no model can be promoted.*GRU in .*LSTM in .*PROPHET in "):
        candidates.evaluate(store=FileStore(tmp_path / "store"))
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("name", ["gru_model", "lstm_metrics", "prophet_model"])
def test_a_missing_trainer_is_an_error_that_names_it(candidates, name):
    path = candidates.inputs[name].path
    path.unlink()
    with pytest.raises(BadInputError, match=f"input {name} is missing.*{path}"):
        candidates.evaluate()
    del candidates.inputs[name]
    with pytest.raises(BadInputError, match=f"input {name} is missing"):
        candidates.evaluate()


def test_the_fourth_trainers_model_competes_where_it_is_given(candidates):
    candidates.model("lightgbm").metrics("lightgbm", (0.1, 0.05, 0.01))
    result = candidates.evaluate()
    assert selected(result).model_type == "LIGHTGBM"
    assert "LIGHTGBM has the lowest composite score" in result.artifacts["report"].content


def test_among_equals_the_fourth_trainers_model_comes_last(candidates):
    candidates.model("lightgbm").metrics("lightgbm", SCORES["lstm"])
    assert selected(candidates.evaluate()).model_type == "LSTM"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("model", "input lightgbm_metrics is missing: lightgbm_model was given, and eval needs both or neither"),
        ("metrics", "input lightgbm_model is missing: lightgbm_metrics was given, and eval needs both or neither"),
    ],
)
def test_one_of_the_two_optional_inputs_alone_is_refused(candidates, given, said):
    candidates.model("lightgbm").metrics("lightgbm", (0.1, 0.05, 0.01))
    (other,) = {"model", "metrics"} - {given}
    del candidates.inputs[f"lightgbm_{other}"]
    with pytest.raises(BadInputError, match=f"^{said}$"):
        candidates.evaluate()


def test_a_model_in_the_wrong_place_is_refused(candidates):
    candidates.inputs["gru_model"], candidates.inputs["lstm_model"] = (
        candidates.inputs["lstm_model"],
        candidates.inputs["gru_model"],
    )
    with pytest.raises(BadInputError, match=r"gru_model .* is a LSTM model: GRU is expected"):
        candidates.evaluate()


def test_a_training_that_is_not_finished_is_refused(candidates):
    with pytest.raises(BadInputError, match=r"LSTM \(run run-lstm\) is not finished"):
        candidates.model("lstm", status="RUNNING").evaluate()


def test_models_of_different_data_are_not_compared(candidates):
    candidates.model("prophet", config_hash="d" * 64)
    with pytest.raises(BadInputError, match=f"PROPHET was trained on data with config_hash {'d' * 64}, but {HASH}"):
        candidates.evaluate()
    with pytest.raises(BadInputError, match=f"but {HASH} is expected"):
        candidates.evaluate(EvalParams(config_hash="", identifier=""))


def test_models_of_other_data_than_expected_are_refused(candidates):
    with pytest.raises(BadInputError, match="GRU was trained on data"):
        candidates.evaluate(EvalParams(config_hash="e" * 64, identifier=""))


def test_an_empty_config_hash_is_that_of_the_models(candidates):
    assert selected(candidates.evaluate(EvalParams(config_hash="", identifier=""))).config_hash == HASH


def test_metrics_of_another_model_are_refused(candidates):
    candidates.model("gru", test_rmse=0.3, test_mae=0.06, test_mse=0.015)
    with pytest.raises(BadInputError, match=r"gru_metrics .* do not belong to gru_model .*: test_rmse is 0\.2 in"):
        candidates.evaluate()


@pytest.mark.parametrize("content", ["", "[]", "{", '{"test_rmse": "low"}', '{"test_rmse": true}'])
def test_a_metrics_file_without_numbers_is_named(candidates, content):
    path = candidates.inputs["gru_metrics"].path
    path.write_text(content)
    with pytest.raises(BadInputError, match=str(path)):
        candidates.evaluate()


def test_an_unreadable_time_of_training_is_named(candidates):
    with pytest.raises(BadInputError, match=r"GRU .*train_end 'yesterday' is not a time"):
        candidates.model("gru", train_end="yesterday").evaluate()


def test_the_promotion_time_is_the_latest_end_of_a_training(candidates):
    candidates.model("prophet", train_end="2025-02-01T03:00:00+01:00")
    assert selected(candidates.evaluate()).promotion_time == "2025-02-01T02:00:00.000000Z"


def test_the_experiment_is_the_winners(candidates):
    assert selected(candidates.model("lstm", experiment="cells").evaluate()).experiment == "cells"


def test_a_winner_that_a_naive_forecast_beats_is_promoted_with_a_warning(candidates):
    candidates.metrics("lstm", SCORES["lstm"], persistence=(0.1, 0.1, 0.01), linear=(0.2, 0.2, 0.04))
    result = candidates.evaluate()
    assert selected(result).model_type == "LSTM"
    (note,) = result.notes
    assert "LSTM is worse than persistence: composite score 0.114 against 0.082" in note
    page = result.artifacts["report"].content
    assert note.removeprefix("the ") in page
    assert "does not beat persistence (0.082) and beats the linear model (0.168)" in page


def test_the_report_says_by_how_much_and_through_which_metric_the_winner_won(candidates):
    page = candidates.evaluate().artifacts["report"].content
    # LSTM's 0.114 against GRU's 0.121: rmse gains 0.025, mae and mse lose 0.012 and 0.006.
    assert "LSTM has the lowest composite score, 0.114: 5.8% below GRU, mostly through its RMSE." in page


def test_a_store_gets_history_and_pointers_and_a_repeat_changes_nothing(candidates, tmp_path):
    store = FileStore(tmp_path / "store")
    first = candidates.evaluate(store=store)
    content = {info.key: store.get("model-promotion", info.key)[0] for info in store.list("model-promotion")}
    assert len(content) == 4
    assert set(content.values()) == {first.artifacts["selected_model"].content.encode()}
    assert not first.cached

    again = candidates.evaluate(store=store)

    assert again.cached
    assert again.artifacts["selected_model"] == first.artifacts["selected_model"]
    assert {i.key: store.get("model-promotion", i.key)[0] for i in store.list("model-promotion")} == content


def test_an_older_evaluation_says_which_pointers_it_left(candidates, tmp_path):
    store = FileStore(tmp_path / "store")
    candidates.model("gru", train_end="2025-03-01T00:00:00Z").evaluate(store=store)
    result = candidates.model("gru").evaluate(store=store)
    assert "model-promotion/current.json already names a later promotion" in result.notes


@pytest.fixture(scope="module")
def prophet_bundle(tmp_path_factory):
    from flts.models.prophet.training import fit_prophet
    from tests.support.series import make_data

    data = make_data(60)
    params = ProphetParams(config_hash="", config_json="", identifier="", n_changepoints=0, daily_seasonality="false")
    folder = tmp_path_factory.mktemp("prophet") / "bundle"
    bundle.save(folder, fit_prophet(data, params).forecaster, data)
    return folder


def test_a_bundle_folder_is_a_candidate(candidates, prophet_bundle, tmp_path):
    candidates.given("prophet_model", prophet_bundle).metrics("prophet", (0.01, 0.01, 0.01))
    output_dir = tmp_path / "out"
    os.utime(prophet_bundle / "checksums.json", (1_750_000_000, 1_750_000_000))

    promotion = selected(candidates.evaluate(output_dir=output_dir))

    assert promotion.model_type == "PROPHET"
    assert promotion.run_id == bundle.digest(prophet_bundle)[:32]
    assert (output_dir / promotion.model_uri).resolve() == prophet_bundle
    assert promotion.promotion_time == "2025-06-15T15:06:40.000000Z"


def test_the_promotion_of_a_bundle_folder_carries_its_digest(candidates, prophet_bundle):
    candidates.given("prophet_model", prophet_bundle).metrics("prophet", (0.01, 0.01, 0.01))
    assert selected(candidates.evaluate()).bundle_sha256 == bundle.digest(prophet_bundle)


def test_the_promotion_carries_the_digest_that_the_trainer_gave(candidates):
    candidates.model("lstm", bundle_sha256="d" * 64)
    assert selected(candidates.evaluate()).bundle_sha256 == "d" * 64


@pytest.mark.parametrize("train_end", ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59-14:00"])
def test_a_training_from_the_future_would_stop_every_later_promotion(candidates, tmp_path, train_end):
    store = FileStore(tmp_path / "store")
    candidates.model("gru", train_end=train_end)
    with pytest.raises(BadInputError, match=r"lies in the future|is not a time"):
        candidates.evaluate(store=store)
    assert not list(store.list("model-promotion"))


@pytest.mark.parametrize(
    "content",
    ['{"a":' * 100_000, '{"test_rmse": ' + "1" * 400 + "}", '{"test_rmse": {"a": []}}', "\ud800", "[]"],
    ids=["nested", "a number beyond floats", "an object", "half a character", "list"],
)
def test_metrics_that_nobody_should_write_are_a_sentence(candidates, content):
    path = candidates.inputs["gru_metrics"].path
    path.write_bytes(content.encode(errors="surrogatepass"))
    with pytest.raises(BadInputError, match=r"gru_metrics/artifact\.json") as caught:
        candidates.evaluate()
    assert len(str(caught.value)) < 500


def test_a_damaged_bundle_is_no_candidate(candidates, prophet_bundle, tmp_path):
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for path in prophet_bundle.iterdir():
        (damaged / path.name).write_bytes(path.read_bytes())
    (damaged / "config.json").write_bytes((damaged / "config.json").read_bytes().replace(b"GRU", b"gru") + b" ")
    with pytest.raises(BadInputError, match=r"config\.json differs from its SHA-256"):
        candidates.given("prophet_model", damaged).evaluate()


def test_a_relative_model_path_is_kept_right_in_the_new_message(candidates, tmp_path):
    candidates.model("lstm", model_uri="../trained/bundle")
    promotion = selected(candidates.evaluate(output_dir=tmp_path / "deep" / "out"))
    assert promotion.model_uri == "../../trained/bundle"
    assert promotion.candidates is not None
    assert [one.model_uri for one in promotion.candidates] == [
        *("runs:/run-gru/GRU", "../../trained/bundle", "runs:/run-prophet/PROPHET")
    ]
    (tmp_path / "deep" / "out").mkdir(parents=True)
    written = tmp_path / "deep" / "out" / "selected_model.json"
    written.write_text(promotion.to_json())
    read = read_selected(InputArtifact(written))
    assert isinstance(read, Promotion)
    assert read.candidates is not None
    assert read.model_uri == read.candidates[1].model_uri == str(tmp_path / "trained" / "bundle")
