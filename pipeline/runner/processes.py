"""Tasks as processes on this machine."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from flts.errors import FltsError
from pipeline.runner.compiled import Task
from pipeline.runner.state import TaskExit


class Processes:
    """Starts each task as a process in its folder."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Prepare to start tasks with these environment variables."""
        # Commands of the running virtual environment come first, whether or not it is activated.
        path = os.pathsep.join((str(Path(sys.executable).parent), environment.get("PATH", os.defpath)))
        self._environment = {**environment, "PATH": path}

    def start(self, task: Task, command: Sequence[str], folder: Path) -> "_Process":  # noqa: ARG002 - the interface shared with containers
        """Start a task.

        Raises:
            FltsError: Its command is not installed.
        """
        program, *arguments = command
        found = shutil.which(program, path=self._environment["PATH"])
        if found is None:
            raise FltsError(f"the command {program} is not on PATH: is the project installed?")
        return _Process(
            subprocess.Popen(  # noqa: S603 - the command comes from the pipeline
                [found, *arguments],
                cwd=folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        )


class _Process:
    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    def lines(self) -> Iterator[bytes]:
        assert self._process.stdout is not None  # noqa: S101 - for mypy
        with self._process.stdout as output:
            yield from output

    def wait(self) -> TaskExit:
        code = self._process.wait()
        return TaskExit(code if code >= 0 else 128 - code)

    def send(self, number: int) -> None:
        # Each task leads a process group, so that its own children end with it.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.Signals(number))
