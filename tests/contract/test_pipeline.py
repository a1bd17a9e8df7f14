"""The compiled pipeline: its parameters, its edges, and how its tasks are scheduled."""

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from flts.models.registry import REQUIRED_MODELS, TRAINED_MODELS
from flts.stages import STAGES, TRAINERS
from tests.support.stages import STAGES_OF

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
RESOURCES = {
    "cpu_request": "500m",
    "cpu_limit": "2",
    "memory_request": "1Gi",
    "memory_limit": "4Gi",
    "preprocess_memory_limit": "8Gi",
    "accelerator_type": "",
    "accelerator_count": "1",
}
# Not the stages', but the cluster's; KFP adds to a task's inputs what its pod takes from them.
CLUSTER = SECRETS | {"certificates"} | RESOURCES.keys()


MODELS = {"pipeline": REQUIRED_MODELS, "boosted": TRAINED_MODELS}


@pytest.fixture(scope="module", params=MODELS)
def name(request: pytest.FixtureRequest) -> str:
    """The name of a pipeline: the same is true of each, but for its trainers."""
    return request.param


@pytest.fixture(scope="module")
def documents(root: Path, name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((root / "pipeline" / f"{name}.yaml").read_text()))


@pytest.fixture(scope="module")
def document(documents: list[dict[str, Any]]) -> dict[str, Any]:
    return documents[0]


@pytest.fixture(scope="module")
def executors(documents: list[dict[str, Any]], name: str) -> dict[str, dict[str, Any]]:
    """What Kubernetes is told of each task."""
    configured: dict[str, dict[str, Any]] = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert configured.keys() == {f"exec-{stage}" for stage in STAGES_OF[name]}
    return configured


@pytest.fixture(scope="module")
def trainers(name: str) -> list[str]:
    return [stage for stage in STAGES_OF[name] if stage in TRAINERS]


@pytest.fixture(scope="module")
def tasks(document: dict[str, Any]) -> dict[str, Any]:
    return document["root"]["dag"]["tasks"]


def of_the_pod(name: str) -> bool:
    return name in RESOURCES or name.startswith("pipelinechannel--")


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


def test_kfp_takes_the_compiled_file(root: Path, name: str) -> None:
    from kfp.components import load_component_from_file

    loaded = load_component_from_file(str(root / "pipeline" / f"{name}.yaml"))

    assert loaded.pipeline_spec.pipeline_info.name == {
        "pipeline": "flts-time-series-training-pipeline",
        "boosted": "flts-boosted-training-pipeline",
    }.get(name)


def test_the_name_is_the_agreed_one(document: dict[str, Any], name: str) -> None:
    assert document["pipelineInfo"]["displayName"] == {
        "pipeline": "FLTS Time Series Training Pipeline",
        "boosted": "FLTS Boosted Training Pipeline",
    }.get(name)


def test_artifacts_go_where_the_namespace_keeps_them(document: dict[str, Any]) -> None:
    assert "defaultPipelineRoot" not in document, "KFP's page would take it, and its client would not"


def test_data_flows_from_preprocess_through_the_trainers_and_eval_to_inference(
    tasks: dict[str, Any], name: str, trainers: list[str]
) -> None:
    hashed = {"config_hash": "preprocess.config_hash"}
    training = hashed | {"training_data": "preprocess.training_data", "config_json": "preprocess.config_json"}

    assert {task: edges(tasks, task) for task in tasks} == {
        "preprocess": {},
        **dict.fromkeys(trainers, training),
        "eval": hashed
        | {"training_data": "preprocess.training_data"}
        | {
            f"{model.slot}_{output}": f"train-{model.slot}.{output}"
            for model in MODELS[name].values()
            for output in ("model", "metrics")
        },
        "inference": hashed | {"inference_data": "preprocess.inference_data", "selected_model": "eval.selected_model"},
    }


def test_the_trainers_wait_for_preprocess_alone(tasks: dict[str, Any], trainers: list[str]) -> None:
    assert {task: tasks[task]["dependentTasks"] for task in tasks if task.startswith("train-")} == {
        trainer: ["preprocess"] for trainer in trainers
    }


def test_the_agreed_parameters_come_first(document: dict[str, Any], name: str) -> None:
    from pipeline.pipeline import PIPELINES

    order = list(inspect.signature(PIPELINES[name].pipeline_func).parameters)

    assert order[: len(FIRST_PARAMETERS)] == FIRST_PARAMETERS
    assert set(order) == document["root"]["inputDefinitions"]["parameters"].keys()


def test_every_stage_parameter_is_a_pipeline_parameter_with_the_same_meaning(
    document: dict[str, Any], tasks: dict[str, Any], name: str
) -> None:
    declared = document["root"]["inputDefinitions"]["parameters"]
    used = set()
    for task in STAGES_OF[name]:
        sources, fields = tasks[task]["inputs"]["parameters"], STAGES[task].params.model_fields.keys()
        assert {source for source in sources if not of_the_pod(source)} == fields
        for parameter in fields - FROM_PREPROCESS:
            assert sources[parameter] == {"componentInputParameter": parameter}
            own = document["components"][f"comp-{task}"]["inputDefinitions"]["parameters"][parameter]
            assert declared[parameter]["parameterType"] == own["parameterType"]
            expected = PIPELINE_DEFAULTS.get(parameter, own.get("defaultValue"))
            assert declared[parameter]["defaultValue"] == expected, parameter
            used.add(parameter)
    assert used | CLUSTER == declared.keys()


