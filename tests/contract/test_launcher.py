"""Every stage, started as KFP's launcher starts it, and read as KFP reads it."""

import json
import math
from pathlib import Path

import pytest
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from flts.stages import STAGES, TRAINERS
from tests.support.launcher import Launched, Launcher

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("launcher")]

SMALL = {
    "dataset_name": "jfk_weather",
    "identifier": "launched",
    "sample_train_rows": 300,
    "sample_test_rows": 60,
    "hidden_size": 4,
    "num_layers": 1,
    "epochs": 1,
    "inference_length": 5,
}
METADATA = {
    "preprocess.training_data": {"config_hash", "config_json", "row_count", "identifier", "sha256"},
    "preprocess.inference_data": {"config_hash", "row_count", "identifier", "sha256"},
    "inference.predictions": {"num_predictions", "mae", "rmse", "config_hash"},
    "inference.metrics": {"mae", "rmse", "mse", "inference_count", "timestamp", "backtest_rmse", "backtest_horizons"},
    "eval.selected_model": {"model_uri", "model_type", "run_id", "config_hash", "composite_score", "promotion_time"},
    "inference.scores": {"mae", "rmse", "mse", "backtest_rmse", "backtest_persistence_rmse", "backtest_skill"},
    "eval.scores": {"test_rmse", "test_mae", "test_mse", "composite_score", "promoted"},
    "eval.promotion_metadata": {"model_uri", "rmse", "mae", "mse", "score", "timestamp", "weights"},
    **{
        f"{name}.model": {"model_type", "run_id", "config_hash", "test_rmse", "train_end", "mlflow_uri"}
        for name in TRAINERS
    },
    **{
        f"{name}.metrics": {"test_rmse", "composite_score", "persistence_test_rmse", "linear_test_rmse"}
        for name in TRAINERS
    },
    **{
        f"{name}.scores": {"test_rmse", "test_mae", "test_mse", "composite_score", "persistence_test_rmse"}
        for name in TRAINERS
    },
}


