"""One run of a compiled pipeline, which starts each task as soon as its inputs exist, several in parallel.

A task is started exactly as by KFP's launcher, with the command of the compiled pipeline and an executor input, and is
checked as by the launcher: every declared output must exist, and its ``outputFile`` must be well-formed. KFP's retries
are left out, so that errors appear at once.
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
    """A running task."""

    def lines(self) -> Iterator[bytes]:
        """Yield its output to stdout and stderr, line by line, until it ends."""

    def wait(self) -> TaskExit:
        """Wait until it ends, clean up, and return how it ended."""

    def send(self, number: int) -> None:
        """Send a signal to all of its processes that are left."""


class Starter(Protocol):
    """Starts tasks."""

    def start(self, task: Task, command: Sequence[str], folder: Path) -> Execution:
        """Start a task in its folder; ``FltsError`` if it cannot start."""


class Run:
    """A run in a folder of its own, which has a folder for each task."""

    def __init__(
        self,
        pipeline: Pipeline,
        arguments: Mapping[str, Value],
        folder: Path,
        *,
        starter: Starter,
        max_parallel: int,
        observer: Observer,
    ) -> None:
        """Prepare a run.

        Args:
            pipeline: The compiled pipeline.
            arguments: A value for every pipeline parameter.
            folder: The run's folder, an absolute path.
            starter: Starts the tasks.
            max_parallel: Maximum number of tasks that run at the same time.
            observer: Called with a task's state whenever it changes.
        """
        self.states = {name: TaskState(task, folder / name) for name, task in pipeline.tasks.items()}
        self._arguments = arguments
        self._starter = starter
        self._max_parallel = max_parallel
        self._observer = observer
        self._events: SimpleQueue[_Line | _End | _Signal] = SimpleQueue()
        self._running: dict[str, tuple[Execution, threading.Thread]] = {}
        self._exit_code = 0
        self._stopped_by: int | None = None
        self._kill_at = 0.0

    @property
    def stopped(self) -> bool:
        """True if a signal ended the run."""
        return self._stopped_by is not None

    def execute(self) -> int:
        """Run all tasks, except those that depend on a failed one.

        Call it once, from the main thread. SIGINT, SIGTERM and SIGHUP stop every task: its processes get SIGTERM, and
        SIGKILL 10 seconds later or at a second signal.

        Returns:
            0, the exit code of the task that failed first, or 128 + the signal that stopped the run.
        """
        # Signal handlers may put into a SimpleQueue, but not into a Queue.
        with _handling_signals(lambda number: self._events.put(_Signal(number))):
            try:
                self._start_ready()
                while self._running:
                    match self._next_event():
                        case _Line(name, data):
                            if self.states[name].read_line(data):
                                self._observer(self.states[name])
                        case _End(name, outcome):
                            del self._running[name]
                            self._finish(self.states[name], outcome)
                            self._start_ready()
                        case _Signal(number):
                            self._stop(number)
                        case None:
                            self._send_all(signal.SIGKILL)
            finally:
                self._send_all(signal.SIGKILL)
                for _, thread in self._running.values():  # each thread cleans up after its task
                    thread.join(GRACE_SECONDS)
        return 128 + self._stopped_by if self._stopped_by else self._exit_code

    def _start_ready(self) -> None:
        for state in self.states.values():
            if state.status is not Status.WAITING:
                continue
            before = [self.states[name] for name in state.task.after]
            if self._stopped_by or any(earlier.blocks for earlier in before):
                self._change(state, Status.NOT_RUN)
            elif len(self._running) < self._max_parallel and all(earlier.succeeded for earlier in before):
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
        """Copy a task's output to its log and the queue until all its processes have closed it; runs in a thread."""
        outcome: TaskExit | Exception
        try:
            with state.log.open("ab", buffering=0) as log:
                for line in execution.lines():
                    with suppress(OSError):  # a full disk cuts the log off; the task itself reports it
                        log.write(line)
                    self._events.put(_Line(state.task.name, line))
            outcome = execution.wait()
        except Exception as error:
            outcome = error
        self._events.put(_End(state.task.name, outcome))

    def _next_event(self) -> "_Line | _End | _Signal | None":
        """Wait for an event; return ``None`` when the grace period for stopping has passed."""
        if not self._stopped_by:
            return self._events.get()
        try:
            return self._events.get(timeout=max(0.0, self._kill_at - time.monotonic()))
        except Empty:
            self._kill_at = time.monotonic() + GRACE_SECONDS
            return None

    def _finish(self, state: TaskState, outcome: TaskExit | Exception) -> None:
        match outcome:
            case FltsError():
                self._fail(state, outcome.exit_code, str(outcome))
            case Exception():
                raise outcome
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
                self._fail(state, outcome.code, state.explain(outcome))

    def _stop(self, number: int) -> None:
        again = self._stopped_by is not None
        self._stopped_by = self._stopped_by or number
        self._kill_at = time.monotonic() + GRACE_SECONDS
        self._send_all(signal.SIGKILL if again else signal.SIGTERM)
        for name in self._running:
            self.states[name].fraction, self.states[name].message = None, "stopping; press Ctrl-C again to kill it"
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
    """Create a task's folder with an empty log."""
    try:
        state.folder.mkdir(parents=True)
        state.log.touch()
    except OSError as error:
        raise BadInputError(f"{error.filename} cannot be written: {str(error.strerror).lower()}") from None


@contextmanager
def _handling_signals(remember: Callable[[int], None]) -> Iterator[None]:
    """Call ``remember`` on SIGINT, SIGTERM and SIGHUP instead of ending; it runs as a signal handler."""

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
    outcome: TaskExit | Exception


@dataclass(frozen=True)
class _Signal:
    number: int
