"""What a stage is: its declaration, what it is given, and what it gives back.

A stage is a plain function ``run(params, context) -> Result``. The runtime reads parameters and artifacts from
flags, the environment, KFP or Kafka, calls it, and writes the result whole or not at all.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from flts.contracts import MetadataValue
from flts.lazy import resolve
from flts.params import Params
from flts.progress import Progress, no_progress

if TYPE_CHECKING:
    from flts.store import ObjectStore

ArtifactType = Literal["Dataset", "Model", "Artifact", "HTML"]


@dataclass(frozen=True)
class Input:
    """A declared input artifact. ``kfp=False``: only the command line has it; ``example`` is a path for its help."""

    type: ArtifactType
    help: str
    required: bool = True
    kfp: bool = True
    example: str = ""


@dataclass(frozen=True)
class Output:
    """A declared output: an artifact, or with ``type`` ``"str"`` an output parameter; ``Metrics`` hold numbers only."""

    type: Literal["Dataset", "Model", "Artifact", "Metrics", "HTML", "str"]
    help: str


@dataclass(frozen=True)
class Stage:
    """One stage of the pipeline.

    ``function`` is ``"module:name"``, imported only when the stage runs; ``arguments`` are what it gets besides
    parameters and context. ``also`` says what else its command does; ``listens`` that in Kafka mode it runs once
    unless ``--listen`` is given, where other stages always listen. ``checks`` are the parameter models of later stages:
    a pipeline hands it their parameters, so that a wrong one ends the run before anything is read.
    """

    name: str
    summary: str
    params: type[Params]
    inputs: Mapping[str, Input]
    outputs: Mapping[str, Output]
    function: str
    arguments: Mapping[str, str] = field(default_factory=dict)
    also: str = ""
    listens: bool = False
    checks: Mapping[str, type[Params]] = field(default_factory=dict)

    @property
    def command(self) -> str:
        """The command that starts this stage, ``flts-<name>``."""
        return f"flts-{self.name}"

    def run(self, params: Params, context: "Context") -> "Result":
        """Import the stage's function and call it."""
        function: Callable[..., Result] = resolve(self.function)
        return function(params, context, **self.arguments)


@dataclass(frozen=True)
class InputArtifact:
    """An artifact that a stage was given: a local file or folder, and what KFP knows of it."""

    path: Path
    uri: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Context:
    """What a stage runs with.

    Attributes:
        inputs: The input artifacts that were given, by declared name.
        work_dir: A private scratch folder, on the same filesystem as the outputs; removed afterwards.
        store: The object store; ``None`` when a stage runs by itself on plain files.
        tracking_uri: MLflow's address; ``None`` means no MLflow.
        wait_seconds: Seconds to wait for an MLflow that is away; ``None`` where the caller waits.
        output_dir: The folder that ``Result.files`` will be moved to when a stage runs by itself, else ``None``.
        progress: Where to report progress.
        announce: Told the message of work that has begun and that others may be waiting for, as JSON.
    """

    inputs: Mapping[str, InputArtifact]
    work_dir: Path
    store: "ObjectStore | None" = None
    tracking_uri: str | None = None
    wait_seconds: int | None = None
    output_dir: Path | None = None
    progress: Progress = no_progress
    announce: Callable[[str], None] = lambda _: None


@dataclass(frozen=True)
class Artifact:
    """Content of one output artifact's file, and its flat metadata."""

    content: str | bytes
    metadata: Mapping[str, MetadataValue] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """What a stage produced.

    Attributes:
        artifacts: One entry for every declared output artifact, by name.
        parameters: One entry for every declared output parameter.
        message: One closing line for people: what was made, with its key figures.
        files: Files or folders under ``work_dir`` by the relative name they get in ``output_dir``; standalone only.
        cached: Whether an earlier result was reused.
        notes: Warnings that people should read, one sentence each.
    """

    artifacts: Mapping[str, Artifact]
    message: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)
    cached: bool = False
    notes: tuple[str, ...] = ()
