"""Reader for compiled KFP pipelines: the tasks, the sources of their inputs, and their declared outputs.

Supports a flat DAG of container tasks, which is what this project compiles. All other features of KFP (conditions,
loops, nested pipelines, importers, lists) are refused by name rather than run incorrectly.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from flts.errors import BadInputError
from flts.runtime.executor import TO_CHECK

EXECUTOR_INPUT = "{{$}}"

# The loader in C is ten times as fast, but not always available.
_SAFE_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_TYPES = {"STRING": "text", "BOOLEAN": "true or false", "NUMBER_INTEGER": "a whole number", "NUMBER_DOUBLE": "a number"}

Value = str | int | float | bool


@dataclass(frozen=True)
class Parameter:
    """A declared parameter; ``type`` is KFP's, such as ``NUMBER_INTEGER``; ``default`` is ``None`` if required."""

    name: str
    type: str
    default: Value | None = None

    def convert(self, value: Any) -> Value:
        """Convert a value, or its text, to this parameter's type; ``ValueError`` if that is impossible."""
        if self.type == "STRING":
            return str(value).lower() if isinstance(value, bool) else str(value)
        parsed = _from_text(value) if isinstance(value, str) else value
        match self.type:
            case "BOOLEAN" if isinstance(parsed, bool):
                return parsed
            case "NUMBER_INTEGER" if _is_number(parsed) and float(parsed).is_integer():
                return int(parsed)
            case "NUMBER_DOUBLE" if _is_number(parsed):
                return float(parsed)
        raise ValueError(f"expected {_TYPES[self.type]}, got {value!r}")


@dataclass(frozen=True)
class TaskOutput:
    """An output of another task."""

    task: str
    output: str


@dataclass(frozen=True)
class PipelineParameter:
    """A parameter of the pipeline."""

    name: str


@dataclass(frozen=True)
class Constant:
    """A value written into the pipeline."""

    value: Value


@dataclass(frozen=True)
class Task:
    """One container task.

    Attributes:
        name: Its key in the DAG.
        title: Its display name.
        image: Its container image.
        command: Command and arguments, with ``{{$}}`` in place of the executor input.
        after: The tasks it waits for.
        inputs: Its component's input parameters.
        arguments: Sources of their values; parameters without one take their defaults. Also holds parameters of later
            tasks that this one checks, which are not among the inputs.
        artifacts: Its input artifacts.
        output_parameters: Type of each output parameter.
        output_artifacts: KFP's type schema of each output artifact.
    """

    name: str
    title: str
    image: str
    command: tuple[str, ...]
    after: frozenset[str]
    inputs: Mapping[str, Parameter]
    arguments: Mapping[str, TaskOutput | PipelineParameter | Constant]
    artifacts: Mapping[str, TaskOutput]
    output_parameters: Mapping[str, Parameter]
    output_artifacts: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Pipeline:
    """A compiled pipeline; ``tasks`` are in topological order."""

    name: str
    parameters: Mapping[str, Parameter]
    tasks: Mapping[str, Task]

    def arguments(self, given: Mapping[str, Any]) -> dict[str, Value]:
        """Return the value of every pipeline parameter: the given one, or else the default.

        Raises:
            BadInputError: A name is unknown, a value has the wrong type, or a required one is missing.
        """
        for name in given:
            if name not in self.parameters:
                close = get_close_matches(name, self.parameters, n=1)
                hint = f"; did you mean {close[0]}?" if close else ""
                raise BadInputError(f"the pipeline has no parameter {name!r}{hint}")
        values: dict[str, Value] = {}
        for name, parameter in self.parameters.items():
            value = given.get(name, parameter.default)
            if value is None:
                raise BadInputError(f"parameter {name} is required")
            try:
                values[name] = parameter.convert(value)
            except ValueError as error:
                raise BadInputError(f"parameter {name}: {error}") from None
        return values


def load_pipeline(path: Path) -> Pipeline:
    """Read a compiled pipeline.

    Raises:
        BadInputError: The file is not a compiled pipeline, or uses an unsupported feature.
    """
    try:
        # The second document, if any, is for Kubernetes only.
        document: Any = next(yaml.load_all(path.read_text(encoding="utf-8"), Loader=_SAFE_LOADER), {})
        dag = document["root"]["dag"]["tasks"]
        tasks = {name: _task(name, spec, document) for name, spec in dag.items()}
        parameters = _parameters(document["root"].get("inputDefinitions", {}))
        title = document["pipelineInfo"].get("displayName", document["pipelineInfo"]["name"])
    except OSError as error:
        raise BadInputError(f"cannot read {path}: {error.strerror}") from None
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, UnicodeDecodeError):
        raise BadInputError(f"{path} is not a compiled KFP pipeline") from None
    return Pipeline(title, parameters, _topological_order(tasks))


