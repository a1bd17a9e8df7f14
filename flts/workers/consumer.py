"""What comes to a worker: its partitions, the messages of them, and how far each is handled."""

from collections.abc import Callable

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from flts.errors import BadInputError, ServiceUnavailableError
from flts.workers.client import received_of
from flts.workers.kafka_errors import NO_RIGHT, ConnectionErrors, plain_text, refusal
from flts.workers.liveness import Heartbeat
from flts.workers.messages import ReceivedMessage
from flts.workers.metrics import WorkerMetrics
from flts.workers.permissions import GROUP, READ, TOPIC, Permission
from flts.workers.settings import KafkaSettings, Topics

Partition = tuple[str, int]
# What Kafka says of a worker that takes part in its group in a way that brokers do not take, and whose setting it is.
_SETTINGS = {
    KafkaError.INVALID_SESSION_TIMEOUT: "KAFKA_SESSION_TIMEOUT_MS",
    KafkaError.FENCED_INSTANCE_ID: "KAFKA_GROUP_INSTANCE_ID",
    KafkaError.UNRELEASED_INSTANCE_ID: "KAFKA_GROUP_INSTANCE_ID",
    KafkaError._UNSUPPORTED_FEATURE: "KAFKA_GROUP_PROTOCOL",
}
_SECONDS_TO_ANSWER = 5.0


