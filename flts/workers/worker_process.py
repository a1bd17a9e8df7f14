"""The process that works on messages: started once, warm from then on, and ended where it may no longer work."""

import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from multiprocessing.connection import Connection

from flts.contracts import ModelType
from flts.diagnostics.system import NO_MEMORY, environment_trouble
from flts.errors import BadInputError, FltsError, RefusedError, ServiceUnavailableError
from flts.lazy import resolve
from flts.models.registry import MODELS
from flts.observability import request_ids
from flts.observability.exit_codes import run_command
from flts.params import Params
from flts.runtime.reporters import JsonReporter, route_logging
from flts.runtime.signals import SignalWatch, Stopped
from flts.runtime.start import store_of
from flts.runtime.work_folders import remove_all, work_folder
from flts.stage_interface import Stage
from flts.stages import STAGES
from flts.store import ObjectStore
from flts.tracking.access import load_mlflow
from flts.workers.attempts import Attempt, GivenUpError
from flts.workers.dead_letters import cut
from flts.workers.handlers import evaluation, forecasting, preprocessing, training
from flts.workers.messages import OutgoingMessage, ReceivedMessage, headers_at_hand, traced
from flts.workers.outcomes import Announced, Completed, DeadLettered, Failed, Postponed, Reply, WorkItem
from flts.workers.settings import Topics
from flts.workers.stage_runner import StageRunner

Role = Callable[[ReceivedMessage, StageRunner], list[OutgoingMessage]]


@dataclass(frozen=True)
class WorkerSpec:
    """What a worker is for.

    Attributes:
        stage: Name of the stage.
        params: Its parameters; a message says the rest.
        topics: What it reads and writes.
        tries: How often a message is tried before it is given up.
        model_types: What eval waits for.
        promotion_bucket: Where tries of messages are counted, and the bodies of large dead letters are.
    """

    stage: str
    params: Params
    topics: Topics
    tries: int
    model_types: Sequence[ModelType]
    promotion_bucket: str

    def role(self) -> Role:
        """Return what handles a message."""
        if self.stage == "preprocess":
            return preprocessing.handle
        if self.stage == "eval":
            return partial(evaluation.handle, expected=self.model_types)
        return forecasting.handle if self.stage == "inference" else training.handle


def serve(plan: WorkerSpec, pipe: Connection, parent: int) -> None:
    """Work on what comes through the pipe until it is closed, the parent ends, or SIGTERM comes.

    Args:
        plan: What to do.
        pipe: Gives an ``WorkItem`` at a time; takes any number of ``Announced``, then a ``Reply``.
        parent: The process that started this one.
    """
    # An error that left this function would be shown by multiprocessing, with whatever secrets its text has.
    sys.exit(run_command(f"flts-{plan.stage}", lambda: _serve(plan, pipe, parent)))


def _serve(plan: WorkerSpec, pipe: Connection, parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    _end_with(parent)
    stage = STAGES[plan.stage]
    store = store_of(plan.params)
    role = plan.role()

    def announce(outgoing: OutgoingMessage) -> None:
        pipe.send(Announced(traced(outgoing)))

    with (
        suppress(Stopped, EOFError, BrokenPipeError),
        SignalWatch(remove_all, lambda _: None),
        # Some libraries make a folder for temporary files once, when they are imported.
        work_folder(),
    ):
        _warm(stage)
        while True:
            order: WorkItem = pipe.recv()
            request_ids.set_headers(headers_at_hand(order.received))
            reporter = JsonReporter(stage, sys.stderr)
            route_logging(reporter)
            desk = StageRunner(stage, plan.params, plan.topics, store, reporter, announce)
            if order.letter:
                pipe.send(_cut(order.letter, store, plan.promotion_bucket))
            else:
                pipe.send(_work(role, order, desk, plan))


def _warm(stage: Stage) -> None:
    """Import what the stage imports when it runs: its first message shall not wait for that."""
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


def _work(role: Role, order: WorkItem, desk: StageRunner, plan: WorkerSpec) -> Reply:
    received = order.received
    try:
        attempt = Attempt(
            desk.store,
            plan.promotion_bucket,
            desk.topics.group,
            received,
            plan.tries,
            at_once=order.first or bool(order.crash),
            crash=order.crash,
        )
        try:
            with attempt:
                outgoing = [traced(each) for each in role(received, desk)]
        except (RefusedError, ServiceUnavailableError):
            attempt.postponed()
            raise
        except Exception as error:
            trouble = environment_trouble(error)
            if trouble and trouble != NO_MEMORY:  # a full disk, say: other messages would fare no better
                attempt.postponed()
                return Postponed(trouble)
            if isinstance(error, BadInputError):
                desk.reporter.error(str(error), error.exit_code)
                attempt.done()
                return DeadLettered(str(error), attempt.number, bad=True)
            reason = trouble or f"{type(error).__name__}: {error}"
            desk.reporter.error(reason, 1, "" if trouble else traceback.format_exc())
            attempt.failed(reason)
            return Failed(reason)
        with suppress(FltsError):  # what stays is never looked at again
            attempt.done()
        return Completed(outgoing)
    except GivenUpError as error:
        return DeadLettered(str(error), error.tries, bad=False)
    except FltsError as error:
        return Postponed(str(error))


def _cut(letter: OutgoingMessage, store: ObjectStore, bucket: str) -> Reply:
    try:
        return Completed([cut(letter, store, bucket)])
    except FltsError as error:
        return Postponed(str(error))


def _end_with(parent: int) -> None:
    """Have the system end this process when its parent ends, whatever ends that; Linux only."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGTERM)
    if os.getppid() != parent:  # it has ended already
        os._exit(1)
