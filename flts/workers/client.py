"""Clients of Kafka for workers and commands."""

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
from flts.workers.kafka_errors import NOT_AUTHORIZED, Client, ConnectionErrors, request_error, wrong_settings
from flts.workers.messages import LARGEST_BYTES, ReceivedMessage
from flts.workers.permissions import DESCRIBE, GROUP, TOPIC, Permission
from flts.workers.settings import KafkaSettings

_Headers = list[tuple[str, str | bytes | None]]
_C = TypeVar("_C", bound=Client)
_T = TypeVar("_T")
# The wait of an idle worker's request for messages; some brokers answer only when it is over.
_FETCH_WAIT_MS = 100
# How long commands wait for a broker, and then for an answer.
_SECONDS_TO_CONNECT = 15.0
ANSWER_SECONDS = 30.0
_REQUEST_SECONDS = 5.0
_SECONDS_BETWEEN_REQUESTS = 0.2
# A message may be as large as brokers allow; the client's own limit of 100 MB would stop it for good.
_LARGEST_ANSWER_BYTES = 2_147_483_647
# The library's log lines would be plain text among JSON lines; ``ConnectionErrors`` gets the same errors.
_NO_LOG = logging.Logger("flts.kafka")
_NO_LOG.addHandler(logging.NullHandler())


def open_admin(settings: KafkaSettings) -> AdminClient:
    """Connect, for a command.

    Raises:
        BadInputError: A setting is wrong, the credentials are refused, or the broker's certificate is not trusted.
        ServiceUnavailableError: No broker answers in time.
    """
    connection_errors = ConnectionErrors(settings)
    admin = open_client(AdminClient, settings, connection_errors)
    await_brokers(admin, connection_errors, _SECONDS_TO_CONNECT)
    return admin


def await_brokers(client: Client, connection_errors: ConnectionErrors, seconds: float) -> None:
    """Wait until a broker answers; errors as ``open_admin``."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            client.list_topics(timeout=1)
        except KafkaException as error:
            client.poll(0)  # delivers the cause to ``connection_errors``
            connection_errors(error.args[0])
            if connection_errors.refused or time.monotonic() > deadline:
                raise connection_errors.error() from None
        else:
            return


def open_client(
    kind: Callable[[dict[str, Any]], _C], settings: KafkaSettings, connection_errors: ConnectionErrors, **more: Any
) -> _C:
    """Make a client; ``more`` are settings of the library, with underscores for dots.

    Raises:
        BadInputError: A setting is wrong, or a file that one names cannot be read.
    """
    options = {"error_cb": connection_errors, "log_level": 0, "logger": _NO_LOG}
    try:
        return kind(settings.client() | options | {name.replace("_", "."): value for name, value in more.items()})
    except KafkaException as error:
        raise wrong_settings(error.args[0]) from None


def open_consumer(settings: KafkaSettings, group: str, connection_errors: ConnectionErrors, **more: Any) -> Consumer:
    """Return a consumer that is a member of a group and commits the offsets that are stored.

    It reports the end of a partition, and a group without a valid offset. Errors as ``open_client``.
    """
    options: dict[str, Any] = {
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
    return open_client(Consumer, settings, connection_errors, **(options | settings.membership() | more))


@dataclass(frozen=True)
class Backlog:
    """The offsets [``first``, ``end``) of a partition; its group has handled those before ``next``."""

    partition: int
    first: int
    next: int
    end: int


@contextmanager
def passive_consumer(settings: KafkaSettings, group: str, operation: str = DESCRIBE) -> Iterator[Consumer]:
    """Open a consumer that reads and commits offsets of a group without being a member.

    Raises:
        BadInputError: The credentials are refused, or the broker's certificate is not trusted.
        ServiceUnavailableError: No broker answers in time.
    """
    connection_errors = ConnectionErrors(settings)
    consumer = open_consumer(settings, group, connection_errors, enable_auto_commit=False, enable_partition_eof=False)
    try:
        await_brokers(consumer, connection_errors, _SECONDS_TO_CONNECT)
        yield consumer
    except KafkaException as error:
        what = f"{settings.where} does not read or commit the offsets of the group {group}"
        raise request_error(what, error.args[0], Permission(GROUP, group, operation)) from None
    finally:
        consumer.close()


def backlogs(consumer: Consumer, topic: str) -> list[Backlog] | None:
    """Return the backlog of each partition of a topic, ``None`` if the topic does not exist.

    Raises:
        RefusedError: The permission to describe the topic is missing.
    """
    found = consumer.list_topics(topic, timeout=ANSWER_SECONDS).topics[topic]
    if found.error and found.error.code() in NOT_AUTHORIZED:
        permission = Permission(TOPIC, topic, DESCRIBE)
        raise RefusedError(f"Kafka does not describe {topic}: the permission to {permission} is missing")
    if found.error:
        return None
    partitions = [TopicPartition(topic, number) for number in sorted(found.partitions)]
    backlogs = []
    for committed in _retry(consumer, lambda: consumer.committed(partitions, timeout=_REQUEST_SECONDS)):
        partition = TopicPartition(topic, committed.partition)
        first, end = _retry(consumer, partial(consumer.get_watermark_offsets, partition, timeout=_REQUEST_SECONDS))
        backlogs.append(Backlog(committed.partition, first, max(first, committed.offset), end))
    return backlogs


def _retry(consumer: Consumer, request: Callable[[], _T]) -> _T:
    """Repeat a request until it succeeds: just after a group or topic was made, brokers may not agree on its leader."""
    deadline = time.monotonic() + ANSWER_SECONDS
    while True:
        try:
            return request()
        except KafkaException as error:
            found = consumer.poll(0)  # the cause, if the request was refused
            if found and (cause := found.error()) and cause.code() in NOT_AUTHORIZED:
                raise KafkaException(cause) from None
            if time.monotonic() > deadline:
                raise error
            time.sleep(_SECONDS_BETWEEN_REQUESTS)


def received_of(message: Message) -> ReceivedMessage:
    """Return a record as a ``ReceivedMessage``."""
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
