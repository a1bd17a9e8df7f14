"""Runs a compiled pipeline on this machine: each task a process, as many independent ones at once as it is told.

A task is started exactly as KFP's launcher starts it, with the command of the compiled pipeline and an executor input,
and is held to what the launcher holds it to: every declared output is there, and its ``outputFile`` is well-formed.
KFP's retry policy is for services that come and go, and is left out here: an error is shown at once.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO

from pipeline.ir import EXECUTOR_INPUT, Constant, Pipeline, PipelineParameter, Produced, Task, Value
from pipeline.outputs import OutputsError, executor_input, read_outputs
from pipeline.running import GRACE_SECONDS, Observer, Run, watching_signals
from pipeline.state import Status, TaskState


class LocalRun(Run):
    """A run whose tasks are processes of this machine."""

    def __init__(
        self,
        pipeline: Pipeline,
        arguments: Mapping[str, Value],
        folder: Path,
        *,
        environment: Mapping[str, str],
        at_once: int,
        observer: Observer,
    ) -> None:
        """Prepare a run as in ``Run``, whose tasks get ``environment``, and of which ``at_once`` run at a time."""
        super().__init__(pipeline, arguments, folder, observer=observer)
        # The commands of the environment that runs this program come first, activated or not.
        path = os.pathsep.join((str(Path(sys.executable).parent), environment.get("PATH", os.defpath)))
        self._environment = {**environment, "PATH": path}
        self._at_once = at_once
        self._events: SimpleQueue[_Line | _Exit | _Signal] = SimpleQueue()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._kill_at = 0.0

    def execute(self) -> int:
        """Run every task whose inputs are there; after a failure, only those that do not depend on it.

        SIGINT, SIGTERM and SIGHUP end every child: SIGTERM to its process group, SIGKILL 10 seconds later or at the
        second signal.
        """
        # SimpleQueue is the queue that a signal handler may use.
        with watching_signals(lambda number: self._events.put(_Signal(number))):
            try:
                self._start_ready()
                while self._processes:
                    match self._next_event():
                        case _Line(name, data):
                            if self.states[name].read_line(data):
                                self._observer(self.states[name])
                        case _Exit(name, code):
                            del self._processes[name]
                            self._finish(self.states[name], code)
                            self._start_ready()
                        case _Signal(number):
                            self._stop(number)
                        case None:
                            self._signal_children(signal.SIGKILL)
            finally:
                self._signal_children(signal.SIGKILL)
        return self._code()

    def _start_ready(self) -> None:
        for state in self.states.values():
            if state.status is not Status.WAITING:
                continue
            before = [self.states[name] for name in state.task.after]
            if self._stopped_by or any(earlier.blocks for earlier in before):
                self._change(state, Status.NOT_RUN)
            elif len(self._processes) < self._at_once and all(earlier.succeeded for earlier in before):
                self._start(state)

    def _start(self, state: TaskState) -> None:
        task = state.task
        state.folder.mkdir(parents=True)
        state.started = time.monotonic()
        parameters = {name: self._value(task, name) for name in task.inputs}
        artifacts = {name: self.states[p.task].outputs.artifacts[p.output] for name, p in task.artifacts.items()}
        message = json.dumps(executor_input(task, state.folder, parameters, artifacts))
        program, *arguments = (part.replace(EXECUTOR_INPUT, message) for part in task.command)
        found = shutil.which(program, path=self._environment["PATH"])
        if found is None:
            self._fail(state, 1, f"the command {program} is not on PATH: is the project installed?")
            return
        process = subprocess.Popen(  # noqa: S603 - running what the pipeline says is the purpose
            [found, *arguments],
            cwd=state.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._processes[task.name] = process
        threading.Thread(target=self._read, args=(state, process, process.stdout), daemon=True).start()
        self._change(state, Status.RUNNING)

    def _value(self, task: Task, name: str) -> Value | None:
        match task.arguments.get(name):
            case Constant(value):
                return value
            case PipelineParameter(parameter):
                return self._arguments[parameter]
            case Produced(producer, output):
                return self.states[producer].outputs.parameters[output]
        return task.inputs[name].default

    def _read(self, state: TaskState, process: subprocess.Popen[bytes], output: IO[bytes]) -> None:
        """Thread: copy a task's output to its log and to the queue until the last of its processes closes it."""
        with state.log.open("wb", buffering=0) as log, output:
            for line in output:
                with suppress(OSError):  # a full disk cuts the log; the task itself will say so
                    log.write(line)
                self._events.put(_Line(state.task.name, line))
        self._events.put(_Exit(state.task.name, process.wait()))

    def _next_event(self) -> "_Line | _Exit | _Signal | None":
        """Wait for an event; ``None`` when the children had their time to stop."""
        if not self._stopped_by:
            return self._events.get()
        try:
            return self._events.get(timeout=max(0.0, self._kill_at - time.monotonic()))
        except Empty:
            self._kill_at = time.monotonic() + GRACE_SECONDS
            return None

    def _finish(self, state: TaskState, code: int) -> None:
        if code == 0:
            try:
                state.outputs = read_outputs(state.task, state.folder)
            except OutputsError as error:
                self._fail(state, 1, str(error))
                return
            state.exit_code = 0
            self._change(state, Status.CACHED if state.reused else Status.DONE)
        elif self._stopped_by:
            self._change(state, Status.STOPPED)
        else:
            self._fail(state, code if code > 0 else 128 - code, state.explain(code))

    def _stop(self, number: int) -> None:
        again = self._stopped_by is not None
        self._stopped_by = self._stopped_by or number
        self._kill_at = time.monotonic() + GRACE_SECONDS
        self._signal_children(signal.SIGKILL if again else signal.SIGTERM)
        for name in self._processes:
            self.states[name].fraction, self.states[name].message = None, "stopping; Ctrl-C again kills it"
            self._observer(self.states[name])

    def _signal_children(self, number: int) -> None:
        for process in self._processes.values():
            # Each task leads a process group, so that its own children end with it.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)


@dataclass(frozen=True)
class _Line:
    task: str
    data: bytes


@dataclass(frozen=True)
class _Exit:
    task: str
    code: int


@dataclass(frozen=True)
class _Signal:
    number: int
