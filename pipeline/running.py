"""What all runners have in common: tasks with states, an observer, an exit code, and signals that stop them."""

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from pipeline.ir import Pipeline, Value
from pipeline.state import Status, TaskState

GRACE_SECONDS = 10.0

Observer = Callable[[TaskState], None]


class Run:
    """One run of a pipeline in a folder of its own, where each task gets a folder by its name."""

    def __init__(self, pipeline: Pipeline, arguments: Mapping[str, Value], folder: Path, *, observer: Observer) -> None:
        """Prepare a run.

        Args:
            pipeline: The compiled pipeline.
            arguments: A value for every pipeline parameter.
            folder: The run's folder.
            observer: Called with a task's state whenever it changes.
        """
        self.states = {name: TaskState(task, folder / name) for name, task in pipeline.tasks.items()}
        self._arguments = arguments
        self._observer = observer
        self._exit_code = 0
        self._stopped_by: int | None = None

    @property
    def stopped(self) -> bool:
        """Whether a signal ended the run."""
        return self._stopped_by is not None

    def execute(self) -> int:
        """Run the tasks; may be called once, from the main thread.

        Returns:
            0, the exit code of the task that failed first, or 128 + the signal that stopped the run.
        """
        raise NotImplementedError

    def _code(self) -> int:
        return 128 + self._stopped_by if self._stopped_by else self._exit_code

    def _fail(self, state: TaskState, exit_code: int, error: str) -> None:
        state.exit_code, state.error = exit_code, error
        self._exit_code = self._exit_code or exit_code
        self._change(state, Status.FAILED)

    def _change(self, state: TaskState, status: Status) -> None:
        state.status = status
        if status is not Status.RUNNING and state.started is not None:
            state.ended = time.monotonic()
        self._observer(state)


@contextmanager
def watching_signals(remember: Callable[[int], None]) -> Iterator[None]:
    """Call ``remember`` with SIGINT, SIGTERM and SIGHUP instead of ending; it runs as a signal handler."""

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        remember(number)

    previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
