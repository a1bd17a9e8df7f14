"""Workers as processes, on a broker, and on a store and an MLflow database in a folder; and what came of their work."""

import json
import os
import secrets
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from flts.store import ObjectStore
from flts.store.file import FileStore
from flts.workers.client import received_of
from flts.workers.settings import CONSUMED, DEAD_LETTER_PREFIX, WORKERS
from tests.support import brokers
from tests.support.acls import Users, role_of
from tests.support.commands import BIN
from tests.support.stages import OPTIONAL_TRAINERS
from tests.support.waiting import wait_until

# The shortest that Apache Kafka takes; a dead worker's partitions are others' after it, and tansu has those who join
# wait for half of it.
SESSION_TIMEOUT_MS = "6000"
# Those that always listen, but for optional trainers; preprocess is run for a dataset.
STAGES = tuple(name for name, worker in WORKERS.items() if not worker.messages_of_run and name not in OPTIONAL_TRAINERS)
# What a broker says of a topic that was just made.
_SOON_OVER = {
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
}
# Small enough that a training takes a second.
SMALL = {"EPOCHS": "1", "HIDDEN_SIZE": "4", "NUM_LAYERS": "1", "MEMBERS": "1", "N_CHANGEPOINTS": "3"}


@dataclass
class Worker:
    """A worker process, and what it has said."""

    stage: str
    process: "subprocess.Popen[bytes]"
    log: Path

    def events(self, *names: str) -> list[dict[str, Any]]:
        """Its log lines of these kinds, of all where none is named."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if not names or line["event"] in names]

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()

    def terminate(self) -> int:
        """Tell it to end, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)


