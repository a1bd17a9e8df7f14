"""The consumer of a worker: its partitions, their messages, and the offsets that are handled."""

from collections.abc import Callable

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from flts.errors import BadInputError, ServiceUnavailableError
from flts.workers.client import received_of
from flts.workers.kafka_errors import NOT_AUTHORIZED, ConnectionErrors, plain_text, request_error
from flts.workers.liveness import Heartbeat
from flts.workers.messages import ReceivedMessage
from flts.workers.metrics import WorkerMetrics
from flts.workers.permissions import GROUP, READ, TOPIC, Permission
from flts.workers.settings import KafkaSettings, Topics

Partition = tuple[str, int]
# Errors of a worker whose membership brokers refuse, and the variable that causes each.
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
        connection_errors: ConnectionErrors,
        metrics: WorkerMetrics,
        heartbeat: Heartbeat,
        log_event: Callable[..., None],
        warn: Callable[[str], None],
    ) -> None:
        """Prepare to receive messages.

        Args:
            consumer: The consumer.
            topics: What it reads, and in which group.
            settings: How to reach Kafka.
            connection_errors: Collects the errors of its connections.
            metrics: Counts lag and losses.
            heartbeat: Called while the worker lives.
            log_event: Writes an event: its kind, a sentence and a level.
            warn: Writes a warning, the same one at most once a minute.
        """
        self._consumer = consumer
        self._topics = topics
        self._settings = settings
        self._connection_errors = connection_errors
        self._metrics = metrics
        self._heartbeat = heartbeat
        self._log_event = log_event
        self._warn = warn
        self._fetched: list[ReceivedMessage] = []
        self._ends: dict[Partition, int] = {}
        self._paused = False
        self.owned: set[Partition] = set()
        self.in_progress: Partition | None = None

    def subscribe(self, revoked: Callable[[set[Partition]], None]) -> None:
        """Join the group; ``revoked`` is called with partitions before other workers get them."""

        def on_revoke(_consumer: Consumer, partitions: list[TopicPartition]) -> None:
            gone = {(each.topic, each.partition) for each in partitions}
            self._log_partitions("revoked", partitions)
            self._drop(gone)
            revoked(gone)

        names = list(self._topics.consumes.values())
        self._consumer.subscribe(names, on_assign=self._assigned, on_revoke=on_revoke, on_lost=on_revoke)
        self._log_event("started", f"waiting for messages of {', '.join(names)}", group=self._topics.group)

    def close(self) -> None:
        """Commit what is handled, and leave the group."""
        self._heartbeat.end()
        self._consumer.close()

    def next(self, seconds: float) -> ReceivedMessage | None:
        """Return the next message, ``None`` if none comes in time.

        Raises:
            BadInputError: Brokers refuse a setting.
            ServiceUnavailableError: This consumer cannot go on; the worker has to be started again.
        """
        if self._fetched:
            return self._fetched.pop(0)
        if self._paused:
            self._paused = False
            if assignment := self._consumer.assignment():
                self._consumer.resume(assignment)
        return self._poll(seconds)

    def keep_alive(self, seconds: float) -> None:
        """Stay in the group during long work, without receiving more messages; errors as ``next``."""
        if not self._paused:
            self._paused = True
            if assignment := self._consumer.assignment():
                self._consumer.pause(assignment)
        if received := self._poll(seconds):
            self._fetched.append(received)  # fetched before the pause

    def handled(self, received: ReceivedMessage) -> bool:
        """Have a message's offset committed; return false if another worker has the partition now."""
        place = (received.topic, received.partition)
        if not self._store(place, received.offset + 1):
            return False
        self.in_progress = None
        if not self._commit_end(place):
            _, end = self._consumer.get_watermark_offsets(TopicPartition(*place), cached=True)
            self._metrics.lag(*place, max(0, end - received.offset - 1))
        return True

    def _poll(self, seconds: float) -> ReceivedMessage | None:
        self._heartbeat.beat()
        message = self._consumer.poll(seconds)
        error = message.error() if message else None
        if message is None:
            problem = self._connection_errors.problem(self._consumer)
            self._metrics.set_waiting("kafka", self._connection_errors.away)
            if problem:
                self._warn(problem)
        elif error is None:
            self._metrics.set_waiting("kafka", False)
            received = received_of(message)
            self._ends.pop((received.topic, received.partition), None)
            return received
        elif error.code() == KafkaError._PARTITION_EOF:
            self._reached_end(message)
        elif error.code() == KafkaError._AUTO_OFFSET_RESET:
            self._restart_partition(message)
        else:
            self._handle_error(message, error)
        return None

    def _handle_error(self, message: Message, error: KafkaError) -> None:
        where = self._settings.where
        fatal = error.fatal() or error.code() == KafkaError._FATAL
        for code, name in _SETTINGS.items():
            if code == error.code() or (fatal and KafkaError(code).str() in error.str()):
                value = getattr(self._settings, name.lower())
                raise BadInputError(f"environment variable {name} is {value}: {where} says {plain_text(error)}")
        if fatal:
            raise ServiceUnavailableError(f"{where} ended this worker's membership in its group: {plain_text(error)}")
        if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            self._warn(f"there is no topic {message.topic() or ''}: flts-topics makes it")
        elif error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
            self._warn(
                str(request_error(f"{where} gives no messages", error, Permission(GROUP, self._topics.group, READ)))
            )
        elif error.code() in NOT_AUTHORIZED:
            names = [message.topic()] if message.topic() else self._topics.consumes.values()
            permissions_of = " and ".join(str(Permission(TOPIC, topic or "", READ)) for topic in names)
            self._warn(str(request_error(f"{where} gives no messages", error, permissions_of)))
        else:
            self._warn(f"{where} says {plain_text(error)}")

    # Partitions

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        consumer.incremental_assign(partitions)
        self.owned |= {(each.topic, each.partition) for each in partitions}
        self._log_partitions("assigned", partitions)
        if partitions:  # a partition that was paused when it was revoked is still paused when it is assigned again
            (consumer.pause if self._paused else consumer.resume)(partitions)

    def _drop(self, gone: set[Partition]) -> None:
        self.owned -= gone
        if self.in_progress in gone:
            self.in_progress = None  # even if the partition comes back at once: then its message comes again
        self._fetched = [each for each in self._fetched if (each.topic, each.partition) not in gone]
        for topic, partition in gone:
            self._ends.pop((topic, partition), None)
            self._metrics.lag(topic, partition, None)

    def _log_partitions(self, event: str, partitions: list[TopicPartition]) -> None:
        if partitions:
            self._log_event(event, ", ".join(f"{each.topic} {each.partition}" for each in partitions))

    def _reached_end(self, message: Message) -> None:
        """Record that a partition has no further message.

        Transactional producers write markers after the last message. They are committed as handled; otherwise they
        would count as messages that wait.
        """
        place = (message.topic() or "", message.partition() or 0)
        self._ends[place] = message.offset() or 0
        self._commit_end(place)

    def _commit_end(self, place: Partition) -> bool:
        """Commit a partition's end if everything before it is handled; return whether it is."""
        end = self._ends.get(place)
        busy = place == self.in_progress or any((each.topic, each.partition) == place for each in self._fetched)
        if end is None or busy or not self._store(place, end):
            return False
        self._metrics.lag(*place, 0)
        return True

    def _store(self, place: Partition, offset: int) -> bool:
        try:
            self._consumer.store_offsets(offsets=[TopicPartition(*place, offset)])
        except KafkaException:
            return False
        return True

    def _restart_partition(self, message: Message) -> None:
        """Go on with a partition's first message: its group has no offset yet, or one whose message was deleted."""
        place = (message.topic() or "", message.partition() or 0)
        partition = TopicPartition(*place)
        expected = message.offset()
        if expected is not None and expected >= 0:
            try:
                first, _ = self._consumer.get_watermark_offsets(partition, timeout=_SECONDS_TO_ANSWER)
            except KafkaException:
                first = expected
            self._log_lost(place, expected, first)
        self._ends.pop(place, None)
        self._consumer.incremental_unassign([partition])
        self._consumer.incremental_assign([TopicPartition(*place, OFFSET_BEGINNING)])
        if self._paused:
            self._consumer.pause([partition])

    def _log_lost(self, place: Partition, expected: int, first: int) -> None:
        topic, partition = place
        if first > expected:
            count = first - expected
            self._metrics.lost(topic, count)
            text = f"offsets {expected} to {first - 1} of {topic} {partition} were deleted before they were read"
            self._log_event("lost", f"{text}: see its retention.ms", "warning", messages=count)
        else:
            text = f"{topic} {partition} ends before offset {expected}, where its group was: the topic was made again"
            self._log_event("lost", f"{text}, and is read from its beginning", "warning", messages=0)
