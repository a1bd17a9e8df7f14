"""The compiled pipeline: its parameters, its edges, and how its tasks are scheduled."""

import inspect
from pathlib import Path
from typing import Any

import pytest
import yaml

from flts.stages import STAGES

PIPELINE_DEFAULTS = {
    "dataset_name": "PobleSec",
    "identifier": "run-001",
    "sample_train_rows": 50,
    "sample_test_rows": 50,
}
FIRST_PARAMETERS = [
    "dataset_name",
    "identifier",
    "sample_train_rows",
    "sample_test_rows",
    "hidden_size",
    "num_layers",
    "batch_size",
    "epochs",
    "learning_rate",
    "inference_length",
    "sample_idx",
    "gateway_url",
    "mlflow_tracking_uri",
]
FROM_PREPROCESS = {"config_hash", "config_json"}
SECRETS = {"store_secret", "mlflow_secret"}


@pytest.fixture(scope="module")
def document(root: Path) -> dict[str, Any]:
    return documents(root)[0]


def documents(root: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((root / "pipeline" / "pipeline.yaml").read_text()))


@pytest.fixture(scope="module")
def tasks(document: dict[str, Any]) -> dict[str, Any]:
    return document["root"]["dag"]["tasks"]


def edges(tasks: dict[str, Any], task: str) -> dict[str, str]:
    inputs = tasks[task].get("inputs", {})
    artifacts = {name: source["taskOutputArtifact"] for name, source in inputs.get("artifacts", {}).items()}
    parameters = {
        name: source["taskOutputParameter"]
        for name, source in inputs.get("parameters", {}).items()
        if "taskOutputParameter" in source
    }
    return {name: f"{source['producerTask']}.{source['outputArtifactKey']}" for name, source in artifacts.items()} | {
        name: f"{source['producerTask']}.{source['outputParameterKey']}" for name, source in parameters.items()
    }


def test_kfp_takes_the_compiled_file(root: Path) -> None:
    from kfp.components import load_component_from_file

    loaded = load_component_from_file(str(root / "pipeline" / "pipeline.yaml"))

    assert loaded.pipeline_spec.pipeline_info.name == "flts-time-series-training-pipeline"


def test_name_and_root_are_the_agreed_ones(document: dict[str, Any]) -> None:
    assert document["pipelineInfo"]["displayName"] == "FLTS Time Series Training Pipeline"
    assert document["defaultPipelineRoot"] == "s3://kfp-artifacts/"


def test_data_flows_from_preprocess_through_the_trainers_and_eval_to_inference(tasks: dict[str, Any]) -> None:
    hashed = {"config_hash": "preprocess.config_hash"}
    training = hashed | {"training_data": "preprocess.training_data", "config_json": "preprocess.config_json"}

    assert {task: edges(tasks, task) for task in tasks} == {
        "preprocess": {},
        "train-gru": training,
        "train-lstm": training,
        "train-prophet": training,
        "eval": hashed
        | {"training_data": "preprocess.training_data"}
        | {
            f"{model}_{output}": f"train-{model}.{output}"
            for model in ("gru", "lstm", "prophet")
            for output in ("model", "metrics")
        },
        "inference": hashed | {"inference_data": "preprocess.inference_data", "selected_model": "eval.selected_model"},
    }


def test_the_trainers_wait_for_preprocess_alone(tasks: dict[str, Any]) -> None:
    assert {task: tasks[task]["dependentTasks"] for task in tasks if task.startswith("train-")} == {
        "train-gru": ["preprocess"],
        "train-lstm": ["preprocess"],
        "train-prophet": ["preprocess"],
    }


def test_the_agreed_parameters_come_first(document: dict[str, Any]) -> None:
    from pipeline.pipeline import flts_pipeline

    order = list(inspect.signature(flts_pipeline.pipeline_func).parameters)

    assert order[: len(FIRST_PARAMETERS)] == FIRST_PARAMETERS
    assert set(order) == document["root"]["inputDefinitions"]["parameters"].keys()


def test_every_stage_parameter_is_a_pipeline_parameter_with_the_same_meaning(
    document: dict[str, Any], tasks: dict[str, Any]
) -> None:
    declared = document["root"]["inputDefinitions"]["parameters"]
    used = set()
    for name, stage in STAGES.items():
        sources = tasks[name]["inputs"]["parameters"]
        assert {source for source in sources if "--" not in source} == stage.params.model_fields.keys()
        for parameter in stage.params.model_fields.keys() - FROM_PREPROCESS:
            assert sources[parameter] == {"componentInputParameter": parameter}
            own = document["components"][f"comp-{name}"]["inputDefinitions"]["parameters"][parameter]
            assert declared[parameter]["parameterType"] == own["parameterType"]
            expected = PIPELINE_DEFAULTS.get(parameter, own.get("defaultValue"))
            assert declared[parameter]["defaultValue"] == expected, parameter
            used.add(parameter)
    assert used | SECRETS == declared.keys()


def test_parameters_are_described_as_in_the_stage_that_has_them_first(document: dict[str, Any]) -> None:
    described = {
        name: " ".join(spec["description"].split())
        for name, spec in document["root"]["inputDefinitions"]["parameters"].items()
        if name not in SECRETS
    }
    expected: dict[str, str | None] = {}
    for stage in STAGES.values():
        for name, field in stage.params.model_fields.items():
            if name not in FROM_PREPROCESS:
                expected.setdefault(name, field.description)

    assert described == expected


def test_every_task_gets_the_secrets_that_the_pipelines_parameters_name_if_they_exist(root: Path) -> None:
    executors = documents(root)[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]

    assert executors.keys() == {f"exec-{stage}" for stage in STAGES}
    for executor in executors.values():
        named = {secret["secretNameParameter"]["componentInputParameter"] for secret in executor["secretAsEnv"]}
        keys = [key for secret in executor["secretAsEnv"] for key in secret["keyToEnv"]]
        assert named == SECRETS
        assert all(secret["optional"] for secret in executor["secretAsEnv"])
        assert all(key["secretKey"] == key["envVar"] for key in keys)
        assert {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_PASSWORD"} <= {k["envVar"] for k in keys}


def test_no_task_is_cached_by_kfp(tasks: dict[str, Any]) -> None:
    assert all(task["cachingOptions"] == {} for task in tasks.values())


def test_every_task_is_tried_again_with_growing_pauses(tasks: dict[str, Any]) -> None:
    policy = {"maxRetryCount": 2, "backoffDuration": "30s", "backoffFactor": 2.0, "backoffMaxDuration": "300s"}

    assert {task: tasks[task]["retryPolicy"] for task in tasks} == dict.fromkeys(tasks, policy)


def test_every_task_asks_for_cpu_and_memory_and_has_limits(document: dict[str, Any]) -> None:
    wanted = {"resourceCpuRequest", "resourceCpuLimit", "resourceMemoryRequest", "resourceMemoryLimit"}

    for executor in document["deploymentSpec"]["executors"].values():
        assert wanted <= executor["container"]["resources"].keys()


def test_every_task_has_a_title(tasks: dict[str, Any]) -> None:
    assert [tasks[task]["taskInfo"]["name"] for task in STAGES] == [
        "Preprocess",
        "Train GRU",
        "Train LSTM",
        "Train Prophet",
        "Evaluate and promote",
        "Forecast",
    ]
