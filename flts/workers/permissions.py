"""The permissions that each worker and command needs where Kafka has ACLs, and no others."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from flts.workers.settings import CONSUMED, DEAD_LETTER_GROUP, TOPICS, WORKERS, dead_letter_topic, prefix, read_topics

TOPIC, GROUP = "topic", "group"
READ, WRITE, CREATE, DESCRIBE, DESCRIBE_CONFIGS = "READ", "WRITE", "CREATE", "DESCRIBE", "DESCRIBE_CONFIGS"


@dataclass(frozen=True, order=True)
class Permission:
    """An operation on a topic or group; in Kafka, READ and WRITE of a topic include DESCRIBE.

    Attributes:
        resource: ``topic`` or ``group``.
        name: The topic or group.
        operation: Kafka's name of the operation.
    """

    resource: str
    name: str
    operation: str

    def __str__(self) -> str:
        """Return it for use in a sentence."""
        return f"{self.operation} the {self.resource} {self.name}"


def _of_worker(stage: str, environ: Mapping[str, str]) -> Iterator[Permission]:
    topics = read_topics(stage, environ)
    yield Permission(GROUP, topics.group, READ)
    for topic in topics.consumes.values():
        yield Permission(TOPIC, topic, READ)
    for topic in (*topics.produces.values(), *topics.dead_letters.values()):
        yield Permission(TOPIC, topic, WRITE)


def _of_preprocess_once(environ: Mapping[str, str]) -> Iterator[Permission]:
    for topic in read_topics("preprocess", environ).produces.values():
        yield Permission(TOPIC, topic, WRITE)


def _of_topics(environ: Mapping[str, str]) -> Iterator[Permission]:
    begin = prefix(environ)
    names = [begin + name for name in TOPICS]
    names += [dead_letter_topic(begin + name, begin) for name in CONSUMED]
    for name in names:
        for operation in (CREATE, DESCRIBE, DESCRIBE_CONFIGS):
            yield Permission(TOPIC, name, operation)


def _of_status(environ: Mapping[str, str]) -> Iterator[Permission]:
    for stage in WORKERS:
        topics = read_topics(stage, environ)
        yield Permission(GROUP, topics.group, DESCRIBE)
        for topic in topics.consumes.values():
            yield Permission(TOPIC, topic, DESCRIBE)
    begin = prefix(environ)
    yield Permission(GROUP, begin + DEAD_LETTER_GROUP, DESCRIBE)
    for name in CONSUMED:
        yield Permission(TOPIC, dead_letter_topic(begin + name, begin), DESCRIBE)


def _of_dead_letters(environ: Mapping[str, str]) -> Iterator[Permission]:
    begin = prefix(environ)
    yield Permission(GROUP, begin + DEAD_LETTER_GROUP, READ)
    for stage in WORKERS:
        for topic, letters in read_topics(stage, environ).dead_letters.items():
            yield Permission(TOPIC, letters, READ)
            yield Permission(TOPIC, topic, WRITE)


_COMMANDS: Mapping[str, Callable[[Mapping[str, str]], Iterator[Permission]]] = {
    "preprocess-once": _of_preprocess_once,
    "flts-topics": _of_topics,
    "flts-status": _of_status,
    "flts-dlq": _of_dead_letters,
}
# The workers of the stages, and the commands that use Kafka.
ROLES = (*WORKERS, *_COMMANDS)


def permissions_of(role: str, environ: Mapping[str, str]) -> list[Permission]:
    """Return the permissions of one of ``ROLES``, for topics and groups as the environment names them."""
    found = _COMMANDS[role](environ) if role in _COMMANDS else _of_worker(role, environ)
    return sorted(set(found))
