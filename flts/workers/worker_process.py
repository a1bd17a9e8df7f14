"""The process that works on messages: started once, and ended when it may no longer work."""

import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import Connection
from typing import Generic

from flts.contracts import ModelType
from flts.diagnostics.system import NO_MEMORY, environment_trouble
from flts.errors import BadInputError, FltsError, RefusedError, ServiceUnavailableError
from flts.lazy import resolve
from flts.models.registry import MODELS
from flts.observability import request_ids
from flts.observability.exit_codes import run_command
from flts.runtime.reporters import JsonReporter, route_logging
from flts.runtime.signals import SignalWatch, Stopped
from flts.runtime.start import store_of
from flts.runtime.work_folders import remove_all, work_folder
from flts.stage_interface import P, Stage
from flts.stages import STAGES
from flts.store import ObjectStore
from flts.tracking.access import load_mlflow
from flts.workers.attempts import Attempt, AttemptsExhaustedError
from flts.workers.dead_letters import cut
from flts.workers.messages import OutgoingMessage, ReceivedMessage, received_request_ids, with_request_ids
from flts.workers.outcomes import Announced, Completed, DeadLettered, Failed, Postponed, Reply, WorkItem
from flts.workers.settings import WORKERS, Topics
from flts.workers.stage_runner import StageRunner

Handler = Callable[[ReceivedMessage, StageRunner], list[OutgoingMessage]]


@dataclass(frozen=True)
class WorkerSpec(Generic[P]):
    """The task of a worker.

    Attributes:
        stage: Name of the stage.
        params: Its parameters; those that a message gives take their place.
        topics: The topics that it reads and writes.
        attempts: Attempts at a message before it becomes a dead letter.
        expected_types: The model types that eval waits for.
        promotion_bucket: The bucket of the records of attempts and of the bodies of large dead letters.
    """

    stage: str
    params: P
    topics: Topics
    attempts: int
    expected_types: Sequence[ModelType]
    promotion_bucket: str


def serve(spec: WorkerSpec, pipe: Connection, parent: int) -> None:
    """Work on what comes through the pipe until it is closed, the parent ends, or SIGTERM comes.

    Args:
        spec: The worker's task.
        pipe: Gives one ``WorkItem`` at a time; takes any number of ``Announced``, then a ``Reply``.
        parent: The process that started this one.
    """
    # An error that left this function would be shown by multiprocessing, with whatever secrets its text has.
    sys.exit(run_command(f"flts-{spec.stage}", lambda: _serve(spec, pipe, parent)))


def _serve(spec: WorkerSpec, pipe: Connection, parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    _end_with(parent)
    stage = STAGES[spec.stage]
    store = store_of(spec.params)
    handler: Handler = resolve(WORKERS[spec.stage].handler)

    def announce(outgoing: OutgoingMessage) -> None:
        pipe.send(Announced(with_request_ids(outgoing)))

    with (
        suppress(Stopped, EOFError, BrokenPipeError),
        SignalWatch(remove_all, lambda _: None),
        # Some libraries make a folder for temporary files once, on import.
        work_folder(),
    ):
        _warm(stage)
        while True:
            item: WorkItem = pipe.recv()
            request_ids.set_headers(received_request_ids(item.received))
            reporter = JsonReporter(stage, sys.stderr)
            route_logging(reporter)
            runner = StageRunner(stage, spec.params, spec.topics, store, reporter, announce, spec.expected_types)
            if item.letter:
                pipe.send(_cut(item.letter, store, spec.promotion_bucket))
            else:
                pipe.send(_work(handler, item, runner, spec))


def _warm(stage: Stage) -> None:
    """Import what the stage imports when it runs, so that its first message does not wait for that."""
    resolve(stage.function)
    for entry in MODELS.values():
        if entry.model_type == stage.arguments.get("model_type"):
            resolve(entry.trainer)
            for library in entry.libraries:
                import_module(library)
        elif stage.name == "inference":
            resolve(entry.forecaster)
    if "mlflow_tracking_uri" in stage.params.model_fields:
        load_mlflow()


def _work(handler: Handler, item: WorkItem, runner: StageRunner, spec: WorkerSpec) -> Reply:
    received = item.received
    try:
        attempt = Attempt(
            runner.store,
            spec.promotion_bucket,
            runner.topics.group,
            received,
            spec.attempts,
            record_now=item.first or bool(item.crash),
            crash=item.crash,
        )
        try:
            with attempt:
                outgoing = [with_request_ids(each) for each in handler(received, runner)]
        except (RefusedError, ServiceUnavailableError):
            attempt.postponed()
            raise
        except Exception as error:
            trouble = environment_trouble(error)
            if trouble and trouble != NO_MEMORY:  # such as a full disk: other messages would fail too
                attempt.postponed()
                return Postponed(trouble)
            if isinstance(error, BadInputError):
                runner.reporter.error(str(error), error.exit_code)
                attempt.done()
                return DeadLettered(str(error), attempt.number, invalid=True)
            reason = trouble or f"{type(error).__name__}: {error}"
            runner.reporter.error(reason, 1, "" if trouble else traceback.format_exc())
            attempt.failed(reason)
            return Failed(reason)
        with suppress(FltsError):  # a record that stays is never read again
            attempt.done()
        return Completed(outgoing)
    except AttemptsExhaustedError as error:
        return DeadLettered(str(error), error.attempts, invalid=False)
    except FltsError as error:
        return Postponed(str(error))


def _cut(letter: OutgoingMessage, store: ObjectStore, bucket: str) -> Reply:
    try:
        return Completed([cut(letter, store, bucket)])
    except FltsError as error:
        return Postponed(str(error))


def _end_with(parent: int) -> None:
    """Have the system end this process when its parent ends, for whichever reason; Linux only."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGTERM)
    if os.getppid() != parent:  # it has ended already
        os._exit(1)
