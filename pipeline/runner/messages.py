"""Messages between KFP's launcher and a task: executor input and executor output."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flts.diagnostics.system import reason
from pipeline.runner.compiled import Parameter, Task, Value

_SUFFIXES = {"system.HTML": ".html"}  # so that browsers open it as a page


class OutputsError(Exception):
    """A task succeeded, but its outputs do not match its declaration; the text is one sentence."""


@dataclass(frozen=True)
class RuntimeArtifact:
    """An artifact of a run: a file on this machine, KFP's type schema and metadata."""

    name: str
    path: Path
    type: Mapping[str, str]
    metadata: Mapping[str, str | int | float] = field(default_factory=dict)

    def as_message(self) -> dict[str, Any]:
        """Return it as KFP's ``ArtifactList`` of one."""
        artifact = {"name": self.name, "type": dict(self.type), "uri": str(self.path), "metadata": dict(self.metadata)}
        return {"artifacts": [artifact]}


@dataclass(frozen=True)
class TaskOutputs:
    """Outputs of a task, by name."""

    parameters: Mapping[str, Value] = field(default_factory=dict)
    artifacts: Mapping[str, RuntimeArtifact] = field(default_factory=dict)


def executor_input(
    task: Task, folder: Path, parameters: Mapping[str, Value | None], artifacts: Mapping[str, RuntimeArtifact]
) -> dict[str, Any]:
    """Build the ``ExecutorInput`` message; the task's outputs go into ``folder``."""
    return {
        "inputs": {
            "parameterValues": dict(parameters),
            "artifacts": {name: artifact.as_message() for name, artifact in artifacts.items()},
        },
        "outputs": {
            "parameters": {name: {"outputFile": str(folder / name)} for name in task.output_parameters},
            "artifacts": {name: artifact.as_message() for name, artifact in _expected_artifacts(task, folder).items()},
            "outputFile": str(_output_file(folder)),
        },
    }


def read_outputs(task: Task, folder: Path) -> TaskOutputs:
    """Collect the outputs that a task wrote into ``folder``, as strictly as KFP's launcher.

    Raises:
        OutputsError: An output is missing, or ``outputFile`` violates its schema.
    """
    expected = _expected_artifacts(task, folder)
    for name, artifact in expected.items():
        if not artifact.path.exists():
            raise OutputsError(f"{task.name} ended without writing its output artifact {name}")
    message = _read_message(task, folder)
    artifacts = {
        name: RuntimeArtifact(name, artifact.path, artifact.type, _metadata(task, artifact, message["artifacts"]))
        for name, artifact in expected.items()
    }
    parameters = {
        name: _parameter_value(task, parameter, folder / name, message["parameterValues"])
        for name, parameter in task.output_parameters.items()
    }
    return TaskOutputs(parameters, artifacts)


def _expected_artifacts(task: Task, folder: Path) -> dict[str, RuntimeArtifact]:
    return {
        name: RuntimeArtifact(name, folder / (name + _SUFFIXES.get(type_["schemaTitle"], "")), type_)
        for name, type_ in task.output_artifacts.items()
    }


def _output_file(folder: Path) -> Path:
    return folder / "executor_output.json"


def _read_message(task: Task, folder: Path) -> dict[str, dict[str, Any]]:
    try:
        message = json.loads(_output_file(folder).read_bytes())
    except OSError as error:
        raise OutputsError(f"{task.name} left no readable outputFile: {reason(error)}") from None
    except ValueError:
        raise OutputsError(f"{task.name} left no readable outputFile: it is not JSON") from None
    known = {"artifacts": task.output_artifacts, "parameterValues": task.output_parameters}
    if not isinstance(message, dict) or not all(isinstance(value, dict) for value in message.values()):
        raise OutputsError(f"{task.name} wrote an outputFile that is not a JSON object of objects")
    for part, entries in message.items():
        if part not in known:
            raise OutputsError(f"{task.name} wrote the unknown field {part} to its outputFile")
        for name in entries:
            if name not in known[part]:
                raise OutputsError(f"{task.name} wrote {part}.{name} to its outputFile, which it does not declare")
    return {part: message.get(part, {}) for part in known}


def _metadata(task: Task, expected: RuntimeArtifact, written: Mapping[str, Any]) -> Mapping[str, str | int | float]:
    if expected.name not in written:
        return {}
    try:
        (artifact,) = written[expected.name]["artifacts"]
        uri, metadata = artifact["uri"], dict(artifact.get("metadata", {}))
    except (TypeError, KeyError, ValueError):
        raise OutputsError(f"{task.name} described its output {expected.name} wrongly in its outputFile") from None
    if artifact.keys() - {"name", "uri", "metadata", "type"}:
        raise OutputsError(f"{task.name} wrote unknown fields for its output {expected.name} to its outputFile")
    if uri != str(expected.path):
        raise OutputsError(f"{task.name} changed the uri of its output {expected.name} to {uri}")
    for key, value in metadata.items():
        flat = isinstance(value, str) or (type(value) in (int, float) and math.isfinite(value))
        if not flat:
            raise OutputsError(f"{task.name} gave its output {expected.name} the metadata {key}={value!r}, not flat")
    return metadata


def _parameter_value(task: Task, parameter: Parameter, path: Path, values: Mapping[str, Any]) -> Value:
    if parameter.name in values:
        raw = values[parameter.name]
    elif path.is_file():
        raw = path.read_text(encoding="utf-8")
    else:
        raise OutputsError(f"{task.name} ended without writing its output parameter {parameter.name}")
    try:
        return parameter.convert(raw)
    except ValueError as error:
        raise OutputsError(f"{task.name} wrote its output parameter {parameter.name}: {error}") from None
