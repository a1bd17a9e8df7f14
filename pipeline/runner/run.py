"""One run of a compiled pipeline: each task as soon as its inputs are there, as many at once as it is told.

A task is started exactly as KFP's launcher starts it, with the command of the compiled pipeline and an executor input,
and is held to what the launcher holds it to: every declared output is there, and its ``outputFile`` is well-formed.
KFP's retry policy is for services that come and go, and is left out here: an error is shown at once.
"""

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Protocol

from flts.errors import BadInputError, FltsError
from pipeline.runner.compiled import EXECUTOR_INPUT, Constant, Pipeline, PipelineParameter, Task, TaskOutput, Value
from pipeline.runner.messages import OutputsError, executor_input, read_outputs
from pipeline.runner.state import Status, TaskExit, TaskState

GRACE_SECONDS = 10.0

Observer = Callable[[TaskState], None]


class Execution(Protocol):
    """A task that was started."""

    def lines(self) -> Iterator[bytes]:
        """Give what it writes to stdout and stderr, line by line, until it has ended."""

    def wait(self) -> TaskExit:
        """Wait for its end, clean up after it, and say how it ended."""

    def send(self, number: int) -> None:
        """Send a signal to all its processes, if any is left."""


class Starter(Protocol):
    """Starts tasks."""

    def start(self, task: Task, command: Sequence[str], folder: Path) -> Execution:
        """Start a task with ``folder`` as its own; ``FltsError`` when it cannot start."""


