"""Tasks as containers of this machine's Docker engine."""

import os
import re
import signal
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from flts.errors import BadInputError, FltsError, ServiceUnavailableError
from pipeline.runner.compiled import Task
from pipeline.runner.state import TaskExit
from pipeline.runner.watchdog import LABEL

# Where the services are, how to reach them, and how many threads compute: nothing else of this machine's environment.
_PASSED_ON = re.compile(r"(AWS|MLFLOW|FLTS)_\w+|(HTTPS?|NO)_PROXY", re.IGNORECASE)
# They name files of this machine; the keys in these are passed on as variables.
_OF_THIS_MACHINE = re.compile(r"(AWS|FLTS)_\w*(FILE|PROFILE|BUNDLE)|MLFLOW_\w*(FILE|PATH|DIR)|FLTS_TEST_\w+")


class Containers:
    """Starts each task as a container that sees the run's folder and the host's network, and has no capabilities."""

    def __init__(self, engine: Any, folder: Path, environment: Mapping[str, str]) -> None:
        """Prepare to start the tasks of a run.

        Args:
            engine: What ``open_engine`` gave.
            folder: The run's folder, which every container gets under the same path; their label names it.
            environment: Environment variables of this machine, of which containers get those about services.
        """
        from docker.types import Mount

        self._engine = engine
        self._settings = {
            "labels": {LABEL: str(folder)},
            # A mount and no bind: the path may hold colons.
            "mounts": [Mount(str(folder), str(folder), type="bind")],
            "entrypoint": [],  # as KFP's launcher replaces it
            "environment": container_environment(environment),
            "user": f"{os.getuid()}:{os.getgid()}",
            "network_mode": "host",
            "cap_drop": ["ALL"],
            # The run's folder keeps the label that SELinux gave it.
            "security_opt": ["no-new-privileges", "label=disable"],
        }

    def start(self, task: Task, command: Sequence[str], folder: Path) -> "_Container":
        """Start a task.

        Raises:
            FltsError: The engine cannot start it.
            ServiceUnavailableError: The engine is gone.
        """
        from docker.errors import APIError

        with _watching_engine(task):
            try:
                started = _Container(
                    task,
                    self._engine.containers.create(
                        task.image,
                        list(command),
                        working_dir=str(folder),
                        init=True,  # or a signal that comes before the stage listens is lost: it would be process 1
                        **self._settings,
                    ),
                )
            except APIError as error:
                raise FltsError(f"the Docker engine cannot start {task.name}: {error.explanation}") from None
        return started


class _Container:
    def __init__(self, task: Task, container: Any) -> None:
        self._task = task
        self._container = container
        self._output = container.attach(stream=True, demux=True)
        self._last_words = b""
        try:
            container.start()
        except Exception:
            self._clean_up()
            raise

    def lines(self) -> Iterator[bytes]:
        begun = [b"", b""]  # of a line on stdout and on stderr
        with _watching_engine(self._task):
            for chunks in self._output:  # a pair, of which one is None
                for number, chunk in enumerate(chunks):
                    *lines, begun[number] = (begun[number] + (chunk or b"")).split(b"\n")
                    self._remember(number, lines)
                    yield from (line + b"\n" for line in lines)
        self._remember(1, begun[1:])
        yield from filter(None, begun)

    def _remember(self, number: int, lines: Sequence[bytes]) -> None:
        """Keep the last line of stderr: the engine brings both streams, but not in the order of their writing."""
        if number == 1:
            self._last_words = next((line for line in reversed(lines) if line.strip()), self._last_words)

    def wait(self) -> TaskExit:
        with _watching_engine(self._task):
            try:
                code = self._container.wait()["StatusCode"]
                self._container.reload()
                return TaskExit(
                    code,
                    out_of_memory=self._container.attrs["State"]["OOMKilled"],
                    last_words=self._last_words.decode(errors="replace").strip(),
                )
            finally:
                self._clean_up()

    def send(self, number: int) -> None:
        from docker.errors import DockerException

        with suppress(DockerException, OSError):  # it has ended, or the engine has: waiting for it says which
            self._container.kill(signal.Signals(number).name)

    def _clean_up(self) -> None:
        from docker.errors import APIError

        self._output._response.close()  # its own close() leaves the connection to the garbage collector
        with suppress(APIError):  # somebody else removed it
            self._container.remove(force=True)


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
    except (DockerException, OSError):
        raise ServiceUnavailableError(
            f"the Docker engine cannot be reached: is one running at {_address()}, and may you use it?"
        ) from None
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


def container_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Choose what containers get of this machine's environment, and add the keys that boto3 finds in files."""
    chosen = {
        name: value
        for name, value in environment.items()
        if _PASSED_ON.fullmatch(name) and not _OF_THIS_MACHINE.fullmatch(name)
    }
    if chosen.keys() & {"AWS_ACCESS_KEY_ID", "FLTS_S3_ACCESS_KEY_ID"}:
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


@contextmanager
def _watching_engine(task: Task) -> Iterator[None]:
    """Say in a sentence that a task's container or the engine is gone."""
    from docker.errors import DockerException, NotFound

    try:
        yield
    except NotFound:
        raise FltsError(f"the container of {task.name} was removed while it ran") from None
    except (DockerException, OSError):
        raise ServiceUnavailableError(
            f"the Docker engine at {_address()} stopped answering while {task.name} ran; "
            f"docker ps --all --filter label={LABEL} lists what is left there"
        ) from None


def _address() -> str:
    return os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
