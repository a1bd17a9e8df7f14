"""What the local runner asks of a task, and what it takes back."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.runner.compiled import Parameter, Task
from pipeline.runner.messages import OutputsError, RuntimeArtifact, executor_input, read_outputs

MODEL = {"schemaTitle": "system.Model", "schemaVersion": "0.0.1"}
TASK = Task(
    name="train",
    title="Train",
    image="train:kfp",
    command=("train",),
    after=frozenset(),
    inputs={},
    arguments={},
    artifacts={},
    output_parameters={"count": Parameter("count", "NUMBER_INTEGER")},
    output_artifacts={"model": MODEL, "report": {"schemaTitle": "system.HTML"}},
)


def write(folder: Path, message: object, *, model: bool = True) -> None:
    folder.mkdir(exist_ok=True)
    if model:
        (folder / "model").write_text("{}")
    (folder / "report.html").write_text("")
    (folder / "executor_output.json").write_text(message if isinstance(message, str) else json.dumps(message))


def described(folder: Path, **fields: Any) -> dict[str, Any]:
    artifact = {"name": "model", "uri": str(folder / "model"), "metadata": {"rmse": 0.5, "by": "x"}} | fields
    return {"artifacts": {"model": {"artifacts": [artifact]}}, "parameterValues": {"count": 3}}


def test_the_executor_input_has_the_shape_of_kfp(tmp_path: Path) -> None:
    data = RuntimeArtifact("data", tmp_path / "data", {"schemaTitle": "system.Dataset"}, {"rows": 3})

    assert executor_input(TASK, tmp_path, {"epochs": 3}, {"training_data": data}) == {
        "inputs": {
            "parameterValues": {"epochs": 3},
            "artifacts": {
                "training_data": {
                    "artifacts": [
                        {
                            "name": "data",
                            "type": {"schemaTitle": "system.Dataset"},
                            "uri": str(tmp_path / "data"),
                            "metadata": {"rows": 3},
                        }
                    ]
                }
            },
        },
        "outputs": {
            "parameters": {"count": {"outputFile": str(tmp_path / "count")}},
            "artifacts": {
                "model": {
                    "artifacts": [{"name": "model", "type": MODEL, "uri": str(tmp_path / "model"), "metadata": {}}]
                },
                "report": {
                    "artifacts": [
                        {
                            "name": "report",
                            "type": {"schemaTitle": "system.HTML"},
                            "uri": str(tmp_path / "report.html"),
                            "metadata": {},
                        }
                    ]
                },
            },
            "outputFile": str(tmp_path / "executor_output.json"),
        },
    }


def test_outputs_are_files_with_their_metadata_and_typed_parameters(tmp_path: Path) -> None:
    write(tmp_path, described(tmp_path))

    outputs = read_outputs(TASK, tmp_path)

    assert outputs.parameters == {"count": 3}
    assert outputs.artifacts["model"].metadata == {"rmse": 0.5, "by": "x"}
    assert outputs.artifacts["report"].metadata == {}


def test_a_parameter_may_be_in_its_own_file(tmp_path: Path) -> None:
    write(tmp_path, {"artifacts": {}})
    (tmp_path / "count").write_text("4")

    assert read_outputs(TASK, tmp_path).parameters == {"count": 4}


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        ("{", "train left no readable outputFile: "),
        ("[]", "train wrote an outputFile that is not a JSON object of objects"),
        ({"artifacts": []}, "train wrote an outputFile that is not a JSON object of objects"),
        ({"outputs": {}}, "train wrote the unknown field outputs to its outputFile"),
        ({"parameterValues": {"x": 1}}, "train wrote parameterValues.x to its outputFile, which it does not declare"),
        ({"parameterValues": {"count": "many"}}, "train wrote its output parameter count: expected a whole number"),
        ({}, "train ended without writing its output parameter count"),
        ({"artifacts": {"model": {}}}, "train described its output model wrongly in its outputFile"),
        ({"artifacts": {"model": {"artifacts": []}}}, "train described its output model wrongly in its outputFile"),
    ],
)
def test_a_message_that_breaks_the_schema_is_refused(tmp_path: Path, message: object, sentence: str) -> None:
    write(tmp_path, message)

    with pytest.raises(OutputsError) as error:
        read_outputs(TASK, tmp_path)

    assert str(error.value).startswith(sentence)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"uri": "minio://other/model"}, "train changed the uri of its output model to minio://other/model"),
        ({"path": "x"}, "train wrote unknown fields for its output model to its outputFile"),
        ({"metadata": {"a": {"b": 1}}}, "train gave its output model the metadata a={'b': 1}, not flat"),
        ({"metadata": {"a": True}}, "train gave its output model the metadata a=True, not flat"),
        ({"metadata": {"a": None}}, "train gave its output model the metadata a=None, not flat"),
        ({"metadata": {"a": float("nan")}}, "train gave its output model the metadata a=nan, not flat"),
        ({"metadata": 3}, "train described its output model wrongly in its outputFile"),
    ],
)
def test_an_artifact_described_wrongly_is_refused(tmp_path: Path, fields: dict[str, Any], sentence: str) -> None:
    write(tmp_path, described(tmp_path, **fields))

    with pytest.raises(OutputsError) as error:
        read_outputs(TASK, tmp_path)

    assert str(error.value) == sentence


def test_a_missing_artifact_is_named(tmp_path: Path) -> None:
    write(tmp_path, described(tmp_path), model=False)

    with pytest.raises(OutputsError, match="train ended without writing its output artifact model"):
        read_outputs(TASK, tmp_path)
