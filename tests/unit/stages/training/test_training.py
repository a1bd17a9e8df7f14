"""The training stages by themselves, without MLflow: what they hand on, and what they refuse."""

import json
from pathlib import Path

import numpy as np
import pytest

from flts.boundary.files import sha256_file
from flts.contracts import TrainedModel
from flts.datafiles.processed_parquet import read_processed, write_processed
from flts.errors import BadInputError
from flts.models import bundle
from flts.models.forecasting import one_step
from flts.stage_interface import Context, InputArtifact
from flts.stages import STAGES
from flts.stages.selection import SelectionForecasts
from flts.stages.training.scoring import scored_origins
from flts.timeseries.metrics import score, target_range
from tests.support.series import make_data

SMALL = {"hidden_size": 4, "num_layers": 1, "epochs": 3, "learning_rate": 0.01}
FIXED = {"growth": "flat", "n_changepoints": 0}
TRAINERS = {"train-gru": SMALL, "train-lstm": SMALL, "train-prophet": FIXED}


@pytest.fixture(scope="module")
def training_data(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "processed_data.parquet"
    write_processed(path, make_data(150))
    return path


def train(name, training_data, folder, **given):
    stage = STAGES[name]
    required = {"config_hash": "", "config_json": "", "identifier": "run-001"}
    params = stage.params(**{**required, **TRAINERS[name], **given})
    folder.mkdir(parents=True, exist_ok=True)
    context = Context({"training_data": InputArtifact(training_data)}, work_dir=folder, output_dir=folder)
    return stage.run(params, context)


def message(result) -> TrainedModel:
    return TrainedModel.parse(result.artifacts["model"].content, source="model")


@pytest.mark.parametrize("name", TRAINERS)
def test_a_trainer_hands_on_message_metrics_report_and_a_bundle_that_loads(name, training_data, tmp_path):
    result = train(name, training_data, tmp_path)
    told, metrics = message(result), json.loads(result.artifacts["metrics"].content)
    assert set(result.files) == {"bundle", "selection.json"}
    loaded = bundle.load(result.files["bundle"])
    assert told.model_type == loaded.config.model_type == name.removeprefix("train-").upper()
    assert told.status == "SUCCESS"
    assert told.operation == f"Trained: {told.model_type}"
    assert told.config_hash == "c" * 64
    assert told.identifier == "run-001"
    assert told.train_start < told.train_end
    assert (told.test_rmse, told.test_mae, told.test_mse) == tuple(metrics[f"test_{n}"] for n in ("rmse", "mae", "mse"))
    assert result.artifacts["report"].content.lower().startswith("<!doctype html>")
    assert not result.cached


@pytest.mark.parametrize("name", TRAINERS)
def test_without_mlflow_a_run_is_named_after_its_bundle(name, training_data, tmp_path):
    result = train(name, training_data, tmp_path)
    digest = bundle.digest(result.files["bundle"])
    assert result.parameters == {"run_id": digest[:32]}
    assert message(result).run_id == digest[:32]
    assert message(result).model_uri == message(result).artifact_uri == "bundle"


@pytest.mark.parametrize(("refit", "last"), [(False, int(0.85 * 150) - 1), (True, 149)])
def test_message_and_bundle_say_until_when_it_was_trained(training_data, tmp_path, refit, last):
    result = train("train-prophet", training_data, tmp_path, refit=refit)
    told = np.datetime64(message(result).trained_until.removesuffix("Z"))
    assert told == make_data(150).frame.time[last]
    assert bundle.load(result.files["bundle"]).config.trained_until == message(result).trained_until


def test_intervals_are_of_the_level_asked_for_and_the_same_with_a_refit(training_data, tmp_path):
    made = {}
    for level, refit in ((0.8, False), (0.8, True), (0.95, True)):
        result = train("train-gru", training_data, tmp_path / f"{level}{refit}", interval_level=level, refit=refit)
        made[level, refit] = bundle.load(result.files["bundle"]).intervals
    assert made[0.8, True].fitted() == made[0.8, False].fitted()  # from the model that had not seen the selection part
    assert (made[0.95, True].level, made[0.8, True].level) == (0.95, 0.8)
    assert (made[0.95, True].widths[0] > made[0.8, True].widths[0]).all()


@pytest.mark.parametrize("refit", [False, True])
def test_the_kept_forecasts_are_those_that_were_scored_before_a_refit(training_data, tmp_path, refit):
    result, data = train("train-gru", training_data, tmp_path, refit=refit), make_data(150)
    kept = SelectionForecasts.parse(result.files["selection.json"].read_text(), source="selection.json")
    rows = np.searchsorted(data.frame.time, kept.time)
    assert rows[0] == data.parts.validation_end
    assert np.array_equal(kept.matrix(data.targets, actual=True), data.actual_matrix()[rows], equal_nan=True)
    found = score(data.actual_matrix()[rows], kept.predicted["a"][:, None], unit=target_range(data))
    metrics = json.loads(result.artifacts["metrics"].content)
    assert found.rmse == pytest.approx(metrics["test_rmse"], rel=1e-12)


@pytest.mark.parametrize("name", TRAINERS)
def test_the_message_carries_the_digest_of_the_bundle(name, training_data, tmp_path):
    result = train(name, training_data, tmp_path)
    assert message(result).bundle_sha256 == bundle.digest(result.files["bundle"])


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("size", 7, r"processed_data\.parquet has \d+ bytes, but its claim check .*claim\.json says size 7$"),
        ("rows", 149, r"processed_data\.parquet has rows 150, but its claim check .*claim\.json says 149$"),
        ("config_hash", "d" * 64, f"has config_hash {'c' * 64}, but its claim check .* says {'d' * 64}$"),
        ("sha256", "0" * 64, "has SHA-256 [0-9a-f]+, but its claim check"),
    ],
)
def test_every_field_of_a_claim_check_is_verified(training_data, tmp_path, field, value, said):
    fields = {
        "bucket": "",
        "object": training_data.name,
        "size": training_data.stat().st_size,
        "identifier": "run-001",
        "config_hash": "c" * 64,
        "sha256": sha256_file(training_data),
        "rows": 150,
    }
    claim = training_data.with_name("claim.json")
    for right in (fields, fields | {"config_hash": ""}):
        claim.write_text(json.dumps(right))
        assert train("train-prophet", claim, tmp_path / right["config_hash"][:1]).parameters
    claim.write_text(json.dumps(fields | {field: value}))
    with pytest.raises(BadInputError, match=said):
        train("train-prophet", claim, tmp_path / "wrong")


