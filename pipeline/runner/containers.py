"""Tasks as containers of the local Docker engine."""

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

# Only variables about services, proxies and FLTS itself are passed on.
_PASSED_ON = re.compile(r"(AWS|MLFLOW|FLTS)_\w+|(HTTPS?|NO)_PROXY", re.IGNORECASE)
# These name files on this machine, which containers cannot see; keys in them are passed on as variables.
_OF_THIS_MACHINE = re.compile(r"(AWS|FLTS)_\w*(FILE|PROFILE|BUNDLE)|MLFLOW_\w*(FILE|PATH|DIR)|FLTS_TEST_\w+")


class Containers:
    """Starts tasks as containers with the run's folder, the host's network and no capabilities."""

    def __init__(self, engine: Any, folder: Path, environment: Mapping[str, str]) -> None:
        """Prepare to start the tasks of a run.

        Args:
            engine: Docker client from ``open_engine``.
            folder: The run's folder, mounted into every container under the same path and named in its label.
            environment: Environment variables of this machine; containers get a selection.
        """
        from docker.types import Mount

        self._engine = engine
        self._settings = {
            "labels": {LABEL: str(folder)},
            # A mount rather than a bind string, because the path may contain colons.
            "mounts": [Mount(str(folder), str(folder), type="bind")],
            "entrypoint": [],  # KFP's launcher replaces the entrypoint, too
            "environment": container_environment(environment),
            "user": f"{os.getuid()}:{os.getgid()}",
            "network_mode": "host",
            "cap_drop": ["ALL"],
            # Without relabelling, SELinux would deny access to the run's folder.
            "security_opt": ["no-new-privileges", "label=disable"],
        }

    def start(self, task: Task, command: Sequence[str], folder: Path) -> "_Container":
        """Start a task.

        Raises:
            FltsError: The engine cannot start it.
            ServiceUnavailableError: The engine is gone.
        """
        from docker.errors import APIError

        with _engine_errors(task):
            try:
                started = _Container(
                    task,
                    self._engine.containers.create(
                        task.image,
                        list(command),
                        working_dir=str(folder),
                        init=True,  # as process 1, the stage would ignore signals until it has installed handlers
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
        self._last_stderr_line = b""
        try:
            container.start()
        except Exception:
            self._clean_up()
            raise

    def lines(self) -> Iterator[bytes]:
        partial = [b"", b""]  # incomplete last lines of stdout and stderr
        with _engine_errors(self._task):
            for chunks in self._output:  # a pair (stdout, stderr), one of them None
                for number, chunk in enumerate(chunks):
                    *lines, partial[number] = (partial[number] + (chunk or b"")).split(b"\n")
                    self._remember(number, lines)
                    yield from (line + b"\n" for line in lines)
        self._remember(1, partial[1:])
        yield from filter(None, partial)

    def _remember(self, number: int, lines: Sequence[bytes]) -> None:
        """Keep the last line of stderr, because the engine does not preserve the order between the two streams."""
        if number == 1:
            self._last_stderr_line = next((line for line in reversed(lines) if line.strip()), self._last_stderr_line)

    def wait(self) -> TaskExit:
        with _engine_errors(self._task):
            try:
                code = self._container.wait()["StatusCode"]
                self._container.reload()
                return TaskExit(
                    code,
                    out_of_memory=self._container.attrs["State"]["OOMKilled"],
                    last_stderr_line=self._last_stderr_line.decode(errors="replace").strip(),
                )
            finally:
                self._clean_up()

    def send(self, number: int) -> None:
        from docker.errors import DockerException

        with suppress(DockerException, OSError):  # it has ended, or the engine is gone: wait() finds out which
            self._container.kill(signal.Signals(number).name)

    def _clean_up(self) -> None:
        from docker.errors import APIError

        self._output._response.close()  # the stream's own close() leaves the connection open
        with suppress(APIError):  # it was removed already
            self._container.remove(force=True)


def open_engine(images: Collection[str]) -> Any:
    """Connect to the Docker engine and check that it has the images.

    Raises:
        ServiceUnavailableError: The engine is unreachable.
        BadInputError: An image is missing.
    """
    import docker
    from docker.errors import DockerException, ImageNotFound

    try:
        engine = docker.from_env()
        engine.ping()
    except (DockerException, OSError):
        raise ServiceUnavailableError(
            f"the Docker engine cannot be reached: is one running at {_address()}, and do you have access to it?"
        ) from None
    missing = []
    for image in sorted(images):
        try:
            engine.images.get(image)
        except ImageNotFound:
            missing.append(image)
    if missing:
        engine.close()
        raise BadInputError(f"images not on this machine: {', '.join(missing)}; build with scripts/build_push.sh")
    return engine


def container_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Select the environment variables for containers, and add the keys that boto3 finds in files."""
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
def _engine_errors(task: Task) -> Iterator[None]:
    """Turn the loss of a task's container or of the engine into a sentence."""
    from docker.errors import DockerException, NotFound

    try:
        yield
    except NotFound:
        raise FltsError(f"the container of {task.name} was removed while it ran") from None
    except (DockerException, OSError):
        raise ServiceUnavailableError(
            f"the Docker engine at {_address()} stopped answering while {task.name} ran; "
            f"docker ps --all --filter label={LABEL} lists the containers that are left"
        ) from None


def _address() -> str:
    return os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
