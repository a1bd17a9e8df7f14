"""Tasks of the compiled pipeline, started as KFP's launcher starts them, and read as KFP reads them.

The command and the argument list come from the compiled pipeline, the executor input from KFP's own code, which also
reads the outputs: nothing here knows how FLTS does either.
"""

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from google.protobuf import json_format
from kfp.local import executor_input_utils, executor_output_utils, placeholder_utils
from kfp.pipeline_spec import pipeline_spec_pb2

from tests.support.commands import BIN


@dataclass(frozen=True)
class Launched:
    """A task that has ended."""

    folder: Path
    executor_input: Any
    component: Any
    code: int
    stdout: str
    stderr: str

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stderr.splitlines()]

    def outputs(self) -> dict[str, Any]:
        outputs: dict[str, Any] = executor_output_utils.get_outputs_for_task(self.executor_input, self.component)
        return outputs

    def output_file(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(Path(self.executor_input.outputs.output_file).read_text())
        return document


@dataclass(frozen=True)
class Task:
    """A task that can be started, again and again; its outputs go into ``folder``."""

    folder: Path
    executor_input: Any
    component: Any
    command: list[str]
    home: Path

    def start(self) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            self.command,
            cwd=self.folder.parent,
            env={
                "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
                "HOME": str(self.home),
                "TMPDIR": str(self.folder.parent),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self) -> Launched:
        with self.start() as process:
            stdout, stderr = process.communicate(timeout=120)
        return Launched(self.folder, self.executor_input, self.component, process.returncode, stdout, stderr)


class Launcher:
    """Runs tasks one after another; ``launched`` are those whose outputs others read."""

    def __init__(self, pipeline: Path, folder: Path, home: Path, parameters: Mapping[str, Any]) -> None:
        document = next(yaml.safe_load_all(pipeline.read_text()))
        self.spec = json_format.ParseDict(document, pipeline_spec_pb2.PipelineSpec())
        self.folder = folder
        self.home = home
        self.arguments = {
            name: json_format.MessageToDict(parameter.default_value)
            for name, parameter in self.spec.root.input_definitions.parameters.items()
        }
        self.arguments |= parameters
        self.launched: dict[str, Launched] = {}

    def run(self, name: str, **overrides: Any) -> Launched:
        return self.task(name, **overrides).run()

    def task(self, name: str, **overrides: Any) -> Task:
        task, component, container = self._declared(name)
        folder = self.folder / f"task-{len(list(self.folder.iterdir()))}-{name}"
        given = {key: self._value(source) for key, source in task.inputs.parameters.items()}
        given |= {key: self._output(source.task_output_artifact) for key, source in task.inputs.artifacts.items()}
        executor_input = executor_input_utils.construct_executor_input(
            component_spec=component,
            arguments=given | overrides,
            task_root=str(folder),
            block_input_artifact=False,
        )
        command = placeholder_utils.replace_placeholders(
            full_command=[*container.command, *container.args],
            executor_input_dict=executor_input_utils.executor_input_to_dict(executor_input, component),
            pipeline_resource_name="pipeline",
            task_resource_name=name,
            pipeline_root=str(self.folder),
            unique_pipeline_id="1",
        )
        return Task(folder, executor_input, component, command, self.home)

    def _declared(self, name: str) -> tuple[Any, Any, Any]:
        task = self.spec.root.dag.tasks[name]
        component = self.spec.components[task.component_ref.name]
        executor = self.spec.deployment_spec["executors"][component.executor_label]["container"]
        container = json_format.ParseDict(
            {key: json_format.MessageToDict(executor)[key] for key in ("image", "command", "args")},
            pipeline_spec_pb2.PipelineDeploymentConfig.PipelineContainerSpec(),
        )
        return task, component, container

    def _value(self, source: Any) -> Any:
        match source.WhichOneof("kind"):
            case "component_input_parameter":
                return self.arguments[source.component_input_parameter]
            case "task_output_parameter":
                produced = source.task_output_parameter
                return self.launched[produced.producer_task].outputs()[produced.output_parameter_key]
            case "runtime_value":
                return json_format.MessageToDict(source.runtime_value.constant)
        raise AssertionError(source)

    def _output(self, produced: Any) -> Any:
        return self.launched[produced.producer_task].outputs()[produced.output_artifact_key]
