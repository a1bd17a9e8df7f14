"""What only Apache Kafka does: sizes, transactions, retention, too few replicas, and two ways to be in a group."""

import hashlib
import json
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from tests.support import brokers, kafka
from tests.support.services import free_ports

pytestmark = [
    pytest.mark.slow,
    pytest.mark.apache_kafka("sizes, transactions, retention, replicas, KIP-848"),
    pytest.mark.xdist_group("kafka_apache"),
    pytest.mark.timeout(600),
]


def trained(identifier: str = "after", config_hash: str = "d" * 64) -> bytes:
    """A message that eval keeps, and waits for others after."""
    return json.dumps(
        {
            **{"v": 1, "model_type": "GRU", "config_hash": config_hash, "run_id": "1" * 32, "status": "SUCCESS"},
            **{"model_uri": "runs:/1/GRU", "test_rmse": 0.1, "test_mae": 0.1, "test_mse": 0.1, "artifact_uri": ""},
            **{"train_start": "2026-01-01T00:00:00Z", "train_end": "2026-01-01T00:00:01Z", "identifier": identifier},
            "operation": "Trained: GRU",
        }
    ).encode()


def limit(place: kafka.Place, topic: str, **config: str) -> None:
    """Change the settings of a topic."""
    admin = AdminClient({"bootstrap.servers": place.servers, "log_level": 0})
    changes = [
        ConfigEntry(name.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET)
        for name, value in config.items()
    ]
    resource = ConfigResource(ResourceType.TOPIC, place.topic(topic), incremental_configs=changes)
    for changed in admin.incremental_alter_configs([resource]).values():
        changed.result(timeout=30)


@pytest.mark.parametrize("size", [1_040_000, 3_000_000])
@pytest.mark.parametrize("limits", ["ours", "the broker's"])
def test_a_large_bad_message_does_not_block_its_partition(place: kafka.Place, size: int, limits: str) -> None:
    if limits == "the broker's":
        limit(place, "DLQ-model-training", max_message_bytes="1048588")
    worker = place.start("eval")
    send(place, "model-training", trained())
    place.until(lambda: worker.events("handled"), 120)  # warm from then on
    body = os.urandom(size)
    send(place, "model-training", body)
    send(place, "model-training", trained())

    place.until(lambda: len(worker.events("handled")) == 2, 60)
    assert len(worker.events("dead_letter")) == 1
    assert kafka.seconds_between(worker.events("received")[1], worker.events("handled")[1]) < 10
    assert not worker.events("waiting")
    ((value, headers),) = [(each["value"], each["headers"]) for each in place.messages("DLQ-model-training")]
    if "body_object" in headers:
        assert limits == "the broker's"
        assert value == body[: len(value)]
        assert headers["body_sha256"] == hashlib.sha256(body).hexdigest()
        bucket, _, key = headers["body_object"].partition("/")
        assert place.store.get(bucket, key)[0] == body
    else:
        assert value == body

    replayed = place.run("flts-dlq", "replay", place.topic("DLQ-model-training"), "--all")
    assert (replayed.returncode, replayed.stderr) == (0, "")
    place.until(lambda: len(worker.events("dead_letter")) == 2, 60)
    assert [each["value"] for each in place.messages("model-training")].count(body) == 2


def send(place: kafka.Place, topic: str, value: bytes, **settings: Any) -> None:
    """Send a message to the first partition, as large as it may be."""
    producer = Producer({"bootstrap.servers": place.servers, "message.max.bytes": 8 << 20, "log_level": 0, **settings})
    errors: list[object] = []
    producer.produce(place.topic(topic), value, partition=0, on_delivery=lambda error, _: errors.append(error))
    assert producer.flush(30) == 0
    assert errors == [None]


def test_a_message_that_its_topic_does_not_take_is_a_dead_letter(place: kafka.Place) -> None:
    """What a stage makes is too large for where it goes: no outage, and no retry makes it smaller."""
    limit(place, "training-data", max_message_bytes="100")
    worker = place.start("preprocess", "--listen")
    place.send("preprocess-requests", json.dumps({"dataset_name": "slice-0", "identifier": "x"}).encode())
    place.until(lambda: worker.events("dead_letter"), 120)
    assert "the message is too large for" in worker.events("dead_letter")[0]["message"]
    assert not worker.events("waiting")
    ended = place.run("flts-preprocess", DATASET_NAME="slice-0", IDENTIFIER="x")
    assert ended.returncode == 2, ended.stderr


def test_markers_of_transactions_do_not_wait(place: kafka.Place) -> None:
    producer = Producer({"bootstrap.servers": place.servers, "transactional.id": place.prefix, "log_level": 0})
    producer.init_transactions(60)
    worker = place.start("eval", FLTS_METRICS_PORT=str(port := free_ports(1)[0]))
    for number in range(3):
        producer.begin_transaction()
        producer.produce(place.topic("model-training"), trained(config_hash=f"{number}" * 64), partition=0)
        producer.commit_transaction(60)
        place.until(lambda: len(worker.events("handled")) == number + 1, 120)  # noqa: B023 - asked at once

    place.until(lambda: kafka.waiting(place) == 0, 30)
    lag = place.until(lambda: [line for line in metrics(port) if line.startswith("flts_worker_lag")], 30)
    assert {line.rpartition(" ")[2] for line in lag} == {"0.0"}


