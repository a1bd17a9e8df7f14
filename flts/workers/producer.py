"""Sends messages so that each arrives once and in order, however often the broker goes away meanwhile."""

import time
from collections.abc import Callable, Collection, Sequence

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from flts.errors import FltsError, RefusedError, ServiceUnavailableError
from flts.workers.client import ANSWER_SECONDS, await_brokers, open_client
from flts.workers.kafka_errors import NO_RIGHT, NO_TOPIC, TOO_LARGE, ConnectionErrors, TooLargeError, refusal
from flts.workers.messages import LARGEST_BYTES, OutgoingMessage
from flts.workers.permissions import TOPIC, WRITE, Permission
from flts.workers.settings import KafkaSettings

_Delivered = Callable[[KafkaError | None, Message], None]
# Brokers keep a message on several disks within milliseconds.
SECONDS_TO_ACKNOWLEDGE = 5.0


class MessageProducer:
    """A producer; a broken one is replaced."""

    def __init__(self, settings: KafkaSettings) -> None:
        """Make the producer; it connects when something is sent."""
        self._settings = settings
        self._watched = ConnectionErrors(settings)
        self._producer = self._open()

    def await_brokers(self, seconds: float) -> None:
        """Wait until a broker answers; errors as ``open_admin``."""
        await_brokers(self._producer, self._watched, seconds)

    def send(self, outgoing: Sequence[OutgoingMessage], meanwhile: Callable[[], bool]) -> bool:
        """Send messages and wait until all brokers that keep them have them.

        Args:
            outgoing: The messages.
            meanwhile: Called again and again while there is no answer; false gives up.

        Returns:
            Whether they were sent.

        Raises:
            TooLargeError: One is larger than the client or the broker takes.
            RefusedError: A topic may not be written.
            ServiceUnavailableError: The broker refuses them for another reason, as that a topic is missing.
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
            self._poll(0.02, outgoing[0].topic)
        if refusals:
            raise self._refused(*refusals[0])
        return not pending

    def send_now(self, outgoing: Sequence[OutgoingMessage]) -> None:
        """Send messages as ``send`` does, for a command: brokers that acknowledge none in time are away."""
        deadline = time.monotonic() + ANSWER_SECONDS
        if not self.send(outgoing, lambda: time.monotonic() < deadline):
            raise ServiceUnavailableError(self.stalled(outgoing[0].topic))

    def send_at_once(self, outgoing: OutgoingMessage) -> None:
        """Send a message without waiting for anything; it may get lost."""
        self._hand_over([outgoing], lambda _error, _message: None)
        self._poll(0, outgoing.topic)

    def stalled(self, topic: str) -> str:
        """Return a sentence about why a message is not acknowledged: the library tries for ever, and says nothing."""
        trouble = self._watched.trouble(self._producer)
        try:
            partitions = self._producer.list_topics(topic, timeout=1).topics[topic].partitions or {}
        except KafkaException:
            return trouble or f"{self._settings.where} cannot be reached"
        short = [
            f"{len(each.isrs)} of {len(each.replicas)} replicas of partition {number} are in sync"
            for number, each in sorted(partitions.items())
            if len(each.isrs) < len(each.replicas)
        ]
        if short:
            short.append("a message needs as many as its min.insync.replicas")
        found = "; ".join(filter(None, (trouble, *short)))
        what = f"{self._settings.where} does not acknowledge a message for {topic}"
        return f"{what}: {found}" if found else what

    def _hand_over(self, outgoing: Collection[OutgoingMessage], delivered: _Delivered) -> None:
        for each in outgoing:
            while True:
                try:
                    self._producer.produce(
                        each.topic, value=each.value, key=each.key, headers=list(each.headers), on_delivery=delivered
                    )
                except BufferError:  # its queue is full
                    self._poll(0.1, each.topic)
                except KafkaException as error:
                    raise self._refused(each.topic, error.args[0]) from None
                else:
                    break

    def _poll(self, seconds: float, topic: str) -> None:
        try:
            self._producer.poll(seconds)
        except (KafkaException, SystemError) as error:  # the library's own way to say that this producer is beyond help
            problem = error if isinstance(error, KafkaException) else error.__cause__
            if not isinstance(problem, KafkaException):
                raise
            raise self._refused(topic, problem.args[0]) from None

    def _refused(self, topic: str, error: KafkaError) -> FltsError:
        where = self._settings.where
        if error.fatal() or error.code() == KafkaError._FATAL:  # this producer sends nothing any more
            self._producer = self._open()
        if error.code() in TOO_LARGE:
            return TooLargeError(f"{where} takes no message so large for {topic}: see its max.message.bytes")
        if error.code() in NO_TOPIC and self._is_missing(topic):
            return ServiceUnavailableError(f"{where} has no topic {topic}: flts-topics makes it")
        right = Permission(TOPIC, topic, WRITE)
        if error.code() in NO_TOPIC | NO_RIGHT:
            return RefusedError(f"{where} does not take a message for {topic}: the right is missing to {right}")
        problem = refusal(f"{where} does not take a message for {topic}", error, right)
        return ServiceUnavailableError(str(problem))

    def _is_missing(self, topic: str) -> bool:
        """Tell a topic that there is not from one of which nothing is told."""
        try:
            error = self._producer.list_topics(topic, timeout=1).topics[topic].error
        except KafkaException:
            return True
        return error is None or error.code() not in NO_RIGHT

    def _open(self) -> Producer:
        # Without a limit of time a message waits for the broker for as long as that is away.
        return open_client(
            Producer,
            self._settings,
            self._watched,
            enable_idempotence=True,
            acks="all",
            message_timeout_ms=0,
            message_max_bytes=LARGEST_BYTES,
            linger_ms=0,
            partitioner="murmur2_random",  # as Kafka's own clients: a key's messages keep their order among all
        )
