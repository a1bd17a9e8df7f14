"""Signatures and docstrings for KFP, generated from the declarations of the stages."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, get_origin

from kfp import dsl
from pydantic.fields import FieldInfo

from flts.runtime.executor import TO_CHECK
from flts.stage_interface import Stage

# Ends every component's description, because its users must know it first.
CACHING = (
    "Turn KFP's cache off for its tasks with task.set_caching_options(False): the cache does not notice changed data."
)


def declared_by(stage: Stage) -> Callable[[Callable[[], dsl.ContainerSpec]], Callable[..., dsl.ContainerSpec]]:
    """Give a container component the interface of a stage.

    Args:
        stage: The stage's declaration: artifacts, parameters and their descriptions.

    Returns:
        A decorator for the function that returns the container.
    """
    inputs = {name: item for name, item in stage.inputs.items() if item.kfp}
    fields = stage.params.model_fields
    artifacts = {name: dsl.Input[getattr(dsl, item.type)] for name, item in inputs.items()}
    signature = [_parameter(name, artifacts[name]) for name, item in inputs.items() if item.required]
    signature += [_declared(name, field) for name, field in fields.items() if field.is_required()]
    signature += [
        _parameter(name, dsl.OutputPath(str) if item.type == "str" else dsl.Output[getattr(dsl, item.type)])
        for name, item in stage.outputs.items()
    ]
    signature += [_parameter(name, artifacts[name], None) for name, item in inputs.items() if not item.required]
    signature += [_declared(name, field) for name, field in fields.items() if not field.is_required()]
    described = {name: item.help for name, item in inputs.items()} | _descriptions(fields)
    returned = {name: item.help for name, item in stage.outputs.items()}

    def decorate(container: Callable[[], dsl.ContainerSpec]) -> Callable[..., dsl.ContainerSpec]:
        def component(*_: Any) -> dsl.ContainerSpec:
            return container()

        summary = f"{stage.summary} {CACHING}"
        return _with_interface(component, container.__name__, signature, summary, described, returned)

    return decorate


def with_parameters(
    fields: Mapping[str, FieldInfo], defaults: Mapping[str, Any], returned: Mapping[str, str]
) -> Callable[[Callable[[Mapping[str, Any]], Any]], Callable[..., Any]]:
    """Give a pipeline function declared parameters.

    Args:
        fields: The parameters, in order.
        defaults: Values that replace declared defaults.
        returned: Description of each output.

    Returns:
        A decorator for the function that wires the tasks. That function receives the parameters by name; its return
        annotation declares the outputs.
    """
    signature = [_declared(name, field, defaults.get(name)) for name, field in fields.items()]

    def decorate(wire: Callable[[Mapping[str, Any]], Any]) -> Callable[..., Any]:
        def pipeline(*values: Any) -> Any:
            return wire(dict(zip(fields, values, strict=True)))

        summary, outputs = inspect.getdoc(wire) or "", inspect.signature(wire).return_annotation
        return _with_interface(
            pipeline, wire.__name__, signature, summary, _descriptions(fields), returned, outputs=outputs
        )

    return decorate


def pass_for_checking(task: Any, stage: Stage, values: Mapping[str, Any]) -> None:
    """Pass the parameters of later stages to a task, which checks them before anything is read.

    Each is an input of its own, which KFP fills with a value of its type. One text composed of them would arrive broken
    if a value contained a quotation mark, because KFP's launcher inserts the parts into the JSON without escaping.

    Args:
        task: The task of ``stage``.
        stage: Its declaration, which names the stages whose parameters it checks.
        values: The pipeline's parameters by name.
    """
    later = [name for model in stage.checks.values() for name in model.model_fields if name in values]
    handed = {f"{TO_CHECK}{name}": values[name] for name in later if name not in stage.params.model_fields}
    task.inputs.update(handed)
    task.register_pipeline_channels(list(handed.values()))


def _with_interface(
    function: Callable[..., Any],
    name: str,
    signature: Iterable[inspect.Parameter],
    summary: str,
    arguments: Mapping[str, str],
    returned: Mapping[str, str],
    outputs: Any = inspect.Signature.empty,
) -> Callable[..., Any]:
    """Give a function a name, a signature and a docstring; KFP reads descriptions of outputs under ``Returns``."""
    lines = [summary]
    for title, entries in {"Args": arguments, "Returns": returned}.items():
        if entries:
            lines += ["", f"{title}:", *(f"    {entry}: {text}" for entry, text in entries.items())]
    function.__name__, function.__doc__ = name, "\n".join(lines)
    interface = inspect.Signature(list(signature), return_annotation=outputs)
    function.__signature__ = interface  # type: ignore[attr-defined]
    return function


def _declared(name: str, field: FieldInfo, default: Any = None) -> inspect.Parameter:
    if default is None:
        default = inspect.Parameter.empty if field.is_required() else field.default
    return _parameter(name, str if get_origin(field.annotation) is Literal else field.annotation, default)


def _descriptions(fields: Mapping[str, FieldInfo]) -> dict[str, str]:
    return {name: str(field.description) for name, field in fields.items()}


def _parameter(name: str, annotation: Any, default: Any = inspect.Parameter.empty) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=annotation)
