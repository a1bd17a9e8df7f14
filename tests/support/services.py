"""A real S3 server (SeaweedFS) and a real MLflow server, on free ports of 127.0.0.1, for tests and for people.

Tests use the fixtures of ``tests/conftest.py``:

- ``s3`` -> `S3`: an S3 server of this test process alone; up in a second.
- ``services`` -> `Services`: S3 and MLflow, which every process of a test run shares, as MLflow takes long to start.
- ``s3_environ`` and ``services_environ``: the same, and their variables are set while tests of the module run, for
  this process and those it starts.

Tests that stop, kill or restart a server start their own with `s3_server` and `mlflow_server`; a server started again
in the same folder and on the same port has its old content.

A container reaches them with ``--network host``. ``make services`` runs both until
Ctrl-C and prints what to export.
"""

import argparse
import ctypes
import fcntl
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TypeVar

T = TypeVar("T")

HOST = "127.0.0.1"
BIN = Path(sys.executable).parent
START_SECONDS = 180  # MLflow takes 10 s, and far longer on a busy machine
ATTEMPTS = 3  # another process may take a free port before the server does
MLFLOW_BUCKET = "mlflow"
# Docker's bridge and the name that containers give their host, for those that do not join the host's network.
MLFLOW_CLIENTS = (HOST, "localhost", "172.17.0.1", "host.docker.internal")


class NotStartedError(Exception):
    """A server ended or stayed silent; the text has the end of its log."""


@dataclass(frozen=True)
class S3:
    """An S3 server and the keys of its only user, who may do everything."""

    endpoint: str
    access_key: str = "flts-test"
    secret_key: str = "flts-test-secret"  # noqa: S105 - of a server of our own

    @property
    def environ(self) -> dict[str, str]:
        """The variables with which boto3 and FLTS find it."""
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
        }


@dataclass(frozen=True)
class Services:
    """S3 and an MLflow server that keeps its artifacts there, in the bucket ``mlflow``."""

    s3: S3
    mlflow_uri: str

    @property
    def environ(self) -> dict[str, str]:
        """The variables with which the stages' commands use both."""
        return self.s3.environ | {"GATEWAY_URL": "s3://", "MLFLOW_TRACKING_URI": self.mlflow_uri}


@contextmanager
def s3_server(folder: Path) -> Iterator[S3]:
    """Run SeaweedFS with its data in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "data").mkdir(exist_ok=True)
    with _persistently(lambda: _start_s3(folder)) as s3:
        yield s3


@contextmanager
def mlflow_server(folder: Path, s3: S3, port: int = 0) -> Iterator[str]:
    """Run an MLflow server with its database in a folder and its artifacts in S3; gives its address."""
    folder.mkdir(parents=True, exist_ok=True)
    with _persistently(lambda: _start_mlflow(folder, s3, port or free_ports(1)[0])) as uri:
        yield uri


@contextmanager
def running(folder: Path) -> Iterator[Services]:
    """Run both, with all they keep in a folder."""
    with s3_server(folder / "s3") as s3, mlflow_server(folder / "mlflow", s3) as uri:
        yield Services(s3, uri)


@contextmanager
def shared(folder: Path) -> Iterator[Services]:
    """Use the services of all processes that name the same folder: the first starts them, after the last they stop.

    Every user holds the file ``users`` locked. The kernel drops the locks of those that die, so that a keeper process,
    which waits for the file to be free, stops the services whatever happened.
    """
    state = folder / "services.json"
    with (folder / "users").open("a") as users:
        with (folder / "start").open("a") as start:
            fcntl.flock(start, fcntl.LOCK_EX)
            fcntl.flock(users, fcntl.LOCK_SH)  # waits while a keeper stops what it kept
            if not state.exists():
                command = [sys.executable, "-m", __name__, "--keep", str(folder)]
                subprocess.run(command, cwd=Path(__file__).parents[2], check=False)
            if not state.exists():
                raise NotStartedError((folder / "keeper.log").read_text())
            found = json.loads(state.read_text())
        yield Services(S3(**found["s3"]), found["mlflow_uri"])


def free_ports(count: int) -> list[int]:
    """Return TCP ports that nobody listens on now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((HOST, 0))
        return [one.getsockname()[1] for one in sockets]


@contextmanager
def _start_s3(folder: Path) -> Iterator[S3]:
    master, volume, filer, s3, *grpc = free_ports(8)
    found = S3(f"http://{HOST}:{s3}")
    user = {"accessKey": found.access_key, "secretKey": found.secret_key}
    identity = {"name": "flts", "credentials": [user], "actions": ["Admin"]}
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    options = {
        "dir": folder / "data",
        "ip": HOST,
        "ip.bind": HOST,
        "master.port": master,
        "master.port.grpc": grpc[0],
        "master.peers": "none",  # a single master, which leads at once
        "master.telemetry": "false",
        "volume.port": volume,
        "volume.port.grpc": grpc[1],
        "volume.max": 0,  # as many as the disk holds: every bucket takes one at least, so that they must be small
        "master.volumeSizeLimitMB": 512,
        "filer": "true",
        "filer.port": filer,
        "filer.port.grpc": grpc[2],
        "filer.localSocket": folder / "filer.sock",
        "s3": "true",
        "s3.config": folder / "s3.json",
        "s3.port": s3,
        "s3.port.grpc": grpc[3],
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "s3.localSocket": folder / "s3.sock",
    }
    command = [BIN / "weed", "-logtostderr=true", "server", *(f"-{name}={value}" for name, value in options.items())]
    try:
        # One volume a bucket at first, where the default is seven.
        with _process(command, folder / "weed.log", {"WEED_MASTER_VOLUME_GROWTH_COPY_1": "1"}, lambda: _make(found)):
            yield found
    finally:
        for name, port in zip(("master", "volume", "filer", "s3"), grpc, strict=True):
            Path(f"/tmp/seaweedfs-{name}-grpc-{port}.sock").unlink(missing_ok=True)  # noqa: S108 - its choice