class MessageConsumer:
    """A consumer that is a member of its group; partitions come and go while it is polled."""

    def __init__(
        self,
        consumer: Consumer,
        topics: Topics,
        settings: KafkaSettings,
        watched: ConnectionErrors,
        measures: WorkerMetrics,
        pulse: Heartbeat,
        say: Callable[..., None],
        complain: Callable[[str], None],
    ) -> None:
        """Prepare to take messages.

        Args:
            consumer: The consumer.
            topics: What it reads, and in which group.
            settings: Where.
            watched: What goes wrong with its connections.
            measures: Where lag and losses are counted.
            pulse: Told that the worker lives.
            say: Writes an event: its kind, a sentence, a level.
            complain: Writes a sentence on what is wrong, once a minute.
        """
        self._consumer = consumer
        self._topics = topics
        self._settings = settings
        self._watched = watched
        self._measures = measures
        self._pulse = pulse
        self._say = say
        self._complain = complain
        self._stash: list[ReceivedMessage] = []
        self._ends: dict[Partition, int] = {}
        self._paused = False
        self.owned: set[Partition] = set()
        self.at_work: Partition | None = None

    def subscribe(self, lost: Callable[[set[Partition]], None]) -> None:
        """Join the group; ``lost`` is told of partitions before others get them."""

        def revoked(_consumer: Consumer, partitions: list[TopicPartition]) -> None:
            gone = {(each.topic, each.partition) for each in partitions}
            self._say_partitions("revoked", partitions)
            self._forget(gone)
            lost(gone)

        names = list(self._topics.consumes.values())
        self._consumer.subscribe(names, on_assign=self._assigned, on_revoke=revoked, on_lost=revoked)
        self._say("started", f"waiting for messages of {', '.join(names)}", group=self._topics.group)

    def close(self) -> None:
        """Commit what is handled, and leave the group."""
        self._pulse.end()
        self._consumer.close()

    def next(self, seconds: float) -> ReceivedMessage | None:
        """Return the next message, ``None`` where none comes in time.

        Raises:
            BadInputError: Brokers do not take a setting.
            ServiceUnavailableError: This consumer is beyond help; whoever runs the worker starts it again.
        """
        if self._stash:
            return self._stash.pop(0)
        if self._paused:
            self._paused = False
            if assignment := self._consumer.assignment():
                self._consumer.resume(assignment)
        return self._poll(seconds)

    def meanwhile(self, seconds: float) -> None:
        """Talk to Kafka while a message is worked on, which may take long; errors as ``next``."""
        if not self._paused:
            self._paused = True
            if assignment := self._consumer.assignment():
                self._consumer.pause(assignment)
        if received := self._poll(seconds):
            self._stash.append(received)  # it was on its way

    def handled(self, received: ReceivedMessage) -> bool:
        """Have the offset committed; false where the partition is another worker's now, who does it all again."""
        place = (received.topic, received.partition)
        if not self._store(place, received.offset + 1):
            return False
        self.at_work = None
        if not self._settle(place):
            _, end = self._consumer.get_watermark_offsets(TopicPartition(*place), cached=True)
            self._measures.lag(*place, max(0, end - received.offset - 1))
        return True

    def _poll(self, seconds: float) -> ReceivedMessage | None:
        self._pulse.beat()
        message = self._consumer.poll(seconds)
        error = message.error() if message else None
        if message is None:
            trouble = self._watched.trouble(self._consumer)
            self._measures.waits("kafka", self._watched.away)
            if trouble:
                self._complain(trouble)
        elif error is None:
            self._measures.waits("kafka", False)
            received = received_of(message)
            self._ends.pop((received.topic, received.partition), None)
            return received
        elif error.code() == KafkaError._PARTITION_EOF:
            self._ended(message)
        elif error.code() == KafkaError._AUTO_OFFSET_RESET:
            self._begin_again(message)
        else:
            self._refused(message, error)
        return None

    def _refused(self, message: Message, error: KafkaError) -> None:
        where = self._settings.where
        fatal = error.fatal() or error.code() == KafkaError._FATAL
        for code, name in _SETTINGS.items():
            if code == error.code() or (fatal and KafkaError(code).str() in error.str()):
                value = getattr(self._settings, name.lower())
                raise BadInputError(f"environment variable {name} is {value}: {where} says {plain_text(error)}")
        if fatal:
            raise ServiceUnavailableError(f"{where} ends this worker's part in its group: {plain_text(error)}")
        if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            self._complain(f"there is no topic {message.topic() or ''}: flts-topics makes it")
        elif error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
            self._complain(
                str(refusal(f"{where} gives no messages", error, Permission(GROUP, self._topics.group, READ)))
            )
        elif error.code() in NO_RIGHT:
            names = [message.topic()] if message.topic() else self._topics.consumes.values()
            rights = " and ".join(str(Permission(TOPIC, topic or "", READ)) for topic in names)
            self._complain(str(refusal(f"{where} gives no messages", error, rights)))
        else:
            self._complain(f"{where} says {plain_text(error)}")

    # Partitions

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        consumer.incremental_assign(partitions)
        self.owned |= {(each.topic, each.partition) for each in partitions}
        self._say_partitions("assigned", partitions)
        if partitions:  # one that was paused when it went away is still so when it comes again
            (consumer.pause if self._paused else consumer.resume)(partitions)

    def _forget(self, gone: set[Partition]) -> None:
        self.owned -= gone
        if self.at_work in gone:
            self.at_work = None  # also when the partition comes back at once: then the message comes again
        self._stash = [each for each in self._stash if (each.topic, each.partition) not in gone]
        for topic, partition in gone:
            self._ends.pop((topic, partition), None)
            self._measures.lag(topic, partition, None)

    def _say_partitions(self, event: str, partitions: list[TopicPartition]) -> None:
        if partitions:
            self._say(event, ", ".join(f"{each.topic} {each.partition}" for each in partitions))

    def _ended(self, message: Message) -> None:
        """Note that nothing more is in a partition: what stands between its last message and its end is no message.

        Transactional producers write markers there. They are committed as handled, so that nothing seems to wait.
        """
        place = (message.topic() or "", message.partition() or 0)
        self._ends[place] = message.offset() or 0
        self._settle(place)

    def _settle(self, place: Partition) -> bool:
        """Commit a partition's end if there is nothing before it that is not handled, and tell whether it is so."""
        end = self._ends.get(place)
        busy = place == self.at_work or any((each.topic, each.partition) == place for each in self._stash)
        if end is None or busy or not self._store(place, end):
            return False
        self._measures.lag(*place, 0)
        return True

    def _store(self, place: Partition, offset: int) -> bool:
        try:
            self._consumer.store_offsets(offsets=[TopicPartition(*place, offset)])
        except KafkaException:
            return False
        return True

    def _begin_again(self, message: Message) -> None:
        """Go on with a partition's first message: its group has no place in it yet, or what stood there is gone."""
        place = (message.topic() or "", message.partition() or 0)
        partition = TopicPartition(*place)
        expected = message.offset()
        if expected is not None and expected >= 0:
            try:
                first, _ = self._consumer.get_watermark_offsets(partition, timeout=_SECONDS_TO_ANSWER)
            except KafkaException:
                first = expected
            self._say_lost(place, expected, first)
        self._ends.pop(place, None)
        self._consumer.incremental_unassign([partition])
        self._consumer.incremental_assign([TopicPartition(*place, OFFSET_BEGINNING)])
        if self._paused:
            self._consumer.pause([partition])

    def _say_lost(self, place: Partition, expected: int, first: int) -> None:
        topic, partition = place
        if first > expected:
            count = first - expected
            self._measures.lost(topic, count)
            text = f"offsets {expected} to {first - 1} of {topic} {partition} were deleted before they were read"
            self._say("lost", f"{text}: see its retention.ms", "warning", messages=count)
        else:
            text = f"{topic} {partition} ends before offset {expected}, where its group was: it was made again"
            self._say("lost", f"{text}, and is read from its beginning", "warning", messages=0)
