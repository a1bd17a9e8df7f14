"""The interface of a stage: its declaration, its context and its result.

A stage is a plain function ``run(params, context) -> Result``. The runtime reads parameters and artifacts from
flags, the environment, KFP or Kafka, calls it, and writes the result whole or not at all.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal

from typing_extensions import TypeVar

from flts.contracts import MetadataValue
from flts.lazy import resolve
from flts.params import Params
from flts.progress import Progress, no_progress

if TYPE_CHECKING:
    from flts.store import ObjectStore

P = TypeVar("P", bound=Params, default=Any)
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
class WorkerDeclaration:
    """The worker of a stage in Kafka mode.

    Attributes:
        group: Its consumer group.
        group_variable: Environment variable that renames the group.
        consumes: The topics that it reads, each with the environment variable that renames it.
        produces: The topics that it writes, likewise.
        handler: ``"module:function"``, called with a received message and a ``StageRunner``; returns the messages to
            send. It is named by text because it stands above the stages.
        dead_letter_variable: Environment variable that renames the topic of its dead letters, if there is one.
        messages_of_run: ``"module:function"`` for a stage that also runs once, without a request, unless ``--listen``
            is given: called with the result, the identifier and the topics, returns the messages to send. Empty for a
            stage that always listens.
    """

    group: str
    group_variable: str
    consumes: Mapping[str, str]
    produces: Mapping[str, str]
    handler: str
    dead_letter_variable: str = ""
    messages_of_run: str = ""


@dataclass(frozen=True)
class Stage(Generic[P]):
    """One stage of the pipeline.

    Attributes:
        name: Its name, also of its image and of its command.
        summary: What it does, one sentence.
        params: The model of its parameters.
        inputs: Its input artifacts by name.
        outputs: Its output artifacts and output parameters by name.
        function: ``"module:function"``, imported only when the stage runs; called with parameters and context.
        arguments: Further arguments of the function.
        also: What else its command does, for the help.
        checks: Parameter models of later stages, by stage. A pipeline gives it their parameters as well, so that a
            wrong one ends the run before anything is read.
        worker: Its part in Kafka mode; ``None`` for a stage that has none.
    """

    name: str
    summary: str
    params: type[P]
    inputs: Mapping[str, Input]
    outputs: Mapping[str, Output]
    function: str
    arguments: Mapping[str, str] = field(default_factory=dict)
    also: str = ""
    checks: Mapping[str, type[Params]] = field(default_factory=dict)
    worker: WorkerDeclaration | None = None

    @property
    def command(self) -> str:
        """The command that starts this stage, ``flts-<name>``."""
        return f"flts-{self.name}"

    def run(self, params: P, context: "Context") -> "Result":
        """Import the stage's function and call it."""
        function: Callable[..., Result] = resolve(self.function)
        return function(params, context, **self.arguments)


@dataclass(frozen=True)
class InputArtifact:
    """An input artifact of a run: a local file or folder, and what KFP knows about it."""

    path: Path
    uri: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Context:
    """The surroundings of a run.

    Attributes:
        inputs: The input artifacts that are there, by declared name.
        work_dir: A private scratch folder, on the same filesystem as the outputs; removed afterwards.
        store: The object store; ``None`` when a stage runs by itself on plain files.
        tracking_uri: MLflow's address; ``None`` means no MLflow.
        wait_seconds: Seconds to wait for MLflow while it cannot be reached; ``None`` where the caller waits.
        output_dir: The folder that ``Result.files`` are moved to when a stage runs by itself, else ``None``.
        progress: Where to report progress.
        announce: Called with a message, as JSON, about work that has begun and that others may wait for.
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
    """The result of a run.

    Attributes:
        artifacts: One entry for every declared output artifact, by name.
        parameters: One entry for every declared output parameter.
        message: A closing line for people: what was made, with its key figures.
        files: Files or folders under ``work_dir`` by the relative name they get in ``output_dir``; standalone only.
        cached: Whether an earlier result was reused.
        notes: Warnings for people, one sentence each.
    """

    artifacts: Mapping[str, Artifact]
    message: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)
    cached: bool = False
    notes: tuple[str, ...] = ()