def _task(name: str, spec: Mapping[str, Any], document: Mapping[str, Any]) -> Task:
    for feature in ("triggerPolicy", "parameterIterator", "artifactIterator"):
        if feature in spec:
            raise BadInputError(f"task {name} uses {feature}, which the local runner does not support")
    component = document["components"][spec["componentRef"]["name"]]
    executor = document["deploymentSpec"]["executors"].get(component.get("executorLabel"), {})
    if "container" not in executor:
        raise BadInputError(f"task {name} is not a container, and the local runner supports nothing else")
    command = (*executor["container"].get("command", []), *executor["container"].get("args", []))
    for part in command:
        if not isinstance(part, str) or "{{$" in part.replace(EXECUTOR_INPUT, ""):
            raise BadInputError(
                f"task {name} has the placeholder {part!r}: the local runner supports {EXECUTOR_INPUT} only"
            )
    inputs = spec.get("inputs", {})
    declared = _parameters(component.get("inputDefinitions", {}))
    # KFP adds inputs that the component does not declare; of these, only parameters to check matter to the task.
    sources = {
        key: source
        for key, source in inputs.get("parameters", {}).items()
        if key in declared or key.startswith(TO_CHECK)
    }
    outputs = component.get("outputDefinitions", {})
    return Task(
        name=name,
        title=spec.get("taskInfo", {}).get("name", name),
        image=executor["container"]["image"],
        command=command,
        after=frozenset(spec.get("dependentTasks", ())),
        inputs=declared,
        arguments={key: _argument(name, key, source) for key, source in sources.items()},
        artifacts={key: _produced_artifact(name, key, source) for key, source in inputs.get("artifacts", {}).items()},
        output_parameters=_parameters(outputs),
        output_artifacts={key: value["artifactType"] for key, value in outputs.get("artifacts", {}).items()},
    )


def _parameters(definitions: Mapping[str, Any]) -> dict[str, Parameter]:
    found = {}
    for name, spec in definitions.get("parameters", {}).items():
        if spec["parameterType"] not in _TYPES:
            raise BadInputError(f"parameter {name} is a {spec['parameterType']}, which the local runner cannot pass on")
        parameter = Parameter(name, spec["parameterType"])
        if "defaultValue" in spec:  # YAML holds integers as 0.0
            parameter = Parameter(name, spec["parameterType"], parameter.convert(spec["defaultValue"]))
        found[name] = parameter
    return found


def _argument(task: str, name: str, source: Mapping[str, Any]) -> TaskOutput | PipelineParameter | Constant:
    if "componentInputParameter" in source:
        return PipelineParameter(source["componentInputParameter"])
    if "taskOutputParameter" in source:
        produced = source["taskOutputParameter"]
        return TaskOutput(produced["producerTask"], produced["outputParameterKey"])
    constant = source.get("runtimeValue", {}).get("constant")
    if constant is None or EXECUTOR_INPUT[:3] in str(constant):
        raise BadInputError(f"parameter {name} of task {task} has a source that the local runner cannot follow")
    return Constant(constant)


def _produced_artifact(task: str, name: str, source: Mapping[str, Any]) -> TaskOutput:
    if "taskOutputArtifact" not in source:
        raise BadInputError(f"artifact {name} of task {task} has a source that the local runner cannot follow")
    produced = source["taskOutputArtifact"]
    return TaskOutput(produced["producerTask"], produced["outputArtifactKey"])


def _topological_order(tasks: Mapping[str, Task]) -> dict[str, Task]:
    ordered: dict[str, Task] = {}
    while len(ordered) < len(tasks):
        ready = [task for name, task in tasks.items() if name not in ordered and task.after <= ordered.keys()]
        if not ready:
            raise BadInputError("the pipeline's tasks depend on each other in a circle")
        ordered |= {task.name: task for task in ready}
    return ordered


def _from_text(text: str) -> Any:
    try:
        return json.loads(text.lower() if text.lower() in ("true", "false") else text)
    except json.JSONDecodeError:
        return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
