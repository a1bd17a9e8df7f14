"""Runs a compiled pipeline in containers on this machine, through KFP's own ``kfp.local.DockerRunner``.

KFP builds the executor inputs, starts the containers one after another, and collects their outputs. What became of
each task is judged here: by its exit code, by the events it wrote, and by its outputs, which are held to what KFP's
launcher on a cluster holds them to. KFP's word is not enough: it takes a container that is gone for one that did well.
Its retries, for services that come and go, are left out: an error is shown at once.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any
from uuid import uuid4

from flts.errors import BadInputError, ServiceUnavailableError
from pipeline.ir import Pipeline, Value
from pipeline.outputs import PAGE_SUFFIX, PAGE_TYPE, OutputsError, read_outputs
from pipeline.running import GRACE_SECONDS, Observer, Run, watching_signals
from pipeline.state import Status, TaskState

_LABEL = "flts.run"
# Where the services are, how to reach them, and how many threads compute: nothing else of this machine's environment.
_PASSED_ON = re.compile(r"(AWS|MLFLOW|FLTS)_\w+|(HTTPS?|NO)_PROXY", re.IGNORECASE)
# They name files of this machine; the keys in these are passed on as variables.
_OF_THIS_MACHINE = re.compile(r"AWS_\w*(FILE|PROFILE|BUNDLE)|MLFLOW_\w*(FILE|PATH|DIR)")
_INDENT = b"    "  # KFP's, before what a container wrote
_COLOR = re.compile(rb"\x1b\[\d*m")
_BEGAN = re.compile(rb"[\d:.]+ - INFO - Executing task '([^']+)'")
_ENDED = re.compile(rb"[\d:.]+ - \w+ - Task '([^']+)' finished with status (\w+)")


class DockerRun(Run):
    """A run whose tasks are containers of this machine's Docker engine."""

    def __init__(
        self,
        pipeline: Pipeline,
        arguments: Mapping[str, Value],
        folder: Path,
        *,
        engine: Any,
        path: Path,
        environment: Mapping[str, str],
        observer: Observer,
    ) -> None:
        """Prepare a run as in ``Run``.

        Args:
            pipeline: The compiled pipeline.
            arguments: A value for every pipeline parameter.
            folder: The run's folder, an absolute path.
            engine: What ``open_engine`` gave; it is closed in the end.
            path: The file of the compiled pipeline.
            environment: Environment variables of this machine, of which containers get those about services.
            observer: Called with a task's state whenever it changes.
        """
        super().__init__(pipeline, arguments, folder, observer=observer)
        self._docker = engine
        self._pipeline_root = folder / "kfp"
        self._label = f"{_LABEL}={uuid4().hex}"
        self._path = path
        self._environment = container_environment(environment)
        self._events: SimpleQueue[_Line | _Closed | _Signal] = SimpleQueue()
        self._current: TaskState | None = None

    def execute(self) -> int:
        """Run the tasks one after another, up to the first failure.

        SIGINT, SIGTERM and SIGHUP stop the container: SIGTERM, and SIGKILL 10 seconds later.
        """
        self._pipeline_root.mkdir(parents=True)  # else the engine makes it, as root
        kfp = self._start_kfp()
        try:
            with watching_signals(lambda number: self._events.put(_Signal(number))), self._kfp_log() as log:
                while self._take(self._events.get(), log):
                    pass
        finally:
            kfp.kill()
            kfp.wait()
            self._remove_containers()
            self._docker.close()
        for state in self.states.values():
            if state.status is Status.WAITING:
                self._change(state, Status.NOT_RUN)
        return self._code()

    def _take(self, event: "_Line | _Closed | _Signal", log: IO[bytes]) -> bool:
        """Take in an event; false when the run is over."""
        match event:
            case _Signal(number):
                self._stopped_by = number
                if self._current:
                    self._current.fraction, self._current.message = None, "stopping"
                    self._change(self._current, Status.RUNNING)
                self._remove_containers()
                if self._current:
                    self._change(self._current, Status.STOPPED)
                return False
            case _Closed():
                if self._current:
                    self._finish(self._current)
                elif not all(state.succeeded for state in self.states.values()) and not self._exit_code:
                    state = next(state for state in self.states.values() if not state.succeeded)
                    self._fail(state, 1, f"KFP ended before {state.task.name}; its log is {log.name}")
                return False
            case _Line(data) if data.startswith(_INDENT) and self._current:
                self._take_output(self._current, data.removeprefix(_INDENT))
            case _Line(data):
                log.write(data)
                return self._take_word_of_kfp(_COLOR.sub(b"", data))
        return True

    def _take_word_of_kfp(self, line: bytes) -> bool:
        if (began := _BEGAN.match(line)) and (state := self.states.get(began[1].decode())):
            state.folder.mkdir(parents=True)
            state.started = time.monotonic()
            self._current = state
            self._change(state, Status.RUNNING)
        elif _ENDED.match(line) and self._current:
            state, self._current = self._current, None
            self._finish(state)
            return state.succeeded
        return True

    def _take_output(self, state: TaskState, line: bytes) -> None:
        with suppress(OSError), state.log.open("ab") as log:  # a full disk cuts the log; the task itself will say so
            log.write(line)
        if state.read_line(line):
            self._observer(state)

    def _finish(self, state: TaskState) -> None:
        code = self._exit_code_of_last_container()
        if code:
            state.log.touch()
            self._fail(state, code, state.explain(code if code < 128 else 128 - code))
            return
        try:
            (folder,) = self._pipeline_root.glob(f"*/{state.task.name}")
            state.outputs = read_outputs(state.task, folder, page_suffix="")
            for name, artifact in state.outputs.artifacts.items():
                if artifact.type["schemaTitle"] == PAGE_TYPE:
                    shutil.copyfile(artifact.path, state.folder / f"{name}{PAGE_SUFFIX}")
        except (OutputsError, ValueError) as error:
            said = str(error) if isinstance(error, OutputsError) else f"{state.task.name} left no outputs"
            self._fail(state, 1, said)
            return
        state.exit_code = 0
        self._change(state, Status.CACHED if state.reused else Status.DONE)

    def _exit_code_of_last_container(self) -> int:
        """Ask the engine, which remembers what happened to a container after it was removed."""
        happened = self._docker.events(
            since=int(self._since),
            until=int(time.time()) + 1,
            filters={"label": self._label, "event": "die"},
            decode=True,
        )
        codes = [int(event["Actor"]["Attributes"]["exitCode"]) for event in happened]
        return codes[-1] if codes else 1

    def _start_kfp(self) -> "subprocess.Popen[bytes]":
        self._since = time.time()
        asked = {
            "pipeline": str(self._path),
            "arguments": dict(self._arguments),
            "pipeline_root": str(self._pipeline_root),
            "container": {
                "entrypoint": "",
                "user": f"{os.getuid()}:{os.getgid()}",
                "environment": self._environment,
                "network_mode": "host",
                "labels": dict([self._label.split("=")]),
                "cap_drop": ["ALL"],
                "security_opt": ["no-new-privileges"],
            },
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline.kfp_local"],
            cwd=Path(__file__).parents[1],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "ignore"},
            start_new_session=True,
        )
        threading.Thread(target=self._talk, args=(process, json.dumps(asked).encode()), daemon=True).start()
        return process

    def _talk(self, kfp: "subprocess.Popen[bytes]", asked: bytes) -> None:
        """Thread: tell KFP what to run, and put what it writes into the queue."""
        if kfp.stdin and kfp.stdout:
            with suppress(BrokenPipeError), kfp.stdin as stdin:
                stdin.write(asked)
            with kfp.stdout as stdout:
                for line in stdout:
                    self._events.put(_Line(line))
        self._events.put(_Closed())

    def _kfp_log(self) -> IO[bytes]:
        return (self._pipeline_root / "kfp.log").open("wb", buffering=0)

    def _remove_containers(self) -> None:
        from docker.errors import APIError

        for container in self._docker.containers.list(all=True, filters={"label": self._label}):
            with suppress(APIError):  # it removes itself when it ends
                container.stop(timeout=int(GRACE_SECONDS))
                container.remove(force=True)


