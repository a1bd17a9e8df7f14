"""Executor input and output of Kubeflow Pipelines: ``--executor-input JSON`` in, results to files.

The JSON is the ``ExecutorInput`` message of KFP's pipeline spec, and ``outputs.outputFile`` gets an ``ExecutorOutput``,
whose readers refuse unknown fields.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic
from urllib.parse import unquote

from flts.boundary.paths import read_path
from flts.contracts import MetadataValue
from flts.errors import BadInputError
from flts.params import Params
from flts.runtime.output import check_input, write_whole
from flts.runtime.parameters import check_params, is_typo, standalone_defaults, suggest
from flts.stage_interface import Artifact, InputArtifact, P, Result, Stage

_MOUNTS = {"gs://": "/gcs/", "s3://": "/s3/", "minio://": "/minio/"}

# Six decimals of a smaller number show fewer than four digits.
_SMALL = 0.01

# KFP adds the parts of an f-string argument to the parameter that was composed of them, and the parameters of a task's
# resources and image.
_COMPOSED = "pipelinechannel--"
_OF_THE_POD = {
    *("cpu_request", "cpu_limit", "memory_request", "memory_limit", "accelerator_type", "accelerator_count"),
    "base_image",
}

# Names of inputs that no component declares: parameters of the pipeline for later stages, which the first stage checks.
# KFP passes them as it passes the parts of an f-string, with their types.
TO_CHECK = f"{_COMPOSED}check--"


@dataclass(frozen=True)
class OutputArtifact:
    """The place of an output artifact for KFP: its file, and the address, which must be returned unchanged.

    ``numbers_only``: its metadata may have nothing else, as that of ``system.Metrics``.
    """

    path: Path
    uri: str
    numbers_only: bool = False


@dataclass(frozen=True)
class ExecutorTask(Generic[P]):
    """The task of an executor input; ``ignored_outputs`` are those in it that are KFP's own."""

    params: P
    inputs: Mapping[str, InputArtifact]
    artifacts: Mapping[str, OutputArtifact]
    parameter_files: Mapping[str, Path]
    output_file: Path | None
    ignored_outputs: tuple[str, ...] = ()


def read_executor_input(stage: Stage[P], text: str) -> ExecutorTask[P]:
    """Read the JSON by which KFP replaces ``{{$}}``.

    Raises:
        BadInputError: It is not such JSON, or does not fit the stage: an unknown or missing parameter, a value
            outside its limits, also of a later stage's parameter that the pipeline passes; an input artifact that
            is missing or has no file; an output whose name is one letter off one that the stage makes.
    """
    document = _object(_parse(text), "the document")
    inputs = _object(document.get("inputs"), "inputs")
    outputs = _object(document.get("outputs"), "outputs")
    given = _object(inputs.get("parameterValues"), "inputs.parameterValues")
    values = {
        name: value
        for name, value in given.items()
        if value is not None and not name.startswith(_COMPOSED) and name not in _OF_THE_POD
    }
    params = check_params(stage.params, values, lambda name: f"parameter {name}")
    _check_later_stages(stage, params, given)
    parameters, others = _own_outputs(stage, outputs, "parameters")
    artifacts, other_artifacts = _own_outputs(stage, outputs, "artifacts")
    return ExecutorTask(
        params=params,
        inputs=_read_inputs(stage, _object(inputs.get("artifacts"), "inputs.artifacts")),
        artifacts={
            name: OutputArtifact(
                path=local_path(artifact, f"output artifact {name}"),
                uri=_text(artifact, "uri", name),
                numbers_only=stage.outputs[name].type == "Metrics",
            )
            for name, artifact in _single_artifacts(artifacts, "outputs.artifacts").items()
        },
        parameter_files={
            name: _output_file(_object(parameter, f"outputs.parameters.{name}"), f"outputs.parameters.{name}")
            for name, parameter in parameters.items()
        },
        output_file=_output_file(outputs, "outputs") if outputs.get("outputFile") else None,
        ignored_outputs=(*others, *other_artifacts),
    )


def write_executor_output(task: ExecutorTask, result: Result) -> None:
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
                        {"name": name, "uri": artifact.uri, "metadata": _metadata(artifact, result.artifacts[name])}
                    ]
                }
                for name, artifact in task.artifacts.items()
            },
            "parameterValues": {name: result.parameters[name] for name in task.parameter_files},
        }
        write_whole(task.output_file, json.dumps(output, allow_nan=False))


def _metadata(promised: OutputArtifact, made: Artifact) -> dict[str, MetadataValue]:
    """Return an artifact's metadata, small numbers also as text: KFP's metadata store keeps six decimals of each."""
    metadata = dict(made.metadata)
    if not promised.numbers_only:
        small = {key: value for key, value in metadata.items() if isinstance(value, float) and 0 < abs(value) < _SMALL}
        metadata |= {f"{key}_text": repr(value) for key, value in small.items()}
    return metadata


def local_path(artifact: Mapping[str, Any], label: str) -> Path:
    """Return the path of an artifact's file on this machine.

    The rule is that of KFP's launcher: ``customPath`` if given, else the mount for the uri's scheme, else the uri
    itself. ``label`` names the artifact in the error sentence.
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
        raise BadInputError(f"--executor-input is not JSON: unexpected text at {place}") from None
    except RecursionError:
        raise BadInputError("--executor-input is not JSON that can be read: it is nested too deeply") from None
    except ValueError:
        raise BadInputError("--executor-input is not JSON that can be read: a number in it is too long") from None


def _check_later_stages(stage: Stage, params: Params, given: Mapping[str, Any]) -> None:
    """Check the parameters that the pipeline passed for later stages, with those that they share with this one.

    Parameters that only the output of a task can set count as set.
    """
    prefixed = {name.removeprefix(TO_CHECK): value for name, value in given.items() if name.startswith(TO_CHECK)}
    known = params.model_dump() | {name: value for name, value in prefixed.items() if value is not None}
    for later, model in stage.checks.items() if prefixed else ():
        values = {name: known[name] for name in model.model_fields if name in known}
        check_params(model, standalone_defaults(model) | values, f"parameter {{}} of {later}".format)


def _own_outputs(stage: Stage, outputs: Mapping[str, Any], kind: str) -> tuple[dict[str, Any], list[str]]:
    """Split the requested outputs into those of the stage, and the names of those that KFP adds for itself.

    Since April 2025 the driver adds ``executor-logs``, which the launcher writes; the stage ignores it. A name that
    looks like a mistyped output of the stage is still an error.
    """
    made = [name for name, output in stage.outputs.items() if (output.type == "str") is (kind == "parameters")]
    asked = _object(outputs.get(kind), f"outputs.{kind}")
    others = [name for name in asked if name not in made]
    for name in others:
        if meant := next((own for own in stage.outputs if is_typo(name, own)), None):
            place = "" if meant in made else f" among outputs.{'artifacts' if kind == 'parameters' else 'parameters'}"
            raise BadInputError(
                f"--executor-input asks for {name!r} among outputs.{kind}, which {stage.command} does not make; "
                f"did you mean {meant}{place}?"
            )
    return {name: asked[name] for name in made if name in asked}, others


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
    """Return the only artifact of each list; an empty list means that an optional artifact was not given."""
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
