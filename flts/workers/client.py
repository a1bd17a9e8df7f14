"""Kafka's clients, as workers and commands use them."""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from flts.errors import BadInputError, ServiceUnavailableError
from flts.workers.messages import Outgoing, Received
from flts.workers.settings import KafkaSettings

_REFUSED = {
    KafkaError._AUTHENTICATION,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
}
_AWAY = {KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._RESOLVE, KafkaError._TIMED_OUT}
_NO_TOPIC = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC}
_Headers = list[tuple[str, str | bytes | None]]
_Delivered = Callable[[KafkaError | None, Message], None]
# How long an idle worker's request for messages may stay with a broker that answers only when the time is over.
_FETCH_WAIT_MS = 100
# What commands wait for a broker at first, and then for an answer.
_SECONDS_TO_CONNECT = 15.0
ANSWER_SECONDS = 30.0


class Watched:
    """Remembers what a client said went wrong with its connections."""

    def __init__(self, settings: KafkaSettings) -> None:
        """Watch a client of these settings."""
        self._where = settings.where
        self.refused = ""
        self.away = False

    def __call__(self, error: KafkaError) -> None:
        """Take an error that a client reports; given to it as ``error_cb``."""
        if error.code() in _REFUSED:
            self.refused = f"{self._where} refused the credentials, or what they may do"
        elif error.code() == KafkaError._SSL:
            self.refused = (
                f"{self._where} cannot be trusted: {_plain(error)}; KAFKA_SSL_CA_LOCATION names the certificates of "
                "who vouches for it"
            )
        elif error.code() in _AWAY:
            self.away = True

    def trouble(self) -> str:
        """Return a sentence about what went wrong since it was last asked, nothing where all is well."""
        found = self.refused or (f"{self._where} cannot be reached" if self.away else "")
        self.refused, self.away = "", False
        return found

    def unreachable(self) -> BadInputError | ServiceUnavailableError:
        """Return the error for a command that got no answer."""
        if self.refused:
            return BadInputError(self.refused)
        return ServiceUnavailableError(f"{self._where} cannot be reached")


def open_admin(settings: KafkaSettings) -> AdminClient:
    """Connect, for a command.

    Raises:
        BadInputError: The credentials are refused, or the broker's certificate is not trusted.
        ServiceUnavailableError: No broker answers in time.
    """
    watched = Watched(settings)
    admin = AdminClient(configured(settings, watched))
    await_brokers(admin, watched, _SECONDS_TO_CONNECT)
    return admin


def await_brokers(client: "AdminClient | Consumer | Producer", watched: Watched, seconds: float) -> None:
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


def configured(settings: KafkaSettings, watched: Watched, **more: Any) -> dict[str, Any]:
    """Return a client's configuration; ``more`` with underscores for dots.

    Raises:
        BadInputError: A file that a setting names cannot be read.
    """
    # What the library would log on stderr, `watched` hears too.
    return settings.client() | {"error_cb": watched, "log_level": 0} | {k.replace("_", "."): v for k, v in more.items()}