@dataclass
class Place:
    """A broker, a store, an MLflow database, and the workers that were started on them.

    Where the broker looks at ACLs, each worker and command is a user of its own, who may do what it needs.
    """

    folder: Path
    servers: str
    environ: dict[str, str]
    prefix: str
    users: Users | None = None
    workers: list[Worker] = field(default_factory=list)

    @property
    def store(self) -> FileStore:
        return FileStore(self.folder / "store")

    def topic(self, name: str) -> str:
        """A topic's name: every test has its own, as they may share a broker."""
        return f"{self.prefix}{name}"

    def start(self, stage: str, *arguments: str, **environ: str) -> Worker:
        """Start a worker."""
        number = len(self.workers)
        log = self.folder / f"{stage}-{number}.log"
        command = [self._command(f"flts-{stage}"), *arguments]
        alive = {"FLTS_LIVENESS_FILE": str(self.folder / f"{stage}-{number}.alive")}
        variables = self._variables(f"flts-{stage}", arguments, alive | environ)
        with log.open("wb") as sink:
            process = subprocess.Popen(
                command, env=variables, cwd=self.folder, stdout=sink, stderr=sink, start_new_session=True
            )
        worker = Worker(stage, process, log)
        self.workers.append(worker)
        return worker

    def run(self, command: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [self._command(command), *arguments],
            env=self._variables(command, arguments, environ),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    def _command(self, name: str) -> str:
        return shutil.which(name, path=os.pathsep.join([self.environ.get("PATH", ""), str(BIN)])) or name

    def _variables(self, command: str, arguments: Sequence[str], environ: dict[str, str]) -> dict[str, str]:
        role = role_of(command, arguments)
        admitted = self.users.admit(role, self.environ | environ) if self.users and role else {}
        return self.environ | admitted | environ

    def preprocess(self, dataset: str, identifier: str, **environ: str) -> None:
        """Preprocess a dataset of the store, and tell the workers."""
        ended = self.run("flts-preprocess", DATASET_NAME=dataset, IDENTIFIER=identifier, **environ)
        assert ended.returncode == 0, ended.stderr

    def put_dataset(self, name: str, train: str, test: str) -> None:
        """Put a dataset into the store."""
        self.store.put("dataset", f"{name}.csv", train.encode())
        self.store.put("dataset", f"{name}_test.csv", test.encode())

    def send(self, topic: str, value: bytes | None, key: str = "", headers: Mapping[str, str] | None = None) -> None:
        """Send a message."""
        producer = Producer({"bootstrap.servers": self.servers, "log_level": 0})
        producer.produce(
            self.topic(topic),
            value=value,
            key=key,
            headers=[(name, text.encode()) for name, text in (headers or {}).items()],
        )
        assert producer.flush(30) == 0

    def messages(self, topic: str) -> list[dict[str, Any]]:
        """Every message of a topic: ``key``, ``value`` as bytes and ``headers``, partition by partition."""
        consumer = Consumer({"bootstrap.servers": self.servers, "group.id": secrets.token_hex(8), "log_level": 0})
        name = self.topic(topic)
        found = []
        partitions = consumer.list_topics(name, timeout=30).topics[name].partitions
        for partition in sorted(partitions):
            begin, end = _bounds(consumer, TopicPartition(name, partition))
            if end <= begin:
                continue
            consumer.assign([TopicPartition(name, partition, begin)])
            while begin < end:
                message = consumer.poll(30)
                assert message is not None, f"{name} {partition}:{begin} did not come"
                assert message.error() is None, message.error()
                received = received_of(message)
                begin = received.offset + 1
                headers = {each: text.decode() for each, text in received.headers}
                found.append({"key": received.key, "value": received.value, "headers": headers})
        consumer.close()
        return found

    def documents(self, topic: str) -> list[dict[str, Any]]:
        """Every message of a topic, read as JSON."""
        return [json.loads(message["value"]) for message in self.messages(topic)]

    def kill(self) -> None:
        """End all workers at once."""
        for worker in self.workers:
            if worker.process.poll() is None:
                worker.kill()

    def logs(self) -> str:
        """The last events of every worker, for a failed test."""
        told = []
        for worker in self.workers:
            told.append(f"== {worker.log.stem} ({worker.process.poll()})")
            told += [f"{each['time'][11:23]} {each['event']}: {each['message'][:300]}" for each in worker.events()[-6:]]
            told += [line[:300] for line in worker.log.read_text().splitlines() if not line.startswith("{")][-5:]
        return "\n".join(told)

    def until(self, true: Callable[[], Any], seconds: float = 240) -> Any:
        """Wait until something is true, and return it."""
        return wait_until(true, seconds, pause=0.1, state=self.logs)

    def history(self, identifier: str) -> list[str]:
        """The keys of the promotions of an identifier."""
        return [info.key for info in self.store.list("model-promotion", f"{identifier}/") if "/promotion-" in info.key]

    def forecasts(self, identifier: str) -> list[str]:
        """The keys of the forecasts of an identifier."""
        found = self.store.list("inference-logs", f"{identifier}/")
        return [info.key for info in found if info.key.endswith("predictions.parquet")]


@contextmanager
def place(folder: Path, servers: str, users: Users | None = None, **environ: str) -> Iterator[Place]:
    """Make topics, a store and a database; workers that are started on them end with the block."""
    folder.mkdir(parents=True, exist_ok=True)
    prefix = f"{secrets.token_hex(4)}-"
    variables = {
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "USE_KFP": "0",
        "KAFKA_BOOTSTRAP_SERVERS": servers,
        "GATEWAY_URL": f"file://{folder}/store",
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "FLTS_TOPIC_PREFIX": prefix,
        "KAFKA_SESSION_TIMEOUT_MS": SESSION_TIMEOUT_MS,
        **SMALL,
        **environ,
    }
    made = Place(folder, servers, variables, prefix, users)
    with ExitStack() as stack:
        if brokers.GIVEN:
            stack.callback(brokers.remove_topics, servers, prefix)
        stack.callback(made.kill)
        ended = made.run("flts-topics")
        assert ended.returncode == 0, ended.stderr
        yield made


def _bounds(consumer: Consumer, partition: TopicPartition) -> tuple[int, int]:
    """The first and the last offset; a topic that was just made has no leader for a moment."""

    def bounds() -> tuple[int, int] | None:
        try:
            found: tuple[int, int] = consumer.get_watermark_offsets(partition, timeout=30)
        except KafkaException as error:
            if error.args[0].code() not in _SOON_OVER:
                raise
            return None
        return found

    found = wait_until(bounds, pause=0.1)
    assert found
    return found


def seconds_between(first: Mapping[str, Any], last: Mapping[str, Any]) -> float:
    """The time between two events."""
    begin, end = (datetime.fromisoformat(each["time"]) for each in (first, last))
    return (end - begin).total_seconds()


def document(store: ObjectStore, bucket: str, key: str) -> dict[str, Any]:
    """A JSON object of the store."""
    content, _ = store.get(bucket, key)
    found: dict[str, Any] = json.loads(content)
    return found


def put_slices(at: Place, root: Path) -> None:
    """Put three parts of the demo dataset into the store: ``slice-0``, ``slice-1``, ``slice-2``."""
    data = root / "examples" / "data"
    header, *rows = (data / "jfk_weather.csv").read_text().splitlines(keepends=True)
    for number in range(3):
        begin = 400 * number
        at.put_dataset(
            f"slice-{number}",
            "".join([header, *rows[begin : begin + 300]]),
            "".join([header, *rows[begin + 300 : begin + 380]]),
        )


def finished(at: Place, *identifiers: str) -> bool:
    """Return whether all of these have a promotion and a forecast."""
    return all(at.history(each) and at.forecasts(each) for each in identifiers)


def waiting(at: Place) -> int:
    """Return how many messages wait, as ``flts-status`` says; dead letters do not count."""
    ended = at.run("flts-status")
    assert ended.returncode == 0, ended.stderr
    rows = [line.split() for line in ended.stdout.split("\n\n")[0].splitlines()[1:]]
    return sum(int(row[-1]) for row in rows if DEAD_LETTER_PREFIX not in row[0])


def trainings(at: Place, identifier: str) -> list[dict[str, Any]]:
    """Return the record of each training of an identifier."""
    found = at.store.list("model-promotion", f"{identifier}/trainings/")
    return [document(at.store, "model-promotion", info.key) for info in found]


def finished_runs(at: Place, identifier: str) -> Counter[str]:
    """Return how many trainings of each type finished for an identifier."""
    return Counter(each["model_type"] for each in trainings(at, identifier) if each["status"] == "SUCCESS")


def dead_letters(at: Place) -> list[dict[str, Any]]:
    """Every dead letter of a place."""
    return [message for topic in CONSUMED for message in at.messages(f"{DEAD_LETTER_PREFIX}{topic}")]