@pytest.fixture(scope="module")
def launcher(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("launcher")
    store = tmp_path_factory.mktemp("store")
    (store / "dataset").mkdir()
    for name in ("jfk_weather.csv", "jfk_weather_test.csv"):
        (store / "dataset" / name).write_bytes((root / "examples" / "data" / name).read_bytes())
    services = {"gateway_url": f"file://{store}", "mlflow_tracking_uri": f"sqlite:///{store}/mlflow.db"}
    return Launcher(root / "pipeline" / "boosted.yaml", folder, tmp_path_factory.mktemp("home"), SMALL | services)


@pytest.fixture(scope="module")
def launched(launcher) -> dict[str, Launched]:
    for name in STAGES:
        task = launcher.run(name)
        assert task.code == 0, task.stderr
        launcher.launched[name] = task
    return launcher.launched


@pytest.fixture(params=list(STAGES))
def task(launched, request) -> Launched:
    return launched[request.param]


def test_kfp_finds_every_declared_output(task):
    declared = {*task.component.output_definitions.artifacts, *task.component.output_definitions.parameters}
    outputs = task.outputs()
    assert set(outputs) == declared
    for name in task.component.output_definitions.parameters:
        assert outputs[name]


def test_the_output_file_has_the_strict_schema(task):
    document = task.output_file()
    json_format.ParseDict(document, pipeline_spec_pb2.ExecutorOutput())
    assert set(document) == {"artifacts", "parameterValues"}
    for name, entry in document["artifacts"].items():
        (artifact,) = entry["artifacts"]
        assert set(artifact) == {"name", "uri", "metadata"}
        assert artifact["name"] == name


def test_every_output_artifact_has_a_file_where_its_unchanged_uri_points(task):
    for name, promised in task.executor_input.outputs.artifacts.items():
        (artifact,) = task.output_file()["artifacts"][name]["artifacts"]
        assert artifact["uri"] == promised.artifacts[0].uri
        assert Path(artifact["uri"]).stat().st_size > 0


def test_parameters_have_one_text_in_both_places(task):
    for name, promised in task.executor_input.outputs.parameters.items():
        assert Path(promised.output_file).read_text() == task.output_file()["parameterValues"][name]


def test_metadata_is_flat_and_has_what_readers_rely_on(launched):
    for stage, task in launched.items():
        for name, entry in task.output_file()["artifacts"].items():
            metadata = entry["artifacts"][0]["metadata"]
            assert METADATA.get(f"{stage}.{name}", set()) <= set(metadata)
            for value in metadata.values():
                assert isinstance(value, str) or (not isinstance(value, bool) and math.isfinite(value))


def test_scores_are_metrics_as_kfp_compares_them_and_hold_numbers_alone(launched):
    for stage, task in launched.items():
        if stage == "preprocess":
            continue
        promised = task.executor_input.outputs.artifacts["scores"].artifacts[0]
        (scores,) = task.output_file()["artifacts"]["scores"]["artifacts"]
        assert promised.type.schema_title == "system.Metrics"
        assert scores["metadata"] == json.loads(Path(promised.uri).read_text())
        assert all(type(value) in (int, float) for value in scores["metadata"].values())
        (metrics,) = task.output_file()["artifacts"]["promotion_metadata" if stage == "eval" else "metrics"][
            "artifacts"
        ]
        both = scores["metadata"].keys() - {"promoted"}
        assert {name: metrics["metadata"][name] for name in both} == {name: scores["metadata"][name] for name in both}


def test_small_numbers_have_all_their_digits_in_text_where_six_decimals_would_be_left(launched):
    metrics = launched["train-gru"].output_file()["artifacts"]["metrics"]["artifacts"][0]
    exact = json.loads(Path(metrics["uri"]).read_text())
    texts = {name.removesuffix("_text"): text for name, text in metrics["metadata"].items() if name.endswith("_text")}
    assert texts
    assert {name: float(text) for name, text in texts.items()} == {
        name: value for name, value in exact.items() if 0 < abs(value) < 0.01
    }
    assert not any(name.endswith("_text") for name in exact)


def test_artifact_files_hold_the_fields_of_their_metadata(launched):
    for stage, name in (("preprocess", "training_data"), ("train-gru", "model"), ("eval", "selected_model")):
        document = launched[stage].output_file()["artifacts"][name]["artifacts"][0]
        message = json.loads(Path(document["uri"]).read_text())
        assert message["v"] == 1
        assert message["config_hash"] == document["metadata"]["config_hash"]


def test_nothing_else_is_left_in_the_task_folder(task):
    declared = {*task.component.output_definitions.artifacts, *task.component.output_definitions.parameters}
    assert {path.name for path in task.folder.iterdir()} == declared | {"executor_output.json"}


def test_stderr_is_json_lines_that_end_with_done_and_stdout_is_empty(task, request):
    events = task.events()
    assert [event["event"] for event in events][-1] == "done"
    assert all({"time", "level", "stage", "event", "message", "request_id"} <= set(event) for event in events)
    assert all(event["identifier"] == "launched" for event in events)
    assert events[-1]["config_hash"]
    assert ("run_id" in events[-1]) == (request.node.callspec.params["task"] not in {"preprocess", "eval"})
    assert task.stdout == ""


def test_the_same_task_again_gives_the_same_bytes_and_says_that_it_reused_them(launcher, launched):
    for name in ("preprocess", "train-gru"):
        again = launcher.run(name)
        assert (again.code, again.events()[-1]["cached"]) == (0, True)
        for output in ("training_data", "inference_data", "config_hash", "config_json", "model", "metrics", "run_id"):
            first = launched[name].folder / output
            if first.exists():
                assert (again.folder / output).read_bytes() == first.read_bytes()


@pytest.mark.parametrize(
    ("stage", "wrong", "said"),
    [
        ("preprocess", {"dataset_name": "nothing"}, "nothing.csv"),
        ("preprocess", {"nans_threshold": 1.5}, "parameter nans_threshold must be at most 1, got 1.5"),
        ("preprocess", {"gateway_url": "ftp://x"}, "gateway_url"),
        ("train-gru", {"epochs": 0}, "parameter epochs must be at least 1, got 0"),
        ("train-gru", {"input_seq_len": 299}, "rows"),
        ("inference", {"sample_idx": 10**6}, "sample_idx"),
    ],
)
def test_bad_input_is_one_line_exit_code_2_and_no_outputs(launcher, launched, stage, wrong, said):
    task = launcher.run(stage, **wrong)
    assert task.code == 2, task.stderr
    last = task.events()[-1]
    assert (last["event"], last["exit_code"]) == ("error", 2)
    assert said in last["message"]
    assert not task.folder.exists()


def test_no_task_leaves_temporary_files(launcher, launched):
    assert [path.name for path in launcher.folder.iterdir() if not path.name.startswith("task-")] == []
