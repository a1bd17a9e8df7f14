"""Kafka's clients, as workers and commands use them."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, cast

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from flts.errors import RefusedError
from flts.workers.kafka_errors import NO_RIGHT, Client, ConnectionErrors, refusal, wrong_settings
from flts.workers.messages import LARGEST_BYTES, ReceivedMessage
from flts.workers.permissions import DESCRIBE, GROUP, TOPIC, Permission
from flts.workers.settings import KafkaSettings

_Headers = list[tuple[str, str | bytes | None]]
_C = TypeVar("_C", bound=Client)
_T = TypeVar("_T")
# How long an idle worker's request for messages may stay with a broker that answers only when the time is over.
_FETCH_WAIT_MS = 100
# What commands wait for a broker at first, and then for an answer.
_SECONDS_TO_CONNECT = 15.0
ANSWER_SECONDS = 30.0
_ASK_SECONDS = 5.0
_SECONDS_BETWEEN_ASKING = 0.2
# A message may be as large as brokers let it be; by itself the client would stop at 100 MB, and for good.
_LARGEST_ANSWER_BYTES = 2_147_483_647
# What the library logs would stand as plain text among JSON lines; `Watched` hears the same.
_SILENT = logging.Logger("flts.kafka")
_SILENT.addHandler(logging.NullHandler())


def open_admin(settings: KafkaSettings) -> AdminClient:
    """Connect, for a command.

    Raises:
        BadInputError: A setting is wrong, the credentials are refused, or the broker's certificate is not trusted.
        ServiceUnavailableError: No broker answers in time.
    """
    watched = ConnectionErrors(settings)
    admin = open_client(AdminClient, settings, watched)
    await_brokers(admin, watched, _SECONDS_TO_CONNECT)
    return admin


def await_brokers(client: Client, watched: ConnectionErrors, seconds: float) -> None:
    """Wait until a broker answers; errors as ``open_admin``."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            client.list_topics(timeout=1)
        except KafkaException as error:
            client.poll(0)  # tells `watched` what was behind it
            watched(error.args[0])
            if watched.refused or time.monotonic() > deadline:
                raise watched.unreachable() from None
        else:
            return


def open_client(
    kind: Callable[[dict[str, Any]], _C], settings: KafkaSettings, watched: ConnectionErrors, **more: Any
) -> _C:
    """Make a client; ``more`` are settings of the library, with underscores for dots.

    Raises:
        BadInputError: A setting is wrong, or a file that one names cannot be read.
    """
    given = {"error_cb": watched, "log_level": 0, "logger": _SILENT}
    try:
        return kind(settings.client() | given | {name.replace("_", "."): value for name, value in more.items()})
    except KafkaException as error:
        raise wrong_settings(error.args[0]) from None


def open_consumer(settings: KafkaSettings, group: str, watched: ConnectionErrors, **more: Any) -> Consumer:
    """Return a consumer of a group that commits what is stored, and gives up what others get.

    It says where a partition ends, and where the group has no place yet, or one whose messages are gone.
    """
    given: dict[str, Any] = {
        "group_id": group,
        "auto_offset_reset": "error",
        "enable_partition_eof": True,
        # Offsets are stored one by one when their outputs are durable; the library commits what is stored.
        "enable_auto_offset_store": False,
        "auto_commit_interval_ms": 500,
        "max_poll_interval_ms": max(settings.kafka_max_poll_interval_ms, settings.kafka_session_timeout_ms),
        "fetch_wait_max_ms": _FETCH_WAIT_MS,
        "fetch_message_max_bytes": LARGEST_BYTES,
        "receive_message_max_bytes": _LARGEST_ANSWER_BYTES,
    }
    return open_client(Consumer, settings, watched, **(given | settings.membership() | more))


@dataclass(frozen=True)
class Backlog:
    """The offsets [``first``, ``end``) that a partition holds; those from ``next`` on its group has not handled."""

    partition: int
    first: int
    next: int
    end: int


@contextmanager
def looking(settings: KafkaSettings, group: str, operation: str = DESCRIBE) -> Iterator[Consumer]:
    """Give a consumer that sees what its group has handled, takes no part in it, and commits what it is told to.

    Raises:
        BadInputError: The credentials are refused, or the broker's certificate is not trusted.
        ServiceUnavailableError: No broker answers in time.
    """
    watched = ConnectionErrors(settings)
    consumer = open_consumer(settings, group, watched, enable_auto_commit=False, enable_partition_eof=False)
    try:
        await_brokers(consumer, watched, _SECONDS_TO_CONNECT)
        yield consumer
    except KafkaException as error:
        what = f"{settings.where} does not say what the group {group} has handled, or note it"
        raise refusal(what, error.args[0], Permission(GROUP, group, operation)) from None
    finally:
        consumer.close()


def backlogs(consumer: Consumer, topic: str) -> list[Backlog] | None:
    """Return what waits of each partition of a topic, ``None`` where there is no such topic.

    Raises:
        RefusedError: The topic may not be looked at.
    """
    found = consumer.list_topics(topic, timeout=ANSWER_SECONDS).topics[topic]
    if found.error and found.error.code() in NO_RIGHT:
        raise RefusedError(f"nothing is told of {topic}: the right is missing to {Permission(TOPIC, topic, DESCRIBE)}")
    if found.error:
        return None
    partitions = [TopicPartition(topic, number) for number in sorted(found.partitions)]
    backlogs = []
    for committed in _patiently(consumer, lambda: consumer.committed(partitions, timeout=_ASK_SECONDS)):
        partition = TopicPartition(topic, committed.partition)
        first, end = _patiently(consumer, partial(consumer.get_watermark_offsets, partition, timeout=_ASK_SECONDS))
        backlogs.append(Backlog(committed.partition, first, max(first, committed.offset), end))
    return backlogs


def _patiently(consumer: Consumer, ask: Callable[[], _T]) -> _T:
    """Ask until the brokers agree who answers: a moment after a group or topic was made, they may not."""
    deadline = time.monotonic() + ANSWER_SECONDS
    while True:
        try:
            return ask()
        except KafkaException as error:
            found = consumer.poll(0)  # why a request got no answer
            if found and (behind := found.error()) and behind.code() in NO_RIGHT:
                raise KafkaException(behind) from None
            if time.monotonic() > deadline:
                raise error
            time.sleep(_SECONDS_BETWEEN_ASKING)


def received_of(message: Message) -> ReceivedMessage:
    """Return a record as it came."""
    kind, moment = message.timestamp()
    return ReceivedMessage(
        topic=message.topic() or "",
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        timestamp=moment if kind else None,
        key=_bytes(message.key()),
        value=_bytes(message.value()),
        headers=tuple((name, _bytes(value) or b"") for name, value in cast(_Headers, message.headers() or [])),
    )


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
