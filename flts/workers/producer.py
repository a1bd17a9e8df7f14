"""Delivery of messages, each once and in order, however often brokers fail in between."""

import time
from collections.abc import Callable, Collection, Sequence

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from flts.errors import FltsError, RefusedError, ServiceUnavailableError
from flts.workers.client import ANSWER_SECONDS, await_brokers, open_client
from flts.workers.kafka_errors import (
    NOT_AUTHORIZED,
    TOO_LARGE,
    UNKNOWN_TOPIC,
    ConnectionErrors,
    TooLargeError,
    request_error,
)
from flts.workers.messages import LARGEST_BYTES, OutgoingMessage
from flts.workers.permissions import TOPIC, WRITE, Permission
from flts.workers.settings import KafkaSettings

_Delivered = Callable[[KafkaError | None, Message], None]
# Brokers that are well acknowledge a message within milliseconds.
SECONDS_TO_ACKNOWLEDGE = 5.0


class MessageProducer:
    """Sends messages; a Kafka producer that fails for good is replaced."""

    def __init__(self, settings: KafkaSettings) -> None:
        """Make the producer; it connects with the first message."""
        self._settings = settings
        self._connection_errors = ConnectionErrors(settings)
        self._producer = self._open()

    def await_brokers(self, seconds: float) -> None:
        """Wait until a broker answers; errors as ``open_admin``."""
        await_brokers(self._producer, self._connection_errors, seconds)

    def send(self, outgoing: Sequence[OutgoingMessage], keep_waiting: Callable[[], bool]) -> bool:
        """Send messages and wait until all their replicas in sync have them.

        Args:
            outgoing: The messages.
            keep_waiting: Called again and again while there is no answer; false ends the wait.

        Returns:
            Whether they were sent.

        Raises:
            TooLargeError: One is too large for the client or the broker.
            RefusedError: The permission to write a topic is missing.
            ServiceUnavailableError: The broker refuses them for another reason, such as a missing topic.
        """
        refusals: list[tuple[str, KafkaError]] = []
        pending = len(outgoing)

        def delivered(error: KafkaError | None, message: Message) -> None:
            nonlocal pending
            pending -= 1
            if error is not None:
                refusals.append((message.topic() or "", error))

        self._enqueue(outgoing, delivered)
        while pending and keep_waiting():
            self._poll(0.02, outgoing[0].topic)
        if refusals:
            raise self._error_of(*refusals[0])
        return not pending

    def send_all(self, outgoing: Sequence[OutgoingMessage]) -> None:
        """Send messages as ``send`` does, and raise ``ServiceUnavailableError`` if they take too long."""
        deadline = time.monotonic() + ANSWER_SECONDS
        if not self.send(outgoing, lambda: time.monotonic() < deadline):
            raise ServiceUnavailableError(self.stall_reason(outgoing[0].topic))

    def send_unacknowledged(self, outgoing: OutgoingMessage) -> None:
        """Send a message without waiting for its acknowledgement; it may get lost."""
        self._enqueue([outgoing], lambda _error, _message: None)
        self._poll(0, outgoing.topic)

    def stall_reason(self, topic: str) -> str:
        """Return a sentence about why a message is not acknowledged; the library retries forever in silence."""
        problem = self._connection_errors.problem(self._producer)
        try:
            partitions = self._producer.list_topics(topic, timeout=1).topics[topic].partitions or {}
        except KafkaException:
            return problem or f"{self._settings.where} cannot be reached"
        short = [
            f"{len(each.isrs)} of {len(each.replicas)} replicas of partition {number} are in sync"
            for number, each in sorted(partitions.items())
            if len(each.isrs) < len(each.replicas)
        ]
        if short:
            short.append("a message needs as many as its min.insync.replicas")
        found = "; ".join(filter(None, (problem, *short)))
        what = f"{self._settings.where} does not acknowledge a message for {topic}"
        return f"{what}: {found}" if found else what

    def _enqueue(self, outgoing: Collection[OutgoingMessage], delivered: _Delivered) -> None:
        for each in outgoing:
            while True:
                try:
                    self._producer.produce(
                        each.topic, value=each.value, key=each.key, headers=list(each.headers), on_delivery=delivered
                    )
                except BufferError:  # its queue is full
                    self._poll(0.1, each.topic)
                except KafkaException as error:
                    raise self._error_of(each.topic, error.args[0]) from None
                else:
                    break

    def _poll(self, seconds: float, topic: str) -> None:
        try:
            self._producer.poll(seconds)
        except (KafkaException, SystemError) as error:  # the library raises these for a producer that failed for good
            problem = error if isinstance(error, KafkaException) else error.__cause__
            if not isinstance(problem, KafkaException):
                raise
            raise self._error_of(topic, problem.args[0]) from None

    def _error_of(self, topic: str, error: KafkaError) -> FltsError:
        where = self._settings.where
        if error.fatal() or error.code() == KafkaError._FATAL:  # this producer cannot go on
            self._producer = self._open()
        if error.code() in TOO_LARGE:
            return TooLargeError(f"the message is too large for {topic} of {where}: see its max.message.bytes")
        if error.code() in UNKNOWN_TOPIC and self._is_missing(topic):
            return ServiceUnavailableError(f"{where} has no topic {topic}: flts-topics makes it")
        what, permission = f"{where} does not accept a message for {topic}", Permission(TOPIC, topic, WRITE)
        if error.code() in UNKNOWN_TOPIC | NOT_AUTHORIZED:
            return RefusedError(f"{what}: the permission to {permission} is missing")
        problem = request_error(what, error, permission)
        return ServiceUnavailableError(str(problem))

    def _is_missing(self, topic: str) -> bool:
        """Return whether a topic is missing, rather than hidden for want of a permission."""
        try:
            error = self._producer.list_topics(topic, timeout=1).topics[topic].error
        except KafkaException:
            return True
        return error is None or error.code() not in NOT_AUTHORIZED

    def _open(self) -> Producer:
        # Without a time limit, a message waits for as long as no broker can be reached.
        return open_client(
            Producer,
            self._settings,
            self._connection_errors,
            enable_idempotence=True,
            acks="all",
            message_timeout_ms=0,
            message_max_bytes=LARGEST_BYTES,
            linger_ms=0,
            partitioner="murmur2_random",  # as Kafka's Java clients: a key has one partition
        )
