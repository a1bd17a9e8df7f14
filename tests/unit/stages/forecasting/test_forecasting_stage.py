"""The inference stage with a real GRU: forecasts, scores against what was measured, backtest, log and refusals."""

import json
import os
import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pyarrow.parquet as pq
import pytest

from flts.boundary.files import sha256_file
from flts.contracts import ClaimCheck, ForecastBatch, TrainedModel, canonical_json
from flts.datafiles.processed_parquet import write_processed
from flts.errors import BadInputError, ChecksumMismatchError
from flts.models import bundle
from flts.models.forecasting import one_step
from flts.models.intervals import Intervals
from flts.params import InferenceParams, RecurrentParams
from flts.stage_interface import Context, InputArtifact
from flts.stages.forecasting.stage import run
from flts.store.file import FileStore
from flts.timeseries.frame import Frame
from tests.support.bundles import edit
from tests.support.series import make_data

WINDOW = 5
GAP = 30
UNMEASURED = [12, 40]
HASH = "c" * 64


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A trained bundle, and beside it the message that names it."""
    from flts.models.recurrent.training import fit_recurrent

    data = make_data(200)
    params = RecurrentParams(
        config_hash="", config_json="", identifier="", hidden_size=4, num_layers=1, epochs=2, input_seq_len=WINDOW
    )
    folder = tmp_path_factory.mktemp("gru")
    forecaster = fit_recurrent("GRU", data, params).forecaster
    rows = np.arange(data.parts.validation_end, len(data))
    intervals = Intervals.learn(forecaster, data, one_step(forecaster, data, rows), rows, level=0.8)
    bundle.save(folder / "bundle", forecaster, data, intervals=intervals)
    message = TrainedModel(
        model_type="GRU",
        config_hash=HASH,
        run_id=bundle.digest(folder / "bundle")[:32],
        status="SUCCESS",
        model_uri="bundle",
        test_rmse=0.1,
        test_mae=0.1,
        test_mse=0.1,
        train_start="2025-01-31T11:00:00Z",
        train_end="2025-01-31T12:00:00Z",
        identifier="run-001",
        artifact_uri="bundle",
        operation="Trained: GRU",
    )
    (folder / "model.json").write_text(message.to_json())
    return folder / "model.json"


@pytest.fixture(scope="module")
def unseen():
    """60 rows with a gap before row 30, two of them not measured (but filled)."""
    data = make_data(60, gaps=[GAP], seed=1)
    data.actual["a"][UNMEASURED] = np.nan
    return data


class Inference:
    """Runs the stage on files in a folder of its own."""

    def __init__(self, folder, model, data):
        self.folder = folder
        self.model = model
        self.data_file = folder / "test_processed_data.parquet"
        write_processed(self.data_file, data)

    def run(self, *, data=None, model=None, store=None, tracking_uri=None, **params):
        work_dir = self.folder / "work"
        work_dir.mkdir(exist_ok=True)
        inputs = {
            "inference_data": InputArtifact(data or self.data_file),
            "selected_model": InputArtifact(model or self.model),
        }
        defaults = {"config_hash": HASH, "identifier": "run-001"}
        output_dir = None if store else self.folder / "out"
        context = Context(inputs, work_dir, store=store, tracking_uri=tracking_uri, output_dir=output_dir)
        return run(InferenceParams(**defaults | params), context)

    def write(self, name, data):
        write_processed(self.folder / name, data)
        return self.folder / name

    def claim(self, store):
        store.upload("processed-data", "c/test_processed_data.parquet", self.data_file)
        check = ClaimCheck(
            bucket="processed-data",
            object="c/test_processed_data.parquet",
            size=self.data_file.stat().st_size,
            identifier="run-001",
            config_hash=HASH,
            sha256=sha256_file(self.data_file),
            rows=60,
        )
        (self.folder / "claim.json").write_text(check.to_json())
        return self.folder / "claim.json"


@pytest.fixture
def inference(tmp_path, model, unseen):
    return Inference(tmp_path, model, unseen)


@pytest.fixture(scope="module")
def expected(model, unseen):
    """One-step forecasts of every row from its window, each made alone; NaN before the first window."""
    forecaster = bundle.load(model.parent / "bundle").forecaster
    values = [forecaster.forecast(unseen.frame, np.array([row]))[0, 0, 0] for row in range(WINDOW, 60)]
    return np.array([np.nan] * WINDOW + values)


def batch_of(result):
    return ForecastBatch.parse(result.artifacts["predictions"].content, source="predictions")


def metrics_of(result):
    metrics = json.loads(result.artifacts["metrics"].content)
    assert metrics == result.artifacts["metrics"].metadata
    return metrics


def test_steps_and_backtest_have_intervals_recalibrated_by_the_rows_before_them(inference, model, unseen):
    result = inference.run(inference_length=60, sample_idx=10)
    metrics, samples = metrics_of(result), batch_of(result).samples
    loaded = bundle.load(model.parent / "bundle")
    for step in (1, 30, 46, 60):
        origin = min(10 + WINDOW + step - 1, 60)
        seen = replace(unseen, frame=unseen.frame.rows(0, origin), actual={"a": unseen.actual["a"][:origin]})
        calibrated = loaded.intervals.calibrated_on_recent(loaded.forecaster, seen)
        ahead = 10 + WINDOW + step - origin
        half = calibrated.half_widths(np.array([origin]), np.array([ahead]))[0, 0]
        sample = samples[step - 1]
        assert sample["upper"]["a"] - sample["pred"]["a"] == pytest.approx(half, rel=1e-5)
        assert sample["pred"]["a"] - sample["lower"]["a"] == pytest.approx(half, rel=1e-5)
    assert 0 < metrics["backtest_coverage"] <= 1
    assert metrics["backtest_interval_width"] > 0
    assert metrics["interval_level"] == 0.8


def test_quantiles_are_forecast_and_scored_where_they_are_asked_for(inference, model, unseen):
    result = inference.run(inference_length=60, sample_idx=10, quantiles="0.95, 0.05")
    batch, metrics = batch_of(result), metrics_of(result)
    assert batch.quantiles == "0.05,0.95"
    for sample in batch.samples:
        assert list(sample["quantiles"]) == ["0.05", "0.95"]
        # The intervals of level 0.8 are those of the quantiles 0.1 and 0.9.
        ordered = [sample["quantiles"]["0.05"], sample["lower"], sample["upper"], sample["quantiles"]["0.95"]]
        assert [each["a"] for each in ordered] == sorted(each["a"] for each in ordered)
    assert metrics["backtest_wql"] > 0
    assert 0 <= metrics["backtest_coverage_q0.05"] < metrics["backtest_coverage_q0.95"] <= 1
    page = result.artifacts["report"].content
    assert "0.05 to 0.95" in page
    assert "Weighted quantile loss" in page

    plain = inference.run(inference_length=60, sample_idx=10)
    assert "quantiles" not in plain.artifacts["predictions"].content
    assert not any("_q0" in name or "wql" in name for name in metrics_of(plain))
    predicted = [[sample["pred"] for sample in batch_of(each).samples] for each in (plain, result)]
    assert predicted[0] == predicted[1]


def test_repeats_are_found_by_the_same_quantiles_however_they_are_written(inference, tmp_path):
    store = FileStore(tmp_path / "store")
    asked = ("", "0.5", "0.5,0.9", "0.90, .5", "")
    results = [inference.run(store=store, quantiles=each) for each in asked]
    keys = [result.artifacts["predictions"].metadata["log_object_key"] for result in results]
    assert len(set(keys)) == 3
    assert (keys[3], keys[4]) == (keys[2], keys[0])


def test_an_older_model_forecasts_symmetric_quantiles_and_says_so(inference, model, tmp_path):
    for name, reason in {"intervals": "no intervals, and so no quantiles", "signed": "signs of errors"}.items():
        folder = tmp_path / name
        shutil.copytree(model.parent / "bundle", folder)

        def older(document, name=name):
            if name == "signed":
                document["intervals"].pop("signed")
            else:
                document.pop("intervals")
            return document

        edit(folder, "config.json", older)
        result = inference.run(model=folder, quantiles="0.05,0.95")
        [note] = [note for note in result.notes if reason in note]
        assert note.startswith("GRU ")
        samples = batch_of(result).samples
        assert ("quantiles" in samples[0]) == (name == "signed")


def test_steps_begin_behind_the_first_window_and_are_scored(inference, expected, unseen):
    result = inference.run(sample_idx=2, inference_length=4)
    batch = batch_of(result)
    rows = np.arange(7, 11)
    predicted = [sample["pred"]["a"] for sample in batch.samples]
    np.testing.assert_allclose(predicted, expected[rows], rtol=1e-6)
    assert [sample["ts"] for sample in batch.samples] == [f"{t}Z"[:19] + "Z" for t in unseen.frame.time[rows]]
    error = np.array(predicted) - unseen.actual["a"][rows]
    metrics = metrics_of(result)
    assert metrics["mae"] == pytest.approx(np.abs(error).mean())
    assert metrics["mse"] == pytest.approx((error**2).mean())
    assert metrics["rmse"] == pytest.approx((error**2).mean() ** 0.5)
    assert metrics["inference_count"] == 4
    assert metrics["timestamp"] == batch.timestamp


def test_rows_that_were_not_measured_are_forecast_but_not_scored(inference):
    batch = batch_of(inference.run(sample_idx=7 - 1, inference_length=3))
    assert [sample["actual"] is None for sample in batch.samples] == [False, True, False]
    assert batch.metrics["overlap_rows"] == 2
    assert [entry["step"] for entry in batch.metrics["step_mae"]] == [1, 3]


def test_steps_after_a_gap_are_forecast_but_not_scored(inference):
    result = inference.run(sample_idx=GAP - WINDOW - 1, inference_length=WINDOW + 2)
    batch = batch_of(result)
    assert [sample["after_gap"] for sample in batch.samples] == [False] + [True] * WINDOW + [False]
    assert batch.metrics["overlap_rows"] == 2
    assert any(f"{WINDOW} of {WINDOW + 2} steps follow a gap" in note for note in result.notes)


def test_steps_behind_the_data_are_recursive_and_not_scored(inference):
    result = inference.run(sample_idx=60 - WINDOW, inference_length=3)
    batch = batch_of(result)
    assert [sample["mode"] for sample in batch.samples] == ["rolling", "recursive", "recursive"]
    assert {"mae", "rmse", "mse"}.isdisjoint(metrics_of(result))
    assert {"mae", "rmse"}.isdisjoint(result.artifacts["predictions"].metadata)
    assert any("no step could be scored" in note for note in result.notes)


def test_the_backtest_is_on_every_measured_row_whose_window_has_no_gap(inference, expected, unseen):
    rows = [row for row in range(WINDOW, 60) if not GAP <= row < GAP + WINDOW and row not in UNMEASURED]
    actual, cleaned = unseen.actual["a"], unseen.frame.columns["a"]
    last = np.where(np.isnan(actual), cleaned, actual)
    error = expected[rows] - actual[rows]
    naive = last[np.array(rows) - 1] - actual[rows]

    metrics = metrics_of(inference.run())

    assert metrics["backtest_rows"] == len(rows)
    assert metrics["backtest_rmse"] == pytest.approx((error**2).mean() ** 0.5)
    assert metrics["backtest_mae"] == pytest.approx(np.abs(error).mean())
    assert metrics["backtest_mse"] == pytest.approx((error**2).mean())
    assert metrics["backtest_persistence_rmse"] == pytest.approx((naive**2).mean() ** 0.5)
    assert metrics["backtest_persistence_mae"] == pytest.approx(np.abs(naive).mean())
    assert metrics["backtest_persistence_mse"] == pytest.approx((naive**2).mean())
    assert metrics["backtest_skill"] == pytest.approx(
        1 - metrics["backtest_rmse"] / metrics["backtest_persistence_rmse"]
    )


def test_a_model_that_persistence_beats_is_said_to_be_worse(inference):
    result = inference.run()
    assert metrics_of(result)["backtest_skill"] < 0  # two epochs teach it nothing
    assert any("GRU is worse than persistence on this data" in note for note in result.notes)


@pytest.mark.parametrize(("length", "longest"), [(1, 12), (20, 20), (100, 25)])
def test_the_backtest_of_several_steps_is_json_text_with_an_entry_per_horizon(inference, length, longest):
    # The gap leaves stretches of 30 rows, of which the first 5 are the first window.
    text = metrics_of(inference.run(inference_length=length))["backtest_horizons"]
    assert isinstance(text, str)
    entries = json.loads(text)
    assert text == canonical_json(entries)
    assert [entry["horizon"] for entry in entries] == list(range(1, longest + 1))
    assert [entry["mode"] for entry in entries] == ["direct"] + ["recursive"] * (longest - 1)
    for entry in entries:
        assert entry.keys() == {
            *("horizon", "mode", "rows", "rmse", "persistence_rmse", "seasonal_naive_rmse"),
            *("skill_over_persistence", "skill_over_seasonal_naive"),
        }
    # Sixty rows are few enough that one step ahead is scored on every one of them.
    metrics = metrics_of(inference.run())
    assert entries[0]["rows"] == metrics["backtest_rows"]
    assert entries[0]["rmse"] == pytest.approx(metrics["backtest_rmse"], rel=1e-5)
    assert entries[0]["persistence_rmse"] == pytest.approx(metrics["backtest_persistence_rmse"], rel=1e-5)
    assert entries[0]["skill_over_persistence"] == pytest.approx(metrics["backtest_skill"], rel=1e-4)


def test_a_model_that_is_worse_at_every_horizon_is_said_to_be(inference, unseen):
    # On a slope persistence errs by a step per horizon, but the model, which never saw such values, by far more.
    slope = np.linspace(1000.0, 1001.0, 60)
    columns = {**unseen.frame.columns, "a": slope}
    path = inference.write(
        "slope.parquet", replace(unseen, frame=Frame(unseen.frame.time, columns), actual={"a": slope})
    )
    said = "GRU is worse than persistence at every horizon from 1 to 12 steps ahead"
    assert said in inference.run(data=path).notes


def test_a_model_that_beats_persistence_somewhere_is_not_said_to_lose_everywhere(inference, unseen):
    waves = np.tile(
        [-300.0, 300.0], 30
    )  # whatever is in between has half of persistence's error, or none at even steps
    columns = {**unseen.frame.columns, "a": waves}
    path = inference.write(
        "waves.parquet", replace(unseen, frame=Frame(unseen.frame.time, columns), actual={"a": waves})
    )
    assert not any("every horizon" in note for note in inference.run(data=path).notes)


def test_standalone_files_are_the_batch_and_its_table(inference):
    result = inference.run(inference_length=3)
    assert result.files["results.jsonl"].read_text() == result.artifacts["predictions"].content
    table = pq.read_table(result.files["predictions.parquet"])
    assert table.num_rows == 3
    assert not result.cached


def test_the_predictions_metadata_is_flat_and_leaves_out_the_steps(inference):
    result = inference.run(inference_length=3)
    metadata = result.artifacts["predictions"].metadata
    assert metadata["num_predictions"] == 3
    assert metadata["config_hash"] == HASH
    assert metadata["rmse"] == metrics_of(result)["rmse"]
    assert "samples" not in metadata
    assert all(isinstance(value, str | int | float) for value in metadata.values())


def test_a_repeat_finds_its_folder_and_returns_the_same(inference, tmp_path):
    store = FileStore(tmp_path / "store")
    claim = inference.claim(store)
    first = inference.run(data=claim, store=store)
    logged = {info.key: store.get("inference-logs", info.key)[0] for info in store.list("inference-logs")}
    assert len(logged) == 4
    assert not first.files

    again = inference.run(data=claim, store=store)

    assert again.cached
    assert again.artifacts == first.artifacts
    assert {info.key: store.get("inference-logs", info.key)[0] for info in store.list("inference-logs")} == logged
    key = first.artifacts["predictions"].metadata["log_object_key"]
    assert logged[key].decode() == first.artifacts["predictions"].content


def test_another_length_is_another_forecast(inference, tmp_path):
    store = FileStore(tmp_path / "store")
    for length in (3, 4):
        assert not inference.run(store=store, inference_length=length).cached
    assert len(list(store.list("inference-logs"))) == 8


def test_a_bundle_folder_is_a_model(inference, model):
    by_folder = batch_of(inference.run(model=model.parent / "bundle"))
    assert by_folder.run_id == bundle.digest(model.parent / "bundle")[:32]
    assert by_folder.metrics == batch_of(inference.run()).metrics


def test_a_foreign_file_needs_only_the_columns_and_the_models_targets_count(inference, unseen):
    frame = unseen.frame
    lines = [
        ",".join([str(time), *(repr(float(frame.columns[name][row])) for name in "cba")])
        for row, time in enumerate(frame.time)
    ]
    foreign = inference.folder / "foreign.csv"
    foreign.write_text("\n".join(["time,c,b,a", *lines]))
    batch = batch_of(inference.run(data=foreign, config_hash=""))
    own = batch_of(inference.run())
    assert batch.metrics["prediction_hash"] == own.metrics["prediction_hash"]
    assert batch.config_hash == HASH


def test_too_few_rows_say_how_many_are_needed(inference):
    with pytest.raises(BadInputError, match=r"has 60 rows, but sample_idx 56 .* 5 need at least 61"):
        inference.run(sample_idx=56)


def test_missing_columns_are_named(inference, unseen):
    columns = {name: values for name, values in unseen.frame.columns.items() if name not in {"b", "c"}}
    path = inference.write("lacking.parquet", replace(unseen, frame=Frame(unseen.frame.time, columns)))
    with pytest.raises(BadInputError, match=r"lacking\.parquet lacks the columns b, c "):
        inference.run(data=path)


def test_data_of_another_preprocessing_is_refused(inference, unseen):
    path = inference.write("other.parquet", replace(unseen, config_hash="d" * 64))
    for config_hash in (HASH, ""):
        with pytest.raises(BadInputError, match=f"config_hash {'d' * 64}, but {HASH} is expected"):
            inference.run(data=path, config_hash=config_hash)
    with pytest.raises(BadInputError, match=f"trained on data with config_hash {HASH}, but {'d' * 64}"):
        inference.run(data=path, config_hash="d" * 64)


def test_an_empty_config_hash_is_that_of_the_file(inference):
    assert batch_of(inference.run(config_hash="")).config_hash == HASH


def edited(inference, model, **fields):
    message = json.loads(model.read_text()) | {"model_uri": str(model.parent / "bundle")} | fields
    (inference.folder / "edited.json").write_text(json.dumps(message))
    return inference.folder / "edited.json"


def test_a_message_about_another_model_is_refused(inference, model):
    with pytest.raises(BadInputError, match="has model_type GRU, but LSTM was announced"):
        inference.run(model=edited(inference, model, model_type="LSTM"))


def test_the_bundle_that_a_message_announces_is_the_one_that_forecasts(inference, model):
    right = bundle.digest(model.parent / "bundle")
    assert batch_of(inference.run(model=edited(inference, model, bundle_sha256=right))).run_id == right[:32]
    wrong = edited(inference, model, bundle_sha256="0" * 64)
    with pytest.raises(ChecksumMismatchError, match=f"has SHA-256 {right}, but {'0' * 64} was announced"):
        inference.run(model=wrong)


def test_a_message_of_another_run_than_its_model_is_refused(inference, model):
    path = edited(inference, model, model_uri="runs:/abc/GRU", run_id="def")
    with pytest.raises(BadInputError, match=r"model_uri runs:/abc/GRU does not belong to run_id def"):
        inference.run(model=path, tracking_uri="http://127.0.0.1:9")


def as_promotion(message, **fields):
    scores = dict.fromkeys(("composite_score", "score", "rmse", "mae", "mse"), 0.1)
    times = dict.fromkeys(("promotion_time", "timestamp"), "2025-01-31T12:00:00Z")
    return message | scores | times | {"experiment": "flts"} | fields


@pytest.mark.parametrize("wrong", ["no", "digest", "large", "link", "more"])
def test_a_model_that_mlflow_keeps_on_this_machine_is_checked_before_it_is_copied(inference, model, wrong):
    run_id, kept = "a" * 32, inference.folder / "mlartifacts" / "model" / "artifacts" / "bundle"
    shutil.copytree(model.parent / "bundle", kept)
    digest = bundle.digest(kept)
    if wrong == "large":
        os.truncate(kept / "model.safetensors", 60 << 30)
    elif wrong == "more":
        (kept / "id_rsa").write_text("secret")
    elif wrong == "link":
        (kept / "config.json").unlink()
        (kept / "config.json").symlink_to(model.parent / "bundle" / "config.json")
    path = edited(inference, model, model_uri=f"runs:/{run_id}/GRU", run_id=run_id)
    promotion = as_promotion(
        json.loads(path.read_text()),
        artifact_uri=kept.parents[1].as_uri(),
        bundle_sha256="0" * 64 if wrong == "digest" else digest,
    )
    path.write_text(json.dumps(promotion))
    run = partial(inference.run, model=path, tracking_uri="http://127.0.0.1:9")  # which nobody asks
    if wrong == "no":
        assert batch_of(run()).run_id == run_id
        return
    said = {
        "digest": f"has SHA-256 {digest}, but {'0' * 64} was announced",
        "large": "has 64,424,509,440 bytes: at most 1,074,790,400 are accepted",
        "link": r"config\.json is a link, expected a regular file",
        "more": "id_rsa is not part of the model bundle",
    }
    with pytest.raises(BadInputError, match=said[wrong]):
        run()
    assert wrong == "digest" or not list((inference.folder / "work" / "model" / "bundle").iterdir())


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("size", 1, r"has \d+ bytes, but its claim check .*claim\.json says size 1$"),
        ("rows", 61, r"has rows 60, but its claim check .*claim\.json says 61$"),
        ("rows", -1, r"has rows 60, but its claim check .*claim\.json says -1$"),
        ("config_hash", "d" * 64, f"has config_hash {HASH}, but its claim check .* says {'d' * 64}$"),
        ("sha256", "0" * 64, "0000"),
    ],
)
def test_every_field_of_a_claim_check_is_verified(inference, tmp_path, field, value, said):
    store = FileStore(tmp_path / "store")
    claim = inference.claim(store)
    claim.write_text(json.dumps(json.loads(claim.read_text()) | {field: value}))
    with pytest.raises(BadInputError, match=said):
        inference.run(data=claim, store=store)
    assert not list(store.list("inference-logs"))


def test_a_claim_check_without_config_hash_is_as_good(inference, tmp_path):
    store = FileStore(tmp_path / "store")
    claim = inference.claim(store)
    claim.write_text(json.dumps(json.loads(claim.read_text()) | {"config_hash": ""}))
    assert batch_of(inference.run(data=claim, store=store)).config_hash == HASH


@pytest.mark.parametrize(
    "model_uri", ["bundle\0", "a" * 5000, "a" * 300, "b/" * 2000, "http://[", "runs:/", "s3://a/b"]
)
def test_a_model_uri_that_names_nothing_is_a_sentence(inference, model, model_uri):
    with pytest.raises(BadInputError) as caught:
        inference.run(model=edited(inference, model, model_uri=model_uri), tracking_uri="http://127.0.0.1:9")
    assert len(str(caught.value)) < 5000


def test_a_training_that_is_not_finished_is_refused(inference, model):
    with pytest.raises(BadInputError, match="its status is RUNNING, SUCCESS is expected"):
        inference.run(model=edited(inference, model, status="RUNNING"))


def test_a_model_in_mlflow_needs_its_address(inference, model):
    with pytest.raises(BadInputError, match="runs:/abc/GRU is in MLflow: --mlflow-tracking-uri"):
        inference.run(model=edited(inference, model, run_id="abc", model_uri="runs:/abc/GRU"))


@pytest.mark.parametrize(
    "content",
    ["", "[1]", "{", '{"promotion_time": "2025"}', '{"model_type": "GRU"}', '{"a":' * 100_000, '{"a": "\\ud800"}'],
    ids=["empty", "list", "cut off", "promotion", "trained", "nested", "half a character"],
)
def test_what_is_no_message_is_named(inference, content):
    path = inference.folder / "odd.json"
    path.write_text(content)
    with pytest.raises(BadInputError, match=r"odd\.json is not a "):
        inference.run(model=path)


def test_a_missing_input_is_named(inference):
    with pytest.raises(BadInputError, match=r"input selected_model is missing: .*nowhere\.json"):
        inference.run(model=inference.folder / "nowhere.json")


def test_changed_data_is_refused_and_leaves_nothing(inference, tmp_path):
    store = FileStore(tmp_path / "store")
    claim = inference.claim(store)
    store.put("processed-data", "c/test_processed_data.parquet", b"PAR1 changed")
    with pytest.raises(ChecksumMismatchError):
        inference.run(data=claim, store=store)
    assert not list(store.list("inference-logs"))


def test_data_of_another_sampling_interval_is_noted(inference, unseen):
    path = inference.write("hourly.parquet", replace(unseen, sampling_seconds=3600.0))
    notes = inference.run(data=path).notes
    assert "the data has a row every 3600 s, but the model was trained on one every 60 s" in notes


def test_progress_goes_forward(inference):
    seen = []
    inputs = {
        "inference_data": InputArtifact(inference.data_file),
        "selected_model": InputArtifact(inference.model),
    }
    context = Context(
        inputs, inference.folder, output_dir=inference.folder, progress=lambda done, text: seen.append(done)
    )
    run(InferenceParams(config_hash="", identifier=""), context)
    assert seen == sorted(seen)
    assert len(seen) > 2