def test_parameters_are_described_as_in_the_stage_that_has_them_first(document: dict[str, Any], name: str) -> None:
    described = {
        parameter: " ".join(spec["description"].split())
        for parameter, spec in document["root"]["inputDefinitions"]["parameters"].items()
        if parameter not in CLUSTER
    }
    expected: dict[str, str | None] = {}
    for stage in STAGES_OF[name]:
        for parameter, field in STAGES[stage].params.model_fields.items():
            if parameter not in FROM_PREPROCESS:
                expected.setdefault(parameter, field.description)

    assert described == expected


def test_every_task_gets_the_secrets_that_the_pipelines_parameters_name_if_they_exist(
    executors: dict[str, dict[str, Any]],
) -> None:
    for executor in executors.values():
        named = {secret["secretNameParameter"]["componentInputParameter"] for secret in executor["secretAsEnv"]}
        keys = [key for secret in executor["secretAsEnv"] for key in secret["keyToEnv"]]
        variables = {key["envVar"] for key in keys}
        assert named == SECRETS
        assert all(secret["optional"] for secret in executor["secretAsEnv"])
        assert all(key["secretKey"] == key["envVar"] for key in keys)
        assert {"FLTS_S3_ACCESS_KEY_ID", "FLTS_S3_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_PASSWORD"} <= variables
        assert {"FLTS_GATEWAY_TOKEN", "FLTS_PATIENCE_SECONDS", "FLTS_THREADS", "FLTS_LOG"} <= variables


def test_no_task_gets_variables_that_kfps_launcher_in_the_same_container_would_take_for_its_own(
    executors: dict[str, dict[str, Any]],
) -> None:
    for executor in executors.values():
        variables = {key["envVar"] for secret in executor["secretAsEnv"] for key in secret["keyToEnv"]}
        assert {name.partition("_")[0] for name in variables} == {"FLTS", "MLFLOW"}


def test_every_task_sees_the_certificates_of_a_config_map_if_it_exists(executors: dict[str, dict[str, Any]]) -> None:
    mounted = {
        "configMapNameParameter": {"componentInputParameter": "certificates"},
        "mountPath": "/etc/flts/certificates",
        "optional": True,
    }

    assert [executor["configMapAsVolume"] for executor in executors.values()] == [[mounted]] * len(executors)


def test_no_task_runs_for_ever(executors: dict[str, dict[str, Any]]) -> None:
    assert {executor["activeDeadlineSeconds"] for executor in executors.values()} == {str(24 * 60 * 60)}


def test_no_task_is_cached_by_kfp(tasks: dict[str, Any]) -> None:
    assert all(task["cachingOptions"] == {} for task in tasks.values())


def test_all_but_preprocess_are_tried_again_with_growing_pauses_within_a_day(tasks: dict[str, Any]) -> None:
    policy = {"maxRetryCount": 2, "backoffDuration": "30s", "backoffFactor": 2.0, "backoffMaxDuration": "86400s"}

    assert {name: task["retryPolicy"] for name, task in tasks.items() if "retryPolicy" in task} == dict.fromkeys(
        tasks.keys() - {"preprocess"}, policy
    )


def resolved(document: dict[str, Any], task: str) -> dict[str, str]:
    """Return a task's resources as KFP's driver finds them: in the pipeline's parameters, if these are text."""
    declared = document["root"]["inputDefinitions"]["parameters"]
    sources = document["root"]["dag"]["tasks"][task]["inputs"]["parameters"]

    def value(text: str) -> str:
        (name,) = re.fullmatch(r"\{\{\$\.inputs\.parameters\['(.+)'\]\}\}", text).groups()
        parameter = declared[sources[name]["componentInputParameter"]]
        assert parameter["parameterType"] == "STRING"
        return parameter["defaultValue"]

    resources = document["deploymentSpec"]["executors"][f"exec-{task}"]["container"]["resources"]
    flat = {name: text for name, text in resources.items() if name != "accelerator"} | resources.get("accelerator", {})
    return {name: value(text) for name, text in flat.items()}


def test_resources_come_from_the_pipelines_parameters(document: dict[str, Any], name: str) -> None:
    usual = {
        "resourceCpuRequest": "500m",
        "resourceCpuLimit": "2",
        "resourceMemoryRequest": "1Gi",
        "resourceMemoryLimit": "4Gi",
    }
    none = {"resourceType": "", "resourceCount": "1"}

    assert {stage: resolved(document, stage) for stage in STAGES_OF[name]} == {
        "preprocess": usual | {"resourceMemoryLimit": "8Gi"},
        **{f"train-{model.slot}": usual | (none if model.extra == "torch" else {}) for model in MODELS[name].values()},
        "eval": usual,
        "inference": usual,
    }
    declared = document["root"]["inputDefinitions"]["parameters"]
    defaults = {resource: declared[resource]["defaultValue"] for resource in RESOURCES}
    assert defaults == RESOURCES


def test_promotion_forecasts_and_hash_are_outputs_of_the_whole(document: dict[str, Any]) -> None:
    outputs = document["root"]["dag"]["outputs"]
    made = {
        name: f"{one['producerSubtask']}.{one['outputArtifactKey']}"
        for name, output in outputs["artifacts"].items()
        for one in output["artifactSelectors"]
    } | {
        name: f"{output['valueFromParameter']['producerSubtask']}.{output['valueFromParameter']['outputParameterKey']}"
        for name, output in outputs["parameters"].items()
    }

    assert made == {
        "config_hash": "preprocess.config_hash",
        "selected_model": "eval.selected_model",
        "promotion_metadata": "eval.promotion_metadata",
        "predictions": "inference.predictions",
    }


def test_every_task_has_a_title(tasks: dict[str, Any], name: str) -> None:
    assert [tasks[task]["taskInfo"]["name"] for task in STAGES_OF[name]] == [
        "Preprocess",
        *(f"Train {model.title}" for model in MODELS[name].values()),
        "Evaluate and promote",
        "Forecast",
    ]
