"""Where a task of a running pipeline stands, learned from the events it writes."""

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
    """Where a task stands. ``NOT_RUN``: a task it waits for gave no outputs. ``STOPPED``: by Ctrl-C."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    CACHED = "cached"
    FAILED = "failed"
    NOT_RUN = "not run"
    STOPPED = "stopped"


@dataclass(frozen=True)
class TaskExit:
    """How a process or a container ended.

    Attributes:
        code: Its exit code, or 128 + the signal that ended it.
        out_of_memory: Whether it is known to have been killed for using too much memory.
        last_words: The last line that it wrote to stderr, where that is known apart from stdout.
    """

    code: int
    out_of_memory: bool = False
    last_words: str = ""


@dataclass
class TaskState:
    """A task in one run.

    Attributes:
        task: What runs.
        folder: Where its outputs and its log go.
        status: Where it stands.
        started: When it started, in ``time.monotonic()`` seconds.
        ended: When it ended.
        fraction: How much is done, in [0, 1]; ``None`` when unknown.
        message: What it does, or at the end what it did.
        notes: Its warnings for people.
        error: Why it failed, one sentence.
        exit_code: The process' exit code, 128 + the signal that ended it, or 1 when its outputs are wrong.
        outputs: What it produced.
        reused: Whether it says that it found an earlier result.
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
        """How long the task ran, so far or in all; ``None`` before it starts."""
        if self.started is None:
            return None
        return (self.ended or time.monotonic()) - self.started

    @property
    def succeeded(self) -> bool:
        """Whether the outputs are there."""
        return self.status in (Status.DONE, Status.CACHED)

    @property
    def blocks(self) -> bool:
        """Whether tasks that wait for this one wait in vain."""
        return self.status in (Status.FAILED, Status.NOT_RUN, Status.STOPPED)

    @property
    def log(self) -> Path:
        """Everything the task wrote to stdout and stderr."""
        return self.folder / "log.jsonl"

    def read_line(self, line: bytes) -> bool:
        """Take in a line that the task wrote; return whether it was an event that changed something."""
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
        """Say why the task failed: in its own words, or else what is known of a process that ended so."""
        code, number = ended.code, ended.code - 128
        if self.error:
            return self.error
        if number == signal.SIGKILL:
            cause = "for lack of memory" if ended.out_of_memory else "perhaps for lack of memory"
            return f"{self.task.name} was killed (signal 9), {cause}; its log is {self.log}"
        if number in signal.valid_signals():
            return f"{self.task.name} was ended by signal {number}; its log is {self.log}"
        last = ended.last_words
        if not last:
            with self.log.open("rb") as log:
                last = next(iter(deque((line.decode(errors="replace").strip() for line in log), maxlen=1)), "")
        said = f": {last}" if last else ""
        return f"{self.task.name} ended with exit code {code}{said}; its log is {self.log}"


def _parse(line: bytes) -> Mapping[str, Any]:
    """Read a line of a stage's log; one that is no event gives nothing."""
    if line.startswith(b"{"):
        with suppress(ValueError):
            event = json.loads(line)
            return event if isinstance(event, dict) else {}
    return {}
