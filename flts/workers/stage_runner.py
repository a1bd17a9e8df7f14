"""Where a message is worked on: the stage, its parameters and services, and the running of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from flts.params import Params
from flts.runtime import output
from flts.runtime.parameters import check_params
from flts.runtime.reporters import Reporter
from flts.runtime.start import tracking_uri_of
from flts.runtime.work_folders import work_folder
from flts.stage_interface import Context, InputArtifact, Result, Stage
from flts.store import ObjectStore
from flts.workers.messages import OutgoingMessage
from flts.workers.settings import Topics


@dataclass(frozen=True)
class StageRunner:
    """What a role works with.

    Attributes:
        stage: The stage.
        params: The worker's parameters; a message says the rest.
        topics: Its topics.
        store: The object store.
        reporter: Where the stage tells how far it is.
        announce: Sends a message before the work is done; it may get lost.
    """

    stage: Stage
    params: Params
    topics: Topics
    store: ObjectStore
    reporter: Reporter
    announce: Callable[[OutgoingMessage], None]

    @property
    def identifier(self) -> str:
        """Whose data it is where a message does not say."""
        return str(getattr(self.params, "identifier", ""))

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
            changes: Parameters that the message gives.
            inputs: Content of the input artifacts, by name.
            arguments: What the stage's function gets beside parameters and context.
            announce: Told what the stage has begun.

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
