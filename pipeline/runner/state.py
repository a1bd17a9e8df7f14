"""State of a task in a running pipeline, updated from the events that the task writes."""

import json
import signal
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from pipeline.runner.compiled import Task
from pipeline.runner.messages import TaskOutputs


class Status(StrEnum):
    """Status of a task. ``NOT_RUN``: a task before it failed. ``STOPPED``: ended by a signal, such as Ctrl-C."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    CACHED = "cached"
    FAILED = "failed"
    NOT_RUN = "not run"
    STOPPED = "stopped"


@dataclass(frozen=True)
class TaskExit:
    """End of a process or a container.

    Attributes:
        code: Exit code, or 128 + the signal that ended it.
        out_of_memory: True if it is known to have been killed for lack of memory.
        last_stderr_line: Last line on stderr, if that is known separately from stdout.
    """

    code: int
    out_of_memory: bool = False
    last_stderr_line: str = ""


@dataclass
class TaskState:
    """A task in one run.

    Attributes:
        task: The task.
        folder: Folder for its outputs and its log.
        status: Current status.
        started: Start time in ``time.monotonic()`` seconds.
        ended: End time in ``time.monotonic()`` seconds.
        fraction: Progress in [0, 1]; ``None`` if unknown.
        message: Current activity, or at the end its result.
        notes: Warnings for users.
        error: Reason of the failure, one sentence.
        exit_code: Exit code, 128 + the signal that ended it, or 1 if its outputs are wrong.
        outputs: Its outputs.
        reused: True if it reported that it reused an earlier result.
    """

    task: Task
    folder: Path
    status: Status = Status.WAITING
    started: float | None = None
    ended: float | None = None
    fraction: float | None = None
    message: str = ""
    notes: list[str] = field(default_factory=list)
    error: str | None = None
    exit_code: int | None = None
    outputs: TaskOutputs = field(default_factory=TaskOutputs)
    reused: bool = False

    @property
    def seconds(self) -> float | None:
        """Run time so far or in total; ``None`` before the start."""
        if self.started is None:
            return None
        return (self.ended or time.monotonic()) - self.started

    @property
    def succeeded(self) -> bool:
        """True if the task has outputs."""
        return self.status in (Status.DONE, Status.CACHED)

    @property
    def blocks(self) -> bool:
        """True if tasks that depend on this one cannot run."""
        return self.status in (Status.FAILED, Status.NOT_RUN, Status.STOPPED)

    @property
    def log(self) -> Path:
        """File with all output of the task to stdout and stderr."""
        return self.folder / "log.jsonl"

    def read_line(self, line: bytes) -> bool:
        """Update the state from a line of output; return true if the line was an event that changed something."""
        event = _parse(line)
        message = str(event.get("message", ""))
        match event.get("event"):
            case "progress":
                fraction = event.get("fraction")
                self.fraction = float(fraction) if isinstance(fraction, int | float) else None
                self.message = message
            case "note":
                self.notes.append(message)
            case "done":
                self.message = message
                self.reused = event.get("cached") is True
            case "error":
                self.error = message
            case _:
                return False
        return True

    def explain(self, ended: TaskExit) -> str:
        """Return the reason of a failure: the task's own error, or else a sentence about how it ended."""
        code, number = ended.code, ended.code - 128
        if self.error:
            return self.error
        if number == signal.SIGKILL:
            cause = "for lack of memory" if ended.out_of_memory else "perhaps for lack of memory"
            return f"{self.task.name} was killed (signal 9), {cause}; its log is {self.log}"
        if number in signal.valid_signals():
            return f"{self.task.name} was ended by signal {number}; its log is {self.log}"
        last = ended.last_stderr_line
        if not last:
            with self.log.open("rb") as log:
                last = next(iter(deque((line.decode(errors="replace").strip() for line in log), maxlen=1)), "")
        said = f": {last}" if last else ""
        return f"{self.task.name} ended with exit code {code}{said}; its log is {self.log}"


def _parse(line: bytes) -> Mapping[str, Any]:
    """Parse an event from a line of output; other lines give an empty mapping."""
    if line.startswith(b"{"):
        with suppress(ValueError):
            event = json.loads(line)
            return event if isinstance(event, dict) else {}
    return {}
