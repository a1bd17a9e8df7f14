"""The command ``flts-topics``: makes missing topics, and reports how existing ones differ."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from flts.workers.commands import common
from flts.workers.messages import LARGEST_BYTES
from flts.workers.permissions import CREATE, DESCRIBE, DESCRIBE_CONFIGS, TOPIC, Permission
from flts.workers.settings import CONSUMED, TOPICS, dead_letter_topic, prefix, read_settings

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient, PartitionMetadata  # type: ignore[attr-defined]

COMMAND = "flts-topics"


@dataclass(frozen=True)
class TopicSpec:
    """The intended settings of a topic."""

    name: str
    partitions: int
    config: Mapping[str, str]


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command."""
    common.run(COMMAND, _make, argv)


def topic_specs(environ: Mapping[str, str], partitions: int, retention_hours: int) -> list[TopicSpec]:
    """Return the topics of a deployment; dead letters are kept ten times as long, in one partition."""
    begin = prefix(environ)
    retention = retention_hours * 3_600_000
    topics = {begin + name: (partitions, retention) for name in TOPICS}
    topics |= {dead_letter_topic(begin + name, begin): (1, 10 * retention) for name in CONSUMED}
    config = {"cleanup.policy": "delete", "max.message.bytes": str(LARGEST_BYTES)}
    return [TopicSpec(name, count, {**config, "retention.ms": str(kept)}) for name, (count, kept) in topics.items()]


def _make(argv: Sequence[str]) -> int:
    parser = common.parser(
        COMMAND,
        "Make the missing topics of Kafka mode, and report how existing ones differ. A second run changes nothing.",
        "FLTS_TOPIC_PREFIX is the prefix of every topic.",
    )
    parser.add_argument("--partitions", type=common.positive, default=3, metavar="N", help="for each topic (default 3)")
    parser.add_argument(
        "--replication-factor", type=common.positive, metavar="N", help="copies of each topic (default: the broker's)"
    )
    parser.add_argument(
        "--retention-hours",
        type=common.positive,
        default=168,
        metavar="N",
        help="how long messages are kept, dead letters ten times as long (default 168)",
    )
    arguments = parser.parse_args(argv)
    settings = read_settings(os.environ)
    from flts.workers.client import open_admin

    admin = open_admin(settings)
    topics = topic_specs(os.environ, arguments.partitions, arguments.retention_hours)
    existing = {topic.name: _partitions_of(admin, topic.name) for topic in topics}
    made = _create(admin, [topic for topic in topics if not existing[topic.name]], arguments.replication_factor or -1)
    for topic in topics:
        differences: list[str] = []
        if topic.name not in made:
            found = existing[topic.name] or _partitions_of(admin, topic.name)  # another run made it in between
            differences = list(_differences(admin, topic, found, arguments.replication_factor))
        print(f"{topic.name}: {'made' if topic.name in made else '; '.join(differences) or 'there already'}")
    return 0


def _partitions_of(admin: "AdminClient", name: str) -> "Mapping[int, PartitionMetadata]":
    """Return the partitions of a topic, none if it does not exist."""
    from flts.workers.client import ANSWER_SECONDS
    from flts.workers.kafka_errors import NOT_AUTHORIZED, request_error

    found = admin.list_topics(name, timeout=ANSWER_SECONDS).topics[name]
    if found.error and found.error.code() in NOT_AUTHORIZED:
        raise request_error(f"the topic {name} cannot be described", found.error, Permission(TOPIC, name, DESCRIBE))
    return found.partitions or {}


def _create(admin: "AdminClient", topics: Sequence[TopicSpec], replication: int) -> set[str]:
    """Make topics, and return the names of those that did not exist."""
    from confluent_kafka import KafkaError, KafkaException
    from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]

    from flts.workers.client import ANSWER_SECONDS
    from flts.workers.kafka_errors import request_error

    made: set[str] = set()
    if not topics:
        return made
    new = [NewTopic(each.name, each.partitions, replication, config=dict(each.config)) for each in topics]
    for name, future in admin.create_topics(new, operation_timeout=ANSWER_SECONDS).items():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                right = Permission(TOPIC, name, CREATE)
                raise request_error(f"the topic {name} cannot be made", error.args[0], right) from None
        else:
            made.add(name)
    return made


def _differences(
    admin: "AdminClient", topic: TopicSpec, partitions: "Mapping[int, PartitionMetadata]", replication: int | None
) -> Iterator[str]:
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import ConfigResource, ResourceType  # type: ignore[attr-defined]

    from flts.workers.client import ANSWER_SECONDS
    from flts.workers.kafka_errors import request_error

    if len(partitions) != topic.partitions:
        yield f"has {len(partitions)} partitions instead of {topic.partitions}"
    copies = sorted({len(each.replicas) for each in partitions.values()})
    if replication and copies != [replication]:
        yield f"has replication factor {' and '.join(map(str, copies))} instead of {replication}"
    resource = ConfigResource(ResourceType.TOPIC, topic.name)
    try:
        entries = admin.describe_configs([resource])[resource].result(timeout=ANSWER_SECONDS)
    except KafkaException as error:
        right = Permission(TOPIC, topic.name, DESCRIBE_CONFIGS)
        raise request_error(f"the topic {topic.name} cannot be described", error.args[0], right) from None
    for name, value in topic.config.items():
        if name in entries and entries[name].value != value:
            yield f"has {name} {entries[name].value} instead of {value}"
