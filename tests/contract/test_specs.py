"""The component specs say what the stages' parameter models say, and start the stages in the one way that works."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal, get_origin

import pytest
import yaml
from kfp.components import load_component_from_file
from pydantic.fields import FieldInfo

from flts.stage_interface import Stage
from flts.stages import STAGES
from pipeline.pipeline import TASK_TIMEOUT_SECONDS
from scripts.compile_specs import publish

KFP_TYPES = {str: "STRING", int: "NUMBER_INTEGER", float: "NUMBER_DOUBLE", bool: "BOOLEAN"}


def spec(root: Path, stage: str) -> dict[str, Any]:
    return yaml.safe_load((root / "component_specs" / f"{stage}.yaml").read_text())


def component(root: Path, stage: str) -> dict[str, Any]:
    return spec(root, stage)["components"][f"comp-{stage}"]


def kfp_type(field: FieldInfo) -> str:
    return KFP_TYPES[str if get_origin(field.annotation) is Literal else field.annotation]


@pytest.fixture(params=STAGES.values(), ids=STAGES.keys())
def stage(request: pytest.FixtureRequest) -> Stage:
    return request.param


def test_there_is_a_spec_for_every_stage_and_no_other(root: Path) -> None:
    assert {path.stem for path in (root / "component_specs").glob("*")} == STAGES.keys()


def test_parameters_are_those_of_the_model(root: Path, stage: Stage) -> None:
    parameters = component(root, stage.name)["inputDefinitions"]["parameters"]

    assert parameters.keys() == stage.params.model_fields.keys()
    for name, field in stage.params.model_fields.items():
        declared = parameters[name]
        assert declared["parameterType"] == kfp_type(field), name
        assert " ".join(declared["description"].split()) == field.description, name
        assert declared.get("isOptional", False) is not field.is_required(), name
        assert ("defaultValue" in declared) is not field.is_required(), name
        if not field.is_required():
            assert declared["defaultValue"] == field.default, name


def test_artifacts_and_output_parameters_are_those_of_the_stage(root: Path, stage: Stage) -> None:
    declared = component(root, stage.name)
    inputs = declared["inputDefinitions"].get("artifacts", {})
    outputs = declared["outputDefinitions"]

    assert {name: (item["artifactType"]["schemaTitle"], item["description"]) for name, item in inputs.items()} == {
        name: (f"system.{item.type}", item.help) for name, item in stage.inputs.items() if item.kfp
    }
    assert {name for name, item in inputs.items() if item.get("isOptional")} == {
        name for name, item in stage.inputs.items() if item.kfp and not item.required
    }
    assert {
        name: (item["artifactType"]["schemaTitle"], item["description"]) for name, item in outputs["artifacts"].items()
    } == {name: (f"system.{item.type}", item.help) for name, item in stage.outputs.items() if item.type != "str"}
    assert {
        name: (item["parameterType"], item["description"]) for name, item in outputs.get("parameters", {}).items()
    } == {name: ("STRING", item.help) for name, item in stage.outputs.items() if item.type == "str"}


def test_the_stage_is_started_with_the_executor_input_and_nothing_else(root: Path, stage: Stage) -> None:
    executors = spec(root, stage.name)["deploymentSpec"]["executors"]

    assert executors == {
        f"exec-{stage.name}": {
            "container": {
                "image": f"flts-{stage.name}:kfp",
                "command": [f"flts-{stage.name}"],
                "args": ["--executor-input", "{{$}}"],
            }
        }
    }


def test_the_command_of_the_image_may_be_run(root: Path, stage: Stage) -> None:
    assert os.access(root / "images" / stage.name / "main.py", os.X_OK)


def test_the_summary_describes_the_component(root: Path, stage: Stage) -> None:
    description = load_component_from_file(str(root / "component_specs" / f"{stage.name}.yaml")).description

    assert description.startswith(f"{stage.summary} ")


def test_the_description_says_that_the_cache_has_to_be_turned_off(root: Path, stage: Stage) -> None:
    description = load_component_from_file(str(root / "component_specs" / f"{stage.name}.yaml")).description

    assert "Turn KFP's cache off for its tasks with task.set_caching_options(False)" in description


def test_compiled_files_are_those_that_the_sources_give(root: Path) -> None:
    check = subprocess.run(
        [sys.executable, "-m", "scripts.compile_specs", "--check"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )

    assert check.returncode == 0, check.stdout + check.stderr


def test_a_file_without_digests_is_refused_before_anything_is_compiled(root: Path, tmp_path: Path) -> None:
    (tmp_path / "images.json").write_text('{\n  "eval": {"image": "host/flts-eval", "digest": null}\n}\n')

    for name, sentence in (("images.json", "has no digest of preprocess"), ("absent.json", "is not a file that")):
        command = [sys.executable, "-m", "scripts.compile_specs", "--digests", str(tmp_path / name)]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert f"error: {tmp_path / name} {sentence}" in done.stderr


def test_published_files_have_the_images_and_the_time_limit_that_were_asked_for(root: Path, tmp_path: Path) -> None:
    publish({stage: f"host/flts-{stage}:v1" for stage in STAGES}, (TASK_TIMEOUT_SECONDS, 7200), tmp_path)

    assert (tmp_path / "pipeline" / "pipeline.yaml").is_file()
    pipeline, platforms = yaml.safe_load_all((tmp_path / "pipeline" / "boosted.yaml").read_text())
    executors = pipeline["deploymentSpec"]["executors"]
    limits = platforms["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    for stage in STAGES:
        published = yaml.safe_load((tmp_path / "component_specs" / f"{stage}.yaml").read_text())
        own = published["deploymentSpec"]["executors"][f"exec-{stage}"]
        assert {own["container"]["image"], executors[f"exec-{stage}"]["container"]["image"]} == {
            f"host/flts-{stage}:v1"
        }
        assert limits[f"exec-{stage}"]["activeDeadlineSeconds"] == "7200"
