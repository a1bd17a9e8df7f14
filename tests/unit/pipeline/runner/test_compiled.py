"""Reading a compiled pipeline."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from flts.errors import BadInputError
from pipeline.runner.command import PIPELINES
from pipeline.runner.compiled import Constant, Parameter, Pipeline, PipelineParameter, TaskOutput, load_pipeline
from tests.support.workers import compile_workers


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_workers(tmp_path_factory.mktemp("workers"))


@pytest.fixture
def pipeline(compiled: Path) -> Pipeline:
    return load_pipeline(compiled)


def changed(compiled: Path, tmp_path: Path, change: Any) -> Path:
    document = yaml.safe_load(compiled.read_text())
    change(document)
    path = tmp_path / "changed.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def test_tasks_come_in_an_order_in_which_they_could_run(pipeline: Pipeline) -> None:
    order = list(pipeline.tasks)

    assert order[0] == "first"
    assert set(order[1:3]) == {"left", "right"}
    assert order[3] == "last"


def test_a_task_knows_its_command_title_and_where_its_inputs_come_from(pipeline: Pipeline) -> None:
    first, left, last = (pipeline.tasks[name] for name in ("first", "left", "last"))

    assert first.title == "The first"
    assert first.command == ("test-worker", "--executor-input", "{{$}}")
    assert first.arguments == {"does": PipelineParameter("first_does"), "count": PipelineParameter("count")}
    assert left.after == {"first"}
    assert left.arguments["heard"] == TaskOutput("first", "word")
    assert left.artifacts == {"data": TaskOutput("first", "data")}
    assert last.arguments["constant"] == Constant(7)
    assert last.artifacts == {"one": TaskOutput("left", "result"), "two": TaskOutput("right", "result")}
    assert first.output_artifacts["page"]["schemaTitle"] == "system.HTML"


def test_defaults_have_their_declared_type(pipeline: Pipeline) -> None:
    assert pipeline.tasks["first"].inputs["ratio"].default == 0.5
    assert pipeline.tasks["first"].inputs["flag"].default is True
    assert pipeline.tasks["first"].inputs["count"].default is None


def test_arguments_are_converted_and_defaults_filled_in(pipeline: Pipeline) -> None:
    assert pipeline.arguments({"count": "3", "left_does": "5"}) == {
        "count": 3,
        "first_does": "",
        "left_does": "5",
        "right_does": "",
        "last_does": "",
    }


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "parameter count is required"),
        ({"count": "many"}, "parameter count: expected a whole number, got 'many'"),
        ({"count": "1.5"}, "parameter count: expected a whole number, got '1.5'"),
        ({"count": True}, "parameter count: expected a whole number, got True"),
        ({"count": "1", "left_doe": "x"}, "the pipeline has no parameter 'left_doe'; did you mean left_does?"),
    ],
)
def test_wrong_arguments_are_named(pipeline: Pipeline, given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInputError) as error:
        pipeline.arguments(given)

    assert str(error.value) == sentence


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("NUMBER_INTEGER", "1e3", 1000),
        ("NUMBER_DOUBLE", "1e-4", 1e-4),
        ("NUMBER_DOUBLE", 2, 2.0),
        ("BOOLEAN", "True", True),
        ("BOOLEAN", "false", False),
        ("STRING", 5, "5"),
        ("STRING", True, "true"),
    ],
)
def test_text_becomes_the_declared_type(kind: str, text: Any, value: Any) -> None:
    converted = Parameter("x", kind).convert(text)

    assert converted == value
    assert type(converted) is type(value)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "yes", "", "[1"])
def test_what_is_no_finite_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected a number"):
        Parameter("x", "NUMBER_DOUBLE").convert(text)


def test_a_task_is_given_what_it_checks_for_later_ones_and_nothing_else_that_kfp_adds(
    compiled: Path, tmp_path: Path
) -> None:
    def added(document: dict[str, Any]) -> None:
        document["root"]["dag"]["tasks"]["first"]["inputs"]["parameters"] |= {
            "pipelinechannel--check--epochs": {"componentInputParameter": "count"},
            "pipelinechannel--cpus": {"componentInputParameter": "count"},
            "cpu_limit": {"runtimeValue": {"constant": "{{$.inputs.parameters['pipelinechannel--cpus']}}"}},
        }

    first = load_pipeline(changed(compiled, tmp_path, added)).tasks["first"]

    assert first.arguments.keys() == {"does", "count", "pipelinechannel--check--epochs"}
    assert first.arguments["pipelinechannel--check--epochs"] == PipelineParameter("count")
    assert "pipelinechannel--check--epochs" not in first.inputs


def condition(document: dict[str, Any]) -> None:
    document["root"]["dag"]["tasks"]["left"]["triggerPolicy"] = {"condition": "1 == 2"}


def importer(document: dict[str, Any]) -> None:
    document["deploymentSpec"]["executors"]["exec-left"] = {"importer": {}}


def placeholder(document: dict[str, Any]) -> None:
    document["deploymentSpec"]["executors"]["exec-left"]["container"]["args"] = ["{{$.inputs.parameters['does']}}"]


def circle(document: dict[str, Any]) -> None:
    document["root"]["dag"]["tasks"]["first"]["dependentTasks"] = ["last"]


def input_artifact(document: dict[str, Any]) -> None:
    document["root"]["dag"]["tasks"]["left"]["inputs"]["artifacts"]["data"] = {"componentInputArtifact": "x"}


def list_parameter(document: dict[str, Any]) -> None:
    document["components"]["comp-left"]["inputDefinitions"]["parameters"]["heard"]["parameterType"] = "LIST"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (condition, "task left uses triggerPolicy"),
        (importer, "task left is not a container"),
        (placeholder, "task left has the placeholder"),
        (circle, "depend on each other in a circle"),
        (list_parameter, "parameter heard is a LIST"),
        (input_artifact, "artifact data of task left has a source"),
    ],
)
def test_what_cannot_run_here_is_refused(compiled: Path, tmp_path: Path, change: Any, words: str) -> None:
    with pytest.raises(BadInputError, match=words):
        load_pipeline(changed(compiled, tmp_path, change))


@pytest.mark.parametrize("text", ["", "[]", "a: [", "root: {}"])
def test_a_file_that_is_no_pipeline_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)

    with pytest.raises(BadInputError, match=r"x\.yaml is not a compiled KFP pipeline"):
        load_pipeline(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"cannot read .*none\.yaml: No such file"):
        load_pipeline(tmp_path / "none.yaml")


def test_our_pipeline_takes_what_is_for_a_clusters_pods_and_hands_none_of_it_to_a_task() -> None:
    ours = load_pipeline(PIPELINES["pipeline"])

    assert ours.arguments({"memory_limit": "16Gi", "accelerator_count": 2})["accelerator_count"] == "2"
    for task in ours.tasks.values():
        assert {name for name in task.arguments if "--" not in name} == task.inputs.keys()