@contextmanager
def _start_mlflow(folder: Path, s3: S3, port: int) -> Iterator[str]:
    options = {
        "host": HOST,
        "port": port,
        "workers": 1,
        "backend-store-uri": f"sqlite:///{folder}/mlflow.db",
        "artifacts-destination": f"s3://{MLFLOW_BUCKET}",
        # Any port, as a test may put a proxy in between.
        "allowed-hosts": ",".join(f"{host}:*" for host in MLFLOW_CLIENTS),
    }
    command = [BIN / "mlflow", "server", *(word for name, value in options.items() for word in (f"--{name}", value))]
    environ = s3.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    uri = f"http://{HOST}:{port}"
    with _process(command, folder / "mlflow.log", environ, lambda: _answers(f"{uri}/health")):
        yield uri


def _make(s3: S3) -> None:
    """Make MLflow's bucket and write into it, which shows that every part of the server is up."""
    import boto3
    from botocore.config import Config

    client = boto3.client(
        "s3",
        endpoint_url=s3.endpoint,
        aws_access_key_id=s3.access_key,
        aws_secret_access_key=s3.secret_key,
        region_name="us-east-1",
        config=Config(connect_timeout=1, read_timeout=5, retries={"total_max_attempts": 1}),
    )
    buckets = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
    if MLFLOW_BUCKET not in buckets:
        client.create_bucket(Bucket=MLFLOW_BUCKET)
    client.put_object(Bucket=MLFLOW_BUCKET, Key="up", Body=b"1")
    client.delete_object(Bucket=MLFLOW_BUCKET, Key="up")
    client.close()


def _answers(url: str) -> None:
    with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - our own server
        pass


@contextmanager
def _persistently(start: Callable[[], AbstractContextManager[T]]) -> Iterator[T]:
    """Enter what ``start`` gives, again while a server does not start."""
    for attempt in range(1, ATTEMPTS + 1):
        with ExitStack() as stack:
            try:
                entered = stack.enter_context(start())
            except NotStartedError:
                if attempt == ATTEMPTS:
                    raise
                continue
            yield entered
            return


@contextmanager
def _process(command: list[object], log: Path, environ: Mapping[str, str], check: Callable[[], None]) -> Iterator[None]:
    """Run a server from when ``check`` first passes; in the end it is killed, with every process it started."""
    with log.open("ab") as sink:
        process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            env=_clean_environ() | dict(environ),
            start_new_session=True,
            preexec_fn=_end_with_the_parent,  # noqa: PLW1509 - no threads
        )
    try:
        _wait(process, check, log)
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait(process: "subprocess.Popen[bytes]", check: Callable[[], None], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            check()
        except Exception as error:  # whatever a server says that is not up yet
            if process.poll() is not None or time.monotonic() > deadline:
                raise NotStartedError(f"{process.args} is not up: {error}\n{log.read_text()[-3000:]}") from None
            time.sleep(0.05)
        else:
            return


def _clean_environ() -> dict[str, str]:
    """The environment without the settings of whoever runs the tests."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MLFLOW_", "WEED_"))}


def _end_with_the_parent() -> None:
    """Have the kernel send SIGTERM when this process' parent dies without a word; Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def _keep(folder: Path) -> None:
    """Run the services in a process of its own until nobody holds ``users``; returns when they are up or failed."""
    up, tell = os.pipe()
    if os.fork():
        os.close(tell)
        os.read(up, 1)  # nothing comes, but the keeper closes its end
        return
    os.setsid()
    with (folder / "keeper.log").open("w") as log, open(os.devnull) as nothing:
        _redirect(nothing, log)
    state, partial = folder / "services.json", folder / "services.json.partial"
    with (folder / "users").open("a") as users:
        with running(folder / "services") as services:
            partial.write_text(json.dumps(asdict(services)))
            partial.rename(state)
            os.close(tell)
            fcntl.flock(users, fcntl.LOCK_EX)
            state.unlink()
        shutil.rmtree(folder / "services")


def _redirect(source: IO[str], sink: IO[str]) -> None:
    os.dup2(source.fileno(), 0)
    os.dup2(sink.fileno(), 1)
    os.dup2(sink.fileno(), 2)


def _run_for_a_person() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    print("# starting, which takes a while", flush=True)
    try:
        with tempfile.TemporaryDirectory(prefix="flts-services-") as folder, running(Path(folder)) as services:
            print("# S3 and MLflow run until Ctrl-C, and forget everything then. In another shell:")
            for name, value in services.environ.items():
                print(f"export {name}={shlex.quote(value)}")
            sys.stdout.flush()
            signal.pause()
    except KeyboardInterrupt:
        print("# stopped")


def main() -> None:
    """Run both services for a person, or with ``--keep`` for all users of a folder."""
    parser = argparse.ArgumentParser(description="Run S3 and MLflow on free ports of this machine until Ctrl-C.")
    parser.add_argument("--keep", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.keep:
        _keep(options.keep)
    else:
        _run_for_a_person()


if __name__ == "__main__":
    main()