@pytest.mark.parametrize(
    ("params", "said"),
    [
        (
            {"hidden_size": 8192, "num_layers": 64, "members": 1},
            r"has 25,57\d,\d+,\d+ weights \(95\.\d GiB\): at most 268,435,456",
        ),
        (
            {"hidden_size": 4096, "num_layers": 2},
            r"4 networks, each a GRU .* have \d+,\d+,\d+ weights \(2\.3 GiB\): at most 268,435,456",
        ),
        ({"hidden_size": 512, "input_seq_len": 40, "batch_size": 10**6}, r"members 4 needs .* GiB of memory: at most"),
    ],
)
def test_a_network_that_needs_absurd_memory_is_refused_before_training(
    training_data, tmp_path, monkeypatch, params, said
):
    monkeypatch.setattr("flts.models.recurrent.network.LARGEST_BATCH", 1 << 20)
    with pytest.raises(BadInputError, match=said):
        train("train-gru", training_data, tmp_path, **params)


@pytest.mark.parametrize("name", ["train-gru", "train-prophet"])
@pytest.mark.parametrize("largest", [1 << 10, 1 << 13], ids=["labels", "moments"])
def test_more_steps_than_memory_has_room_for_are_refused(training_data, tmp_path, monkeypatch, name, largest):
    monkeypatch.setattr("flts.models.linear_skip.MAX_NUMBERS", largest)
    said = r"learning to forecast 4 steps at once needs .* of memory: at most .*; a smaller output_seq_len, or fewer"
    with pytest.raises(BadInputError, match=said):
        train(name, training_data, tmp_path, output_seq_len=4)


def test_metadata_repeats_message_and_metrics(training_data, tmp_path):
    result = train("train-gru", training_data, tmp_path)
    told, metadata = message(result), result.artifacts["model"].metadata
    assert {name: metadata[name] for name in ("model_type", "run_id", "train_start", "train_end", "test_rmse")} == {
        name: getattr(told, name) for name in ("model_type", "run_id", "train_start", "train_end", "test_rmse")
    }
    assert metadata["mlflow_uri"] == told.model_uri
    metrics = result.artifacts["metrics"]
    assert json.loads(metrics.content) == metrics.metadata
    assert all(isinstance(value, int | float) for value in metrics.metadata.values())
    assert {"composite_score", "persistence_test_rmse", "seasonal_naive_test_mae", "linear_composite_score"} <= set(
        metrics.metadata
    )
    assert {"exponential_smoothing_test_rmse", "test_mase", "test_smape", "linear_test_nrmse"} <= set(metrics.metadata)