def open_consumer(settings: KafkaSettings, group: str, watched: Watched, **more: Any) -> Consumer:
    """Return a consumer that begins where its group is, commits what is stored, and gives up what others get."""
    try:
        return Consumer(
            configured(
                settings,
                watched,
                group_id=group,
                auto_offset_reset="earliest",
                # Offsets are stored one by one when their outputs are durable; the library commits what is stored.
                enable_auto_offset_store=False,
                auto_commit_interval_ms=500,
                partition_assignment_strategy="cooperative-sticky",
                session_timeout_ms=settings.kafka_session_timeout_ms,
                heartbeat_interval_ms=max(300, min(3000, settings.kafka_session_timeout_ms // 3)),
                max_poll_interval_ms=max(settings.kafka_max_poll_interval_ms, settings.kafka_session_timeout_ms),
                fetch_wait_max_ms=_FETCH_WAIT_MS,
                **more,
            )
        )
    except KafkaException as error:
        raise BadInputError(f"the settings for Kafka are wrong: {_plain(error.args[0])}") from None


@dataclass(frozen=True)
class Backlog:
    """The offsets [``first``, ``end``) that a partition holds; those from ``next`` on its group has not handled."""

    partition: int
    first: int
    next: int
    end: int


@contextmanager
def looking(settings: KafkaSettings, group: str) -> Iterator[Consumer]:
    """Give a consumer that sees what its group has handled, takes no part in it, and commits what it is told to.

    Raises:
        BadInputError: The credentials are refused, or the broker's certificate is not trusted.
        ServiceUnavailableError: No broker answers in time.
    """
    watched = Watched(settings)
    consumer = open_consumer(settings, group, watched, enable_auto_commit=False)
    try:
        await_brokers(consumer, watched, _SECONDS_TO_CONNECT)
        yield consumer
    except KafkaException as error:
        raise ServiceUnavailableError(f"{settings.where} does not answer: {error.args[0].str()}") from None
    finally:
        consumer.close()


def backlogs(consumer: Consumer, topic: str) -> list[Backlog] | None:
    """Return what waits of each partition of a topic, ``None`` where there is no such topic."""
    found = consumer.list_topics(topic, timeout=ANSWER_SECONDS).topics[topic]
    if found.error:
        return None
    backlogs = []
    for number in sorted(found.partitions):
        partition = TopicPartition(topic, number)
        first, end = consumer.get_watermark_offsets(partition, timeout=ANSWER_SECONDS)
        (committed,) = consumer.committed([partition], timeout=ANSWER_SECONDS)
        backlogs.append(Backlog(number, first, max(first, committed.offset), end))
    return backlogs


def received_of(message: Message) -> Received:
    """Return a record as it came."""
    kind, moment = message.timestamp()
    return Received(
        topic=message.topic() or "",
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        timestamp=moment if kind else None,
        key=_bytes(message.key()),
        value=_bytes(message.value()),
        headers=tuple((name, _bytes(value) or b"") for name, value in cast(_Headers, message.headers() or [])),
    )


class Sender:
    """Sends messages so that each arrives once and in order, however often the broker goes away meanwhile."""

    def __init__(self, settings: KafkaSettings, watched: Watched) -> None:
        """Make the producer; it connects when something is sent."""
        self._settings = settings
        self._watched = watched
        self._producer = self._open()

    def await_brokers(self, seconds: float) -> None:
        """Wait until a broker answers; errors as ``open_admin``."""
        await_brokers(self._producer, self._watched, seconds)

    def send(self, outgoing: Sequence[Outgoing], meanwhile: Callable[[], bool]) -> bool:
        """Send messages and wait until all brokers that keep them have them.

        Args:
            outgoing: The messages.
            meanwhile: Called again and again while there is no answer; false gives up.

        Returns:
            Whether they were sent.

        Raises:
            ServiceUnavailableError: The broker refuses them: a topic is missing, or may not be written.
        """
        refusals: list[tuple[str, KafkaError]] = []
        pending = len(outgoing)

        def delivered(error: KafkaError | None, message: Message) -> None:
            nonlocal pending
            pending -= 1
            if error is not None:
                refusals.append((message.topic() or "", error))

        self._hand_over(outgoing, delivered)
        while pending and meanwhile():
            self._producer.poll(0.02)
        if refusals:
            raise self._refused(*refusals[0])
        return not pending

    def send_at_once(self, outgoing: Outgoing) -> None:
        """Send a message without waiting for anything; it may get lost."""
        self._hand_over([outgoing], lambda _error, _message: None)
        self._producer.poll(0)

    def _hand_over(self, outgoing: Collection[Outgoing], delivered: _Delivered) -> None:
        for each in outgoing:
            while True:
                try:
                    self._producer.produce(
                        each.topic, value=each.value, key=each.key, headers=list(each.headers), on_delivery=delivered
                    )
                except BufferError:  # its queue is full
                    self._producer.poll(0.1)
                except KafkaException as error:
                    raise self._refused(each.topic, error.args[0]) from None
                else:
                    break

    def _refused(self, topic: str, error: KafkaError) -> ServiceUnavailableError:
        if error.fatal() or error.code() == KafkaError._FATAL:  # this producer sends nothing any more
            self._producer = self._open()
        if error.code() in _NO_TOPIC:
            return ServiceUnavailableError(f"{self._settings.where} has no topic {topic}: flts-topics makes it")
        return ServiceUnavailableError(f"{self._settings.where} did not take a message for {topic}: {_plain(error)}")

    def _open(self) -> Producer:
        # Without a limit of time a message waits for the broker for as long as that is away.
        return Producer(
            configured(
                self._settings,
                self._watched,
                enable_idempotence=True,
                acks="all",
                message_timeout_ms=0,
                linger_ms=0,
                partitioner="murmur2_random",  # as Kafka's own clients: a key's messages keep their order among all
            )
        )


def _plain(error: KafkaError) -> str:
    """Return what an error says, without addresses and the library's own words before it."""
    text = " ".join(error.str().split()).rstrip(".")
    return text.rsplit(": ", 1)[-1] if error.code() == KafkaError._SSL else text


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
