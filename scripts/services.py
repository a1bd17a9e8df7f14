"""A real S3 server (SeaweedFS) and a real MLflow server on free ports of this machine: ``make services``.

Both run until Ctrl-C, and the variables to export are printed. ``FLTS_TEST_S3_ENDPOINT_URL``,
``FLTS_TEST_S3_ACCESS_KEY_ID`` and ``FLTS_TEST_S3_SECRET_ACCESS_KEY`` name an S3 server to use instead of SeaweedFS.

Tests and benchmarks start them with `running`, `s3_server` and `mlflow_server`; a server that is started again in the
same folder has its old content. Containers reach both with ``--network host``.
"""

import ctypes
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

HOST = "127.0.0.1"
BIN = Path(sys.executable).parent
START_SECONDS = 180  # MLflow takes 10 s, and far longer on a busy machine
ATTEMPTS = 3  # another process may take a free port before the server does
MLFLOW_BUCKET = "mlflow"
# Keys of a SeaweedFS user with read access only.
READER = {"accessKey": "flts-reader", "secretKey": "flts-reader-secret"}
# Addresses of the host for containers outside the host's network.
MLFLOW_CLIENTS = (HOST, "localhost", "172.17.0.1", "host.docker.internal")


class NotStartedError(Exception):
    """A server ended or did not answer; the text includes the end of its log."""


@dataclass(frozen=True)
class S3:
    """An S3 server and the keys of a user with full access."""

    endpoint: str
    access_key: str = "flts-test"
    secret_key: str = "flts-test-secret"  # noqa: S105 - of a server of our own
    ca_bundle: str = ""

    @property
    def environ(self) -> dict[str, str]:
        """Environment variables for boto3 and FLTS."""
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
            **({"AWS_CA_BUNDLE": self.ca_bundle} if self.ca_bundle else {}),
        }

    def client(self) -> Any:
        """Return a boto3 client with short timeouts and no retries."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
            verify=self.ca_bundle or None,
            config=Config(connect_timeout=1, read_timeout=5, retries={"total_max_attempts": 1}),
        )


@dataclass(frozen=True)
class Services:
    """S3 and an MLflow server that keeps its artifacts there, in the bucket ``mlflow``."""

    s3: S3
    mlflow_uri: str

    @property
    def environ(self) -> dict[str, str]:
        """Environment variables for the stages' commands."""
        return self.s3.environ | {"GATEWAY_URL": "s3://", "MLFLOW_TRACKING_URI": self.mlflow_uri}


