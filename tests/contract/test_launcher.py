"""Every stage, started as KFP's launcher starts it, and read as KFP reads it.

The command and the argument list come from the compiled pipeline, the executor input from KFP's own code, which also
reads the outputs: nothing here knows how FLTS does either.
"""

import json
import math
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import json_format
from kfp.local import executor_input_utils, executor_output_utils, placeholder_utils
from kfp.pipeline_spec import pipeline_spec_pb2

from flts.stages import STAGES

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
    "inference.metrics": {"mae", "rmse", "mse", "inference_count", "timestamp", "backtest_rmse"},
    "eval.selected_model": {"model_uri", "model_type", "run_id", "config_hash", "composite_score", "promotion_time"},
    "eval.promotion_metadata": {"model_uri", "rmse", "mae", "mse", "score", "timestamp", "weights"},
    **{
        f"train-{name}.model": {"model_type", "run_id", "config_hash", "test_rmse", "train_end", "mlflow_uri"}
        for name in ("gru", "lstm", "prophet")
    },
    **{
        f"train-{name}.metrics": {"test_rmse", "composite_score", "persistence_test_rmse", "linear_test_rmse"}
        for name in ("gru", "lstm", "prophet")
    },
}


@dataclass(frozen=True)
class Launched:
    """A task that has ended."""

    folder: Path
    executor_input: Any
    component: Any
    code: int
    stdout: str
    stderr: str

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stderr.splitlines()]

    def outputs(self) -> dict[str, Any]:
        return executor_output_utils.get_outputs_for_task(self.executor_input, self.component)

    def output_file(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(Path(self.executor_input.outputs.output_file).read_text())
        return document


class Launcher:
    """Runs the tasks of the compiled pipeline one after another."""

    def __init__(self, pipeline: Path, folder: Path, home: Path, services: dict[str, str]) -> None:
        document = next(yaml.safe_load_all(pipeline.read_text()))
        self.spec = json_format.ParseDict(document, pipeline_spec_pb2.PipelineSpec())
        self.folder = folder
        self.home = home
        self.arguments = {
            name: json_format.MessageToDict(parameter.default_value)
            for name, parameter in self.spec.root.input_definitions.parameters.items()
        }
        self.arguments |= SMALL | services
        self.launched: dict[str, Launched] = {}

    def run(self, name: str, **overrides: Any) -> Launched:
        task, component, container = self._declared(name)
        folder = self.folder / f"task-{len(list(self.folder.iterdir()))}-{name}"
        given = {key: self._value(source) for key, source in task.inputs.parameters.items()}
        given |= {key: self._output(source.task_output_artifact) for key, source in task.inputs.artifacts.items()}
        executor_input = executor_input_utils.construct_executor_input(
            component_spec=component,
            arguments=given | overrides,
            task_root=str(folder),
            block_input_artifact=False,
        )
        command = placeholder_utils.replace_placeholders(
            full_command=[*container.command, *container.args],
            executor_input_dict=executor_input_utils.executor_input_to_dict(executor_input, component),
            pipeline_resource_name="pipeline",
            task_resource_name=name,
            pipeline_root=str(self.folder),
            unique_pipeline_id="1",
        )
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
        ended = subprocess.run(
            command,
            cwd=self.folder,
            env={"PATH": path, "HOME": str(self.home), "TMPDIR": str(self.folder)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Launched(folder, executor_input, component, ended.returncode, ended.stdout, ended.stderr)

    def _declared(self, name: str) -> tuple[Any, Any, Any]:
        task = self.spec.root.dag.tasks[name]
        component = self.spec.components[task.component_ref.name]
        executor = self.spec.deployment_spec["executors"][component.executor_label]["container"]
        container = json_format.ParseDict(
            {key: json_format.MessageToDict(executor)[key] for key in ("image", "command", "args")},
            pipeline_spec_pb2.PipelineDeploymentConfig.PipelineContainerSpec(),
        )
        return task, component, container

    def _value(self, source: Any) -> Any:
        match source.WhichOneof("kind"):
            case "component_input_parameter":
                return self.arguments[source.component_input_parameter]
            case "task_output_parameter":
                produced = source.task_output_parameter
                return self.launched[produced.producer_task].outputs()[produced.output_parameter_key]
            case "runtime_value":
                return json_format.MessageToDict(source.runtime_value.constant)
        raise AssertionError(source)

    def _output(self, produced: Any) -> Any:
        return self.launched[produced.producer_task].outputs()[produced.output_artifact_key]


@pytest.fixture(scope="module")
def launcher(root, tmp_path_factory):
    folder = tmp_path_factory.mktemp("launcher")
    store = tmp_path_factory.mktemp("store")
    (store / "dataset").mkdir()
    for name in ("jfk_weather.csv", "jfk_weather_test.csv"):
        (store / "dataset" / name).write_bytes((root / "examples" / "data" / name).read_bytes())
    services = {"gateway_url": f"file://{store}", "mlflow_tracking_uri": f"sqlite:///{store}/mlflow.db"}
    return Launcher(root / "pipeline" / "pipeline.yaml", folder, tmp_path_factory.mktemp("home"), services)


@pytest.fixture(scope="module")
def launched(launcher) -> dict[str, Launched]:
    for name in ("preprocess", "train-gru", "train-lstm", "train-prophet", "eval", "inference"):
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


def test_artifact_files_hold_the_fields_of_their_metadata(launched):
    for stage, name in (("preprocess", "training_data"), ("train-gru", "model"), ("eval", "selected_model")):
        document = launched[stage].output_file()["artifacts"][name]["artifacts"][0]
        message = json.loads(Path(document["uri"]).read_text())
        assert message["v"] == 1
        assert message["config_hash"] == document["metadata"]["config_hash"]


def test_nothing_else_is_left_in_the_task_folder(task):
    declared = {*task.component.output_definitions.artifacts, *task.component.output_definitions.parameters}
    assert {path.name for path in task.folder.iterdir()} == declared | {"executor_output.json"}


def test_stderr_is_json_lines_that_end_with_done_and_stdout_is_empty(task):
    events = task.events()
    assert [event["event"] for event in events][-1] == "done"
    assert all({"time", "level", "stage", "event", "message"} <= set(event) for event in events)
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