class Run:
    """A run in a folder of its own, where each task gets a folder by its name."""

    def __init__(
        self,
        pipeline: Pipeline,
        arguments: Mapping[str, Value],
        folder: Path,
        *,
        starter: Starter,
        at_once: int,
        observer: Observer,
    ) -> None:
        """Prepare a run.

        Args:
            pipeline: The compiled pipeline.
            arguments: A value for every pipeline parameter.
            folder: The run's folder, an absolute path.
            starter: Starts the tasks.
            at_once: How many of them run at a time.
            observer: Called with a task's state whenever it changes.
        """
        self.states = {name: TaskState(task, folder / name) for name, task in pipeline.tasks.items()}
        self._arguments = arguments
        self._starter = starter
        self._at_once = at_once
        self._observer = observer
        self._events: SimpleQueue[_Line | _End | _Signal] = SimpleQueue()
        self._running: dict[str, tuple[Execution, threading.Thread]] = {}
        self._exit_code = 0
        self._stopped_by: int | None = None
        self._kill_at = 0.0

    @property
    def stopped(self) -> bool:
        """Whether a signal ended the run."""
        return self._stopped_by is not None

    def execute(self) -> int:
        """Run every task whose inputs are there; after a failure, only those that do not depend on it.

        Called once, from the main thread. SIGINT, SIGTERM and SIGHUP end every task: SIGTERM to its processes, SIGKILL
        10 seconds later or at the second signal.

        Returns:
            0, the exit code of the task that failed first, or 128 + the signal that stopped the run.
        """
        # SimpleQueue is the queue that a signal handler may use.
        with _watching_signals(lambda number: self._events.put(_Signal(number))):
            try:
                self._start_ready()
                while self._running:
                    match self._next_event():
                        case _Line(name, data):
                            if self.states[name].read_line(data):
                                self._observer(self.states[name])
                        case _End(name, how):
                            del self._running[name]
                            self._finish(self.states[name], how)
                            self._start_ready()
                        case _Signal(number):
                            self._stop(number)
                        case None:
                            self._send_all(signal.SIGKILL)
            finally:
                self._send_all(signal.SIGKILL)
                for _, thread in self._running.values():  # each cleans up after its task
                    thread.join(GRACE_SECONDS)
        return 128 + self._stopped_by if self._stopped_by else self._exit_code

    def _start_ready(self) -> None:
        for state in self.states.values():
            if state.status is not Status.WAITING:
                continue
            before = [self.states[name] for name in state.task.after]
            if self._stopped_by or any(earlier.blocks for earlier in before):
                self._change(state, Status.NOT_RUN)
            elif len(self._running) < self._at_once and all(earlier.succeeded for earlier in before):
                self._start(state)

    def _start(self, state: TaskState) -> None:
        task = state.task
        state.started = time.monotonic()
        parameters = {name: self._value(task, name) for name in {**task.inputs, **task.arguments}}
        artifacts = {name: self.states[p.task].outputs.artifacts[p.output] for name, p in task.artifacts.items()}
        message = json.dumps(executor_input(task, state.folder, parameters, artifacts))
        command = [part.replace(EXECUTOR_INPUT, message) for part in task.command]
        try:
            _make_folder(state)
            execution = self._starter.start(task, command, state.folder)
        except FltsError as error:
            self._fail(state, error.exit_code, str(error))
            return
        follower = threading.Thread(target=self._follow, args=(state, execution), daemon=True)
        self._running[task.name] = execution, follower
        follower.start()
        self._change(state, Status.RUNNING)

    def _value(self, task: Task, name: str) -> Value | None:
        match task.arguments.get(name):
            case Constant(value):
                return value
            case PipelineParameter(parameter):
                return self._arguments[parameter]
            case TaskOutput(producer, output):
                return self.states[producer].outputs.parameters[output]
        return task.inputs[name].default

    def _follow(self, state: TaskState, execution: Execution) -> None:
        """Thread: copy a task's output to its log and to the queue until the last of its processes closes it."""
        how: TaskExit | Exception
        try:
            with state.log.open("ab", buffering=0) as log:
                for line in execution.lines():
                    with suppress(OSError):  # a full disk cuts the log; the task itself will say so
                        log.write(line)
                    self._events.put(_Line(state.task.name, line))
            how = execution.wait()
        except Exception as error:
            how = error
        self._events.put(_End(state.task.name, how))

    def _next_event(self) -> "_Line | _End | _Signal | None":
        """Wait for an event; ``None`` when the tasks had their time to stop."""
        if not self._stopped_by:
            return self._events.get()
        try:
            return self._events.get(timeout=max(0.0, self._kill_at - time.monotonic()))
        except Empty:
            self._kill_at = time.monotonic() + GRACE_SECONDS
            return None

    def _finish(self, state: TaskState, how: TaskExit | Exception) -> None:
        match how:
            case FltsError():
                self._fail(state, how.exit_code, str(how))
            case Exception():
                raise how
            case TaskExit(0):
                try:
                    state.outputs = read_outputs(state.task, state.folder)
                except OutputsError as error:
                    self._fail(state, 1, str(error))
                    return
                state.exit_code = 0
                self._change(state, Status.CACHED if state.reused else Status.DONE)
            case _ if self._stopped_by:
                self._change(state, Status.STOPPED)
            case _:
                self._fail(state, how.code, state.explain(how))

    def _stop(self, number: int) -> None:
        again = self._stopped_by is not None
        self._stopped_by = self._stopped_by or number
        self._kill_at = time.monotonic() + GRACE_SECONDS
        self._send_all(signal.SIGKILL if again else signal.SIGTERM)
        for name in self._running:
            self.states[name].fraction, self.states[name].message = None, "stopping; Ctrl-C again kills it"
            self._observer(self.states[name])

    def _send_all(self, number: int) -> None:
        for execution, _ in self._running.values():
            execution.send(number)

    def _fail(self, state: TaskState, exit_code: int, error: str) -> None:
        state.exit_code, state.error = exit_code, error
        self._exit_code = self._exit_code or exit_code
        self._change(state, Status.FAILED)

    def _change(self, state: TaskState, status: Status) -> None:
        state.status = status
        if status is not Status.RUNNING and state.started is not None:
            state.ended = time.monotonic()
        self._observer(state)


def _make_folder(state: TaskState) -> None:
    """Make a task's folder, with an empty log."""
    try:
        state.folder.mkdir(parents=True)
        state.log.touch()
    except OSError as error:
        raise BadInputError(f"{error.filename} cannot be written: {str(error.strerror).lower()}") from None


@contextmanager
def _watching_signals(remember: Callable[[int], None]) -> Iterator[None]:
    """Call ``remember`` with SIGINT, SIGTERM and SIGHUP instead of ending; it runs as a signal handler."""

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        remember(number)

    previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@dataclass(frozen=True)
class _Line:
    task: str
    data: bytes


@dataclass(frozen=True)
class _End:
    task: str
    how: TaskExit | Exception


@dataclass(frozen=True)
class _Signal:
    number: int