def named_s3() -> S3 | None:
    """Return the S3 server that ``FLTS_TEST_S3_*`` name, ``None`` if they are not set."""
    endpoint, access_key, secret_key = (
        os.environ.get(f"FLTS_TEST_S3_{name}", "") for name in ("ENDPOINT_URL", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY")
    )
    return S3(endpoint, access_key, secret_key) if endpoint else None


@contextmanager
def s3_server(folder: Path) -> Iterator[S3]:
    """Run SeaweedFS with its data in a folder, or use the server that the environment names."""
    if named := named_s3():
        try:
            _make(named)
        except Exception as error:  # errors of any kind may come from an address that is no S3 server
            raise NotStartedError(f"FLTS_TEST_S3_ENDPOINT_URL {named.endpoint} cannot be used: {error}") from None
        yield named
        return
    with seaweedfs(folder) as s3:
        yield s3


@contextmanager
def seaweedfs(folder: Path, certificate: tuple[Path, Path] | None = None) -> Iterator[S3]:
    """Run SeaweedFS with its data in a folder; over TLS if a self-signed certificate and its key are given."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "data").mkdir(exist_ok=True)
    with retry_start(lambda: _start_s3(folder, certificate)) as s3:
        yield s3


@contextmanager
def mlflow_server(
    folder: Path,
    s3: S3,
    port: int = 0,
    *,
    options: Mapping[str, str | None] = {},
    environ: Mapping[str, str] = {},
) -> Iterator[str]:
    """Run an MLflow server with its database in a folder and its artifacts in S3; yield its address.

    Args:
        folder: Folder for the database and a log.
        s3: S3 server with the bucket ``mlflow``.
        port: Port to listen on; 0: any free one.
        options: Options of ``mlflow server`` that extend or replace the usual ones; ``None`` for options without a
            value.
        environ: Additional environment variables.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with retry_start(lambda: _start_mlflow(folder, s3, port or free_ports(1)[0], options, environ)) as uri:
        yield uri


@contextmanager
def running(folder: Path) -> Iterator[Services]:
    """Run both servers with all their data in a folder."""
    with s3_server(folder / "s3") as s3, mlflow_server(folder / "mlflow", s3) as uri:
        yield Services(s3, uri)


def free_ports(count: int) -> list[int]:
    """Return TCP ports that are free now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((HOST, 0))
        return [one.getsockname()[1] for one in sockets]


@contextmanager
def _start_s3(folder: Path, certificate: tuple[Path, Path] | None) -> Iterator[S3]:
    master, volume, filer, s3, *grpc = free_ports(8)
    found = S3(f"http://{HOST}:{s3}")
    if certificate:
        found = S3(f"https://{HOST}:{s3}", ca_bundle=str(certificate[0]))
    user = {"accessKey": found.access_key, "secretKey": found.secret_key}
    identities = [
        {"name": "flts", "credentials": [user], "actions": ["Admin"]},
        {"name": "reader", "credentials": [READER], "actions": ["Read", "List"]},
    ]
    (folder / "s3.json").write_text(json.dumps({"identities": identities}))
    options = {
        "dir": folder / "data",
        "ip": HOST,
        "ip.bind": HOST,
        "master.port": master,
        "master.port.grpc": grpc[0],
        "master.peers": "none",  # a single master, which becomes leader at once
        "master.telemetry": "false",
        "volume.port": volume,
        "volume.port.grpc": grpc[1],
        "volume.max": 0,  # as many volumes as fit on the disk; every bucket takes at least one, so they must be small
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
    if certificate:
        options |= {"s3.cert.file": certificate[0], "s3.key.file": certificate[1]}
    command = [BIN / "weed", "-logtostderr=true", "server", *(f"-{name}={value}" for name, value in options.items())]
    try:
        environ = {
            "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1",  # a bucket begins with one volume instead of seven
            "WEED_S3_SSE_KEY": found.secret_key,  # for server-side encryption
        }
        with process(command, folder / "weed.log", environ, lambda: _make(found)):
            yield found
    finally:
        for name, port in zip(("master", "volume", "filer", "s3"), grpc, strict=True):
            Path(f"/tmp/seaweedfs-{name}-grpc-{port}.sock").unlink(missing_ok=True)  # noqa: S108 - its choice


@contextmanager
def _start_mlflow(
    folder: Path, s3: S3, port: int, changes: Mapping[str, str | None], more: Mapping[str, str]
) -> Iterator[str]:
    options: dict[str, object] = {
        "host": HOST,
        "port": port,
        "workers": 1,
        "backend-store-uri": f"sqlite:///{folder}/mlflow.db",
        "artifacts-destination": f"s3://{MLFLOW_BUCKET}",
        # Any port, because a test may put a proxy in between.
        "allowed-hosts": ",".join(f"{host}:*" for host in MLFLOW_CLIENTS),
        **changes,
    }
    words = (word for name, value in options.items() for word in (f"--{name}", value) if word is not None)
    command = [BIN / "mlflow", "server", *words]
    environ = s3.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **more}
    uri = f"http://{HOST}:{port}{changes.get('static-prefix') or ''}"
    with process(command, folder / "mlflow.log", environ, lambda: _answers(f"{uri}/health")):
        yield uri


def _make(s3: S3) -> None:
    """Create MLflow's bucket and write to it, which succeeds only once every part of the server is up."""
    client = s3.client()
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
def retry_start(start: Callable[[], AbstractContextManager[T]]) -> Iterator[T]:
    """Enter the context manager from ``start``; if the server does not start, try again."""
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
def process(command: list[object], log: Path, environ: Mapping[str, str], check: Callable[[], None]) -> Iterator[None]:
    """Start a server and wait until ``check`` passes; kill it at the end, with every process that it started."""
    with log.open("ab") as sink:
        process = subprocess.Popen(  # noqa: S603 - servers of our own environment
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            env=_clean_environ() | dict(environ),
            start_new_session=True,
            preexec_fn=_terminate_with_parent,  # noqa: PLW1509 - no threads
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
        except Exception as error:  # anything may come from a server that is still starting
            if process.poll() is not None or time.monotonic() > deadline:
                raise NotStartedError(f"{log.stem} did not start: {error}\n{log.read_text()[-3000:]}") from None
            time.sleep(0.05)
        else:
            return


def _clean_environ() -> dict[str, str]:
    """Return the environment without settings for other servers."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MLFLOW_", "WEED_"))}


def _terminate_with_parent() -> None:
    """Have the kernel send SIGTERM to this process when its parent is killed; Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def main() -> int:
    """Run both servers until Ctrl-C or SIGTERM, and print the variables to export; return 3 if one does not start."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    print("# starting both servers; this takes a while", flush=True)
    try:
        with tempfile.TemporaryDirectory(prefix="flts-services-") as folder, running(Path(folder)) as services:
            print("# S3 and MLflow run until Ctrl-C; then all their data is deleted. In another shell:")
            for name, value in services.environ.items():
                print(f"export {name}={shlex.quote(value)}")
            sys.stdout.flush()
            signal.pause()
    except KeyboardInterrupt:
        print("# stopped")
    except NotStartedError as error:
        print(f"services: {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
