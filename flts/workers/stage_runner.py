"""Runs of a stage for the messages of its worker."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic

from flts.contracts import ModelType
from flts.runtime import output
from flts.runtime.parameters import check_params
from flts.runtime.reporters import Reporter
from flts.runtime.start import tracking_uri_of
from flts.runtime.work_folders import work_folder
from flts.stage_interface import Context, InputArtifact, P, Result, Stage
from flts.store import ObjectStore
from flts.workers.messages import OutgoingMessage
from flts.workers.settings import Topics


@dataclass(frozen=True)
class StageRunner(Generic[P]):
    """Runs a stage for a handler.

    Attributes:
        stage: The stage.
        params: The worker's parameters; those that a message gives take their place.
        topics: Its topics.
        store: The object store.
        reporter: Takes the stage's progress and result.
        announce: Sends a message before the work is done; it may get lost.
        expected_types: The model types that eval waits for.
    """

    stage: Stage[P]
    params: P
    topics: Topics
    store: ObjectStore
    reporter: Reporter
    announce: Callable[[OutgoingMessage], None]
    expected_types: Sequence[ModelType] = ()

    @property
    def identifier(self) -> str:
        """The identifier for messages that bring none."""
        return str(self.params.model_dump().get("identifier", ""))

    def run(
        self,
        changes: Mapping[str, Any],
        inputs: Mapping[str, str],
        *,
        arguments: Mapping[str, str] | None = None,
        announce: Callable[[str], None] = lambda _: None,
    ) -> Result:
        """Run the stage.

        Args:
            changes: The parameters that the message gives.
            inputs: Content of the input artifacts, by name.
            arguments: Further arguments of the stage's function.
            announce: Called with the message of work that the stage has begun.

        Raises:
            BadInputError: A parameter or an input is wrong.
            ServiceUnavailableError: A service is out of reach.
        """
        values = self.params.model_dump() | dict(changes)
        params = check_params(type(self.params), values, lambda name: f"field '{name}' of the message")
        self.reporter.set_ids({name: str(changes[name]) for name in ("identifier", "config_hash") if changes.get(name)})
        stage = replace(self.stage, arguments={**self.stage.arguments, **(arguments or {})})
        with work_folder() as work_dir:
            folder = work_dir / "inputs"
            folder.mkdir()
            artifacts = {name: InputArtifact(folder / f"{name}.json") for name in inputs}
            for name, content in inputs.items():
                artifacts[name].path.write_text(content, encoding="utf-8")
            context = Context(
                inputs=artifacts,
                work_dir=work_dir,
                store=self.store,
                tracking_uri=tracking_uri_of(params),
                progress=self.reporter.progress,
                announce=announce,
            )
            result = stage.run(params, context)
        output.check_result(stage, result)
        self.reporter.done(result)
        return result