def test_messages_deleted_before_they_were_read_are_named_and_counted(place: kafka.Place) -> None:
    for _ in range(3):
        send(place, "model-training", trained())
    worker = place.start("eval")
    place.until(lambda: len(worker.events("handled")) == 3, 120)
    assert worker.terminate() == 0
    for _ in range(7):
        send(place, "model-training", trained())
    delete_until(place, 8)

    worker = place.start("eval", FLTS_METRICS_PORT=str(port := free_ports(1)[0]))
    place.until(lambda: len(worker.events("handled")) == 2, 120)
    (lost,) = worker.events("lost")
    assert lost["message"].startswith(f"offsets 3 to 7 of {place.topic('model-training')} 0 were deleted before they")
    assert lost["level"] == "warning"
    (line,) = [line for line in metrics(port) if line.startswith("flts_worker_lost_total")]
    assert line.endswith(" 5.0")


def delete_until(place: kafka.Place, offset: int) -> None:
    """Delete the messages of a partition before an offset, as retention does."""
    admin = AdminClient({"bootstrap.servers": place.servers, "log_level": 0})
    for deleted in admin.delete_records([TopicPartition(place.topic("model-training"), 0, offset)]).values():
        deleted.result(timeout=30)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[brokers.Started]:
    """Three brokers, of which tests kill one and start it again."""
    with brokers.started(tmp_path_factory.mktemp("brokers"), 3) as three:
        yield three


@pytest.fixture
def place_on_three(three: brokers.Started, tmp_path: Path) -> Iterator[kafka.Place]:
    """As ``place``, on three brokers."""
    with kafka.place(tmp_path / "place", three.servers) as made:
        yield made


def test_too_few_replicas_are_said_and_pause_the_worker(three: brokers.Started, place_on_three: kafka.Place) -> None:
    place = place_on_three
    limit(place, "DLQ-model-training", min_insync_replicas="3")
    worker = place.start("eval", FLTS_METRICS_PORT=str(port := free_ports(1)[0]))
    send(place, "model-training", trained())
    place.until(lambda: worker.events("handled"))
    three.kill(3)
    send(place, "model-training", b"bad")

    said = f"does not acknowledge a message for {place.topic('DLQ-model-training')}"
    place.until(lambda: [each for each in worker.events("waiting") if said in each["message"]])
    assert paused(port) == "1.0"
    assert not worker.events("dead_letter")
    three.again(3)
    place.until(lambda: worker.events("dead_letter"))
    place.until(lambda: paused(port) == "0.0")


def paused(port: int) -> str:
    """What a worker's metrics say of waiting."""
    (line,) = [line for line in metrics(port) if line.startswith("flts_worker_paused{")]
    return line.rpartition(" ")[2]


def test_one_broker_of_three_that_is_away_is_named_and_stops_nothing(
    three: brokers.Started, place_on_three: kafka.Place
) -> None:
    place = place_on_three
    worker = place.start("eval")

    def send_and_wait(first: int) -> None:
        for number in range(first, first + 6):
            place.send("model-training", trained(config_hash=f"{number:064x}"), f"key-{number}")
        place.until(lambda: len(worker.events("handled")) == first + 6)

    def about_kafka() -> list[str]:
        return [event["message"] for event in worker.events("waiting") if "of Kafka" in event["message"]]

    send_and_wait(0)
    three.kill(2)
    gone = three.servers.split(",")[1]
    place.until(about_kafka)
    send_and_wait(6)

    assert about_kafka() == [f"{gone} of Kafka at {three.servers} cannot be reached, others can"]
    assert not kafka.dead_letters(place)
    assert worker.terminate() == 0
    three.again(2)


def test_a_session_that_the_broker_does_not_take_is_named(place: kafka.Place) -> None:
    worker = place.start("eval", KAFKA_SESSION_TIMEOUT_MS="3000")
    assert worker.process.wait(120) == 2
    said = worker.log.read_text()
    assert "environment variable KAFKA_SESSION_TIMEOUT_MS is 3000: " in said
    assert "Invalid session timeout" in said


def test_a_replication_factor_that_differs_is_named(place: kafka.Place) -> None:
    ended = place.run("flts-topics", "--replication-factor", "3")
    assert ended.returncode == 0
    assert f"{place.topic('training-data')}: has replication factor 1 instead of 3\n" in ended.stdout


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_partitions_move_between_static_members_of_either_protocol(place: kafka.Place, protocol: str) -> None:
    environ = {"KAFKA_GROUP_PROTOCOL": protocol}
    first = place.start("eval", **environ, KAFKA_GROUP_INSTANCE_ID="one")
    place.until(lambda: len(owned(first)) == 3, 120)
    second = place.start("eval", **environ, KAFKA_GROUP_INSTANCE_ID="two")
    place.until(lambda: owned(first) and owned(second) and len(owned(first) | owned(second)) == 3, 120)
    assert not owned(first) & owned(second)
    for number in range(3):
        producer = Producer({"bootstrap.servers": place.servers, "log_level": 0})
        producer.produce(place.topic("model-training"), trained(config_hash=f"{number}" * 64), partition=number)
        assert producer.flush(30) == 0
    place.until(lambda: len(first.events("handled")) + len(second.events("handled")) == 3, 60)

    third = place.start("eval", **environ, KAFKA_GROUP_INSTANCE_ID="two")  # of a name that is taken
    ended = place.until(lambda: [each for each in (second, third) if each.process.poll() is not None], 60)
    assert [each.process.poll() for each in ended] == [2]
    assert "environment variable KAFKA_GROUP_INSTANCE_ID is two: " in ended[0].log.read_text()
    assert "%" not in {line[:1] for line in ended[0].log.read_text().splitlines()}


def owned(worker: kafka.Worker) -> set[str]:
    """The partitions that a worker has now."""
    found: set[str] = set()
    for event in worker.events("assigned", "revoked"):
        names = set(event["message"].split(", "))
        found = found | names if event["event"] == "assigned" else found - names
    return found


def metrics(port: int) -> list[str]:
    """The lines of a worker's metrics."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        return [str(line) for line in answer.read().decode().splitlines()]