@pytest.mark.parametrize("name", TRAINERS)
def test_reported_scores_are_those_of_the_saved_model(name, training_data, tmp_path):
    result = train(name, training_data, tmp_path, refit=False)
    data = read_processed(training_data)
    model = bundle.load(result.files["bundle"]).forecaster
    origins = scored_origins(data, STAGES[name].params(config_hash="", config_json="", identifier=""))
    expected = score(data.actual_matrix()[origins], one_step(model, data, origins), unit=target_range(data))
    assert message(result).test_rmse == pytest.approx(expected.rmse, rel=1e-9)
    assert len(origins) == result.artifacts["metrics"].metadata["scored_rows"]


@pytest.mark.parametrize("name", TRAINERS)
def test_the_same_training_twice_gives_the_same_bytes(name, training_data, tmp_path):
    first, second = (train(name, training_data, tmp_path / folder) for folder in ("one", "two"))
    for path in sorted(first.files["bundle"].iterdir()):
        assert path.read_bytes() == (second.files["bundle"] / path.name).read_bytes()
    assert first.artifacts["metrics"].content == second.artifacts["metrics"].content
    assert first.parameters == second.parameters


@pytest.mark.parametrize("name", TRAINERS)
def test_refit_keeps_the_metrics_and_changes_the_model(name, training_data, tmp_path):
    plain, refit = (train(name, training_data, tmp_path / str(on), refit=on) for on in (False, True))
    assert refit.artifacts["metrics"].content == plain.artifacts["metrics"].content
    assert refit.parameters != plain.parameters


def test_prophet_is_reported_with_and_without_residual_correction(training_data, tmp_path):
    corrected = train("train-prophet", training_data, tmp_path / "a").artifacts["metrics"].metadata
    plain = train("train-prophet", training_data, tmp_path / "b", residual_ar=False).artifacts["metrics"].metadata
    assert corrected["plain_test_rmse"] == plain["test_rmse"]
    assert corrected["test_rmse"] < plain["test_rmse"]  # a random walk: the last residual says most
    assert "plain_test_rmse" not in plain


def test_several_targets_and_steps_are_trained_and_scored(tmp_path):
    path = tmp_path / "data.parquet"
    write_processed(path, make_data(150, targets=("a", "b")))
    result = train("train-lstm", path, tmp_path / "out", output_seq_len=3)
    model = bundle.load(result.files["bundle"]).forecaster
    assert model.targets == ("a", "b")
    assert model.forecast(read_processed(path).frame, np.array([20])).shape == (1, 3, 2)


def test_a_foreign_csv_is_trained_on_its_first_column(tmp_path):
    data = make_data(150)
    rows = [f"{t},{a},{b}" for t, a, b in zip(data.frame.time, *(data.frame.columns[n] for n in "ba"), strict=True)]
    (tmp_path / "foreign.csv").write_text("\n".join(["time,level,other", *rows]) + "\n")
    result = train("train-gru", tmp_path / "foreign.csv", tmp_path / "out")
    config = bundle.load(result.files["bundle"]).config
    assert config.targets == ("level",)
    assert message(result).config_hash == config.config_hash


def test_progress_rises_from_start_to_end(training_data, tmp_path):
    told = []
    stage = STAGES["train-gru"]
    params = stage.params(config_hash="", config_json="", identifier="", refit=True, **SMALL)
    context = Context(
        {"training_data": InputArtifact(training_data)},
        work_dir=tmp_path,
        output_dir=tmp_path,
        progress=lambda fraction, text: told.append((fraction, text)),
    )
    stage.run(params, context)
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions)
    assert 0 <= fractions[0] < fractions[-1] <= 1
    assert any("epoch 2/3" in text for _, text in told)


@pytest.mark.parametrize("name", TRAINERS)
def test_data_of_another_configuration_is_refused(name, training_data, tmp_path):
    with pytest.raises(BadInputError, match=f"config_hash {'c' * 64}, but config_hash abc was given"):
        train(name, training_data, tmp_path, config_hash="abc")
    with pytest.raises(BadInputError, match="another configuration than the config_json"):
        train(name, training_data, tmp_path, config_json='{"scaler":"none"}')


@pytest.mark.parametrize("name", TRAINERS)
def test_too_few_rows_are_refused_before_training(name, tmp_path):
    path = tmp_path / "short.parquet"
    write_processed(path, make_data(15))
    with pytest.raises(BadInputError, match=r"the training data has 15 rows, but input_seq_len 10 .* at least 16"):
        train(name, path, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_pipeline_task_without_mlflow_is_refused(training_data, tmp_path):
    stage = STAGES["train-gru"]
    params = stage.params(config_hash="", config_json="", identifier="")
    with pytest.raises(BadInputError, match="mlflow_tracking_uri"):
        stage.run(params, Context({"training_data": InputArtifact(training_data)}, work_dir=tmp_path))
