"""The command ``flts-topics``: makes the topics, and says how those that are there differ."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from flts.errors import BadInputError, FltsError, ServiceUnavailableError
from flts.workers import commands
from flts.workers.settings import CONSUMED, PERFORMANCE, dead_letter_topic, prefix, read_settings

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

COMMAND = "flts-topics"


@dataclass(frozen=True)
class Wanted:
    """A topic as it should be."""

    name: str
    partitions: int
    config: Mapping[str, str]


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command."""
    commands.run(COMMAND, _make, argv)


def wanted(environ: Mapping[str, str], partitions: int, retention_hours: int) -> list[Wanted]:
    """Return the topics of a deployment; dead letters are kept ten times as long, in one partition."""
    begin = prefix(environ)
    retention = retention_hours * 3_600_000
    topics = {begin + name: (partitions, retention) for name in (*CONSUMED, PERFORMANCE)}
    topics |= {dead_letter_topic(begin + name, begin): (1, 10 * retention) for name in CONSUMED}
    return [
        Wanted(name, count, {"cleanup.policy": "delete", "retention.ms": str(kept)})
        for name, (count, kept) in topics.items()
    ]


def _make(argv: Sequence[str]) -> int:
    parser = commands.parser(
        COMMAND,
        "Make the topics of Kafka mode that are missing, and say how the others differ. A second time nothing changes.",
        "FLTS_TOPIC_PREFIX goes before the name of every topic.",
    )
    parser.add_argument("--partitions", type=commands.positive, default=3, metavar="N", help="of a topic (default 3)")
    parser.add_argument(
        "--replication-factor", type=commands.positive, metavar="N", help="copies of each topic (default: the broker's)"
    )
    parser.add_argument(
        "--retention-hours",
        type=commands.positive,
        default=168,
        metavar="N",
        help="how long messages are kept, dead letters ten times as long (default 168)",
    )
    given = parser.parse_args(argv)
    settings = read_settings(os.environ)
    from flts.workers.client import ANSWER_SECONDS, open_admin

    admin = open_admin(settings)
    topics = wanted(os.environ, given.partitions, given.retention_hours)
    there = admin.list_topics(timeout=ANSWER_SECONDS).topics
    missing = [topic for topic in topics if topic.name not in there]
    _create(admin, missing, given.replication_factor or -1)
    differences = {
        topic.name: list(_differences(admin, topic, len(there[topic.name].partitions)))
        for topic in topics
        if topic not in missing
    }
    for topic in topics:
        found = differences.get(topic.name)
        print(f"{topic.name}: {'made' if found is None else '; '.join(found) or 'there already'}")
    return 0


def _create(admin: "AdminClient", topics: Sequence[Wanted], replication: int) -> None:
    from confluent_kafka import KafkaError, KafkaException
    from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]

    from flts.workers.client import ANSWER_SECONDS

    if not topics:
        return
    new = [NewTopic(each.name, each.partitions, replication, config=dict(each.config)) for each in topics]
    for name, future in admin.create_topics(new, operation_timeout=ANSWER_SECONDS).items():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # somebody else was quicker
                raise _refused(name, error) from None


def _differences(admin: "AdminClient", topic: Wanted, partitions: int) -> Iterator[str]:
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import ConfigResource, ResourceType  # type: ignore[attr-defined]

    from flts.workers.client import ANSWER_SECONDS

    if partitions != topic.partitions:
        yield f"has {partitions} partitions instead of {topic.partitions}"
    resource = ConfigResource(ResourceType.TOPIC, topic.name)
    try:
        entries = admin.describe_configs([resource])[resource].result(timeout=ANSWER_SECONDS)
    except KafkaException as error:
        raise _refused(topic.name, error) from None
    for name, value in topic.config.items():
        if name in entries and entries[name].value != value:
            yield f"has {name} {entries[name].value} instead of {value}"


def _refused(name: str, error: Exception) -> FltsError:
    problem = error.args[0]
    sentence = f"the topic {name} cannot be made or looked at: {' '.join(problem.str().split())}"
    return ServiceUnavailableError(sentence) if problem.retriable() else BadInputError(sentence)