def container_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Choose what containers get of this machine's environment, and add the keys that boto3 finds in files."""
    chosen = {
        name: value
        for name, value in environment.items()
        if _PASSED_ON.fullmatch(name) and not _OF_THIS_MACHINE.fullmatch(name)
    }
    if "AWS_ACCESS_KEY_ID" in chosen:
        return chosen
    import boto3

    session = boto3.Session()
    found = session.get_credentials()
    if found:
        keys = found.get_frozen_credentials()
        chosen |= {"AWS_ACCESS_KEY_ID": keys.access_key, "AWS_SECRET_ACCESS_KEY": keys.secret_key}
        chosen |= {"AWS_SESSION_TOKEN": keys.token} if keys.token else {}
    if session.region_name:
        chosen.setdefault("AWS_DEFAULT_REGION", session.region_name)
    return chosen


def open_engine(images: Collection[str]) -> Any:
    """Connect to the Docker engine, and make sure that it has the images.

    Raises:
        ServiceUnavailableError: The engine is out of reach.
        BadInputError: An image is not on this machine.
    """
    import docker
    from docker.errors import DockerException, ImageNotFound

    try:
        engine = docker.from_env()
        engine.ping()
    except DockerException as error:
        raise ServiceUnavailableError(f"the Docker engine cannot be reached: {error}") from None
    missing = []
    for image in sorted(images):
        try:
            engine.images.get(image)
        except ImageNotFound:
            missing.append(image)
    if missing:
        engine.close()
        raise BadInputError(f"not on this machine: {', '.join(missing)}: build with scripts/build_push.sh")
    return engine


@dataclass(frozen=True)
class _Line:
    data: bytes


@dataclass(frozen=True)
class _Closed:
    pass


@dataclass(frozen=True)
class _Signal:
    number: int
