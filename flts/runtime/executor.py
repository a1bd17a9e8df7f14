"""Kubeflow Pipelines' way in and out: ``--executor-input JSON`` to parameters and artifacts, results to files.

The JSON is the ``ExecutorInput`` message of KFP's pipeline spec, and ``outputs.outputFile`` gets an ``ExecutorOutput``,
whose readers refuse unknown fields.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from flts.errors import BadInputError
from flts.params import Params
from flts.runtime.output import check_input, write_whole
from flts.runtime.parameters import check_params, suggest
from flts.runtime.paths import read_path
from flts.stage import InputArtifact, Result, Stage

_MOUNTS = {"gs://": "/gcs/", "s3://": "/s3/", "minio://": "/minio/"}

# KFP adds the parts of an f-string argument beside the parameter that was composed of them, and what a task's resources
# and image are taken from.
_COMPOSED = "pipelinechannel--"
_OF_THE_POD = {
    *("cpu_request", "cpu_limit", "memory_request", "memory_limit", "accelerator_type", "accelerator_count"),
    "base_image",
}


@dataclass(frozen=True)
class OutputArtifact:
    """Where KFP wants an output artifact: its file, and the address that must be handed back unchanged."""

    path: Path
    uri: str


@dataclass(frozen=True)
class Task:
    """What one executor input asks for."""

    params: Params
    inputs: Mapping[str, InputArtifact]
    artifacts: Mapping[str, OutputArtifact]
    parameter_files: Mapping[str, Path]
    output_file: Path | None


def read_executor_input(stage: Stage, text: str) -> Task:
    """Read the JSON that KFP puts in the place of ``{{$}}``.

    Raises:
        BadInputError: It is not such JSON, or does not fit the stage: an unknown or missing parameter, a value
            outside its limits, an input artifact that is missing or has no file, an output the stage does not make.
    """
    document = _object(_parse(text), "the document")
    inputs = _object(document.get("inputs"), "inputs")
    outputs = _object(document.get("outputs"), "outputs")
    values = {
        name: value
        for name, value in _object(inputs.get("parameterValues"), "inputs.parameterValues").items()
        if value is not None and not name.startswith(_COMPOSED) and name not in _OF_THE_POD
    }
    made = {name: "parameters" if output.type == "str" else "artifacts" for name, output in stage.outputs.items()}
    for kind in ("parameters", "artifacts"):
        known = [name for name in made if made[name] == kind]
        for name in _object(outputs.get(kind), f"outputs.{kind}"):
            if name not in known:
                raise BadInputError(
                    f"--executor-input asks for {name!r} among outputs.{kind}, "
                    f"which {stage.command} does not make{suggest(name, known)}"
                )
    return Task(
        params=check_params(stage.params, values, lambda name: f"parameter {name}"),
        inputs=_read_inputs(stage, _object(inputs.get("artifacts"), "inputs.artifacts")),
        artifacts={
            name: OutputArtifact(local_path(artifact, f"output artifact {name}"), _text(artifact, "uri", name))
            for name, artifact in _single_artifacts(outputs.get("artifacts"), "outputs.artifacts").items()
        },
        parameter_files={
            name: _output_file(_object(parameter, f"outputs.parameters.{name}"), f"outputs.parameters.{name}")
            for name, parameter in _object(outputs.get("parameters"), "outputs.parameters").items()
        },
        output_file=_output_file(outputs, "outputs") if outputs.get("outputFile") else None,
    )


def write_executor_output(task: Task, result: Result) -> None:
    """Write artifacts, parameters and at last ``outputs.outputFile``, each whole or not at all.

    Outputs that the executor input does not name are left out: an older component spec asks for fewer.
    """
    for name, artifact in task.artifacts.items():
        write_whole(artifact.path, result.artifacts[name].content)
    for name, path in task.parameter_files.items():
        write_whole(path, result.parameters[name])
    if task.output_file is not None:
        output = {
            "artifacts": {
                name: {
                    "artifacts": [
                        {"name": name, "uri": artifact.uri, "metadata": dict(result.artifacts[name].metadata)}
                    ]
                }
                for name, artifact in task.artifacts.items()
            },
            "parameterValues": {name: result.parameters[name] for name in task.parameter_files},
        }
        write_whole(task.output_file, json.dumps(output, allow_nan=False))


def local_path(artifact: Mapping[str, Any], label: str) -> Path:
    """Return where an artifact's file lies on this machine.

    The rule of KFP's launcher: ``customPath`` where given, else the mount that stands for the uri's scheme, else the
    uri itself. ``label`` names the artifact in the error sentence.
    """
    place = _text(artifact, "customPath", label) or _text(artifact, "uri", label)
    if not place:
        raise BadInputError(f"--executor-input gives {label} neither uri nor customPath")
    path = place
    for scheme, mount in _MOUNTS.items():
        if place.startswith(scheme):
            path = mount + place.removeprefix(scheme)
    if place.startswith("file://"):
        path = unquote(re.sub("^file://[^/]*", "", place))
    elif path == place and "://" in place:
        raise BadInputError(f"--executor-input gives {label} the address {place}, which has no path on this machine")
    return read_path(path, f"--executor-input: the path of {label}")


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise BadInputError(f"--executor-input is not JSON: what stands at {place} is not expected there") from None
    except RecursionError:
        raise BadInputError("--executor-input is not JSON that can be read: it is nested too deeply") from None
    except ValueError:
        raise BadInputError("--executor-input is not JSON that can be read: a number in it is too long") from None


def _output_file(document: Mapping[str, Any], where: str) -> Path:
    return read_path(_text(document, "outputFile", where), f"--executor-input: {where}.outputFile")


def _text(document: Mapping[str, Any], field: str, where: str) -> str:
    value = document.get(field)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadInputError(f"--executor-input: {field} of {where} must be text")
    return value


def _read_inputs(stage: Stage, document: Mapping[str, Any]) -> dict[str, InputArtifact]:
    declared = {name: item for name, item in stage.inputs.items() if item.kfp}
    given = _single_artifacts(document, "inputs.artifacts")
    for name in given:
        if name not in declared:
            raise BadInputError(f"input artifact {name!r} is not an input of {stage.command}{suggest(name, declared)}")
    inputs = {}
    for name, item in declared.items():
        if name not in given:
            if item.required:
                raise BadInputError(f"input artifact {name} is missing: {item.help}")
            continue
        label = f"input artifact {name}"
        path = local_path(given[name], label)
        check_input(path, item, label)
        metadata = _object(given[name].get("metadata"), f"inputs.artifacts.{name}.metadata")
        inputs[name] = InputArtifact(path, _text(given[name], "uri", label), metadata)
    return inputs


def _single_artifacts(document: Any, where: str) -> dict[str, dict[str, Any]]:
    """Take the one artifact out of each list; empty lists mean an optional artifact that was not given."""
    single = {}
    for name, entry in _object(document, where).items():
        artifacts = _object(entry, f"{where}.{name}").get("artifacts", [])
        if not isinstance(artifacts, list) or len(artifacts) > 1:
            raise BadInputError(f"--executor-input: {where}.{name}.artifacts must be a list of one artifact")
        if artifacts:
            single[name] = _object(artifacts[0], f"{where}.{name}")
    return single


def _object(value: Any, where: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadInputError(f"--executor-input: {where} must be a JSON object")
    return value
