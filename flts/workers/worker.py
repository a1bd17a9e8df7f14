"""A worker: takes messages from topics, has the stage work on them, sends what comes of it, and only then goes on."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from flts.errors import ServiceUnavailableError
from flts.web.events import say
from flts.workers.child import Announced, Crashed, Dead, Done, Order, Plan, Reply, Waiting
from flts.workers.client import Sender, Watched, received_of
from flts.workers.dead_letters import dead_letter
from flts.workers.job import Job
from flts.workers.liveness import Pulse
from flts.workers.measures import Measures
from flts.workers.messages import Outgoing, Received

_IDLE_SECONDS = 1.0
# Shorter work is not worth pausing for: nobody takes a partition away from a worker that is silent for that long.
_SECONDS_UNTIL_PAUSE = 0.5
_SECONDS_BETWEEN_POLLS = 0.1
_LONGEST_PAUSE = 30.0
_LONGEST_REST = 5.0
_SECONDS_BETWEEN_COMPLAINTS = 60.0

_Partition = tuple[str, int]


@dataclass
class Limits:
    """How long things may take, in seconds.

    Attributes:
        message: Working on a message; 0: as long as it takes.
        finishing: Work that is under way when the worker is told to end.
        leaving: Everything after that.
    """

    message: float = 0
    finishing: float = 15.0
    leaving: float = 5.0


class Worker:
    """One worker of a stage; `run` goes on until `stop`."""

    def __init__(
        self,
        plan: Plan,
        consumer: Consumer,
        sender: Sender,
        watched: Watched,
        measures: Measures,
        pulse: Pulse,
        limits: Limits,
    ) -> None:
        """Put a worker together; it takes nothing before `run`."""
        self._plan = plan
        self._consumer = consumer
        self._sender = sender
        self._watched = watched
        self._measures = measures
        self._pulse = pulse
        self._limits = limits
        self._job = Job(plan)
        self._owned: set[_Partition] = set()
        self._handled: set[_Partition] = set()
        self._stash: list[Received] = []
        self._current: _Partition | None = None
        self._paused = False
        self._stop_at: float | None = None
        self._complained: dict[str, float] = {}

    def stop(self) -> None:
        """End soon: what is worked on may still be finished in a little while."""
        if self._stop_at is None:
            self._stop_at = time.monotonic() + self._limits.finishing

    def run(self) -> None:
        """Work until `stop`; then leave the group."""
        topics = list(self._plan.topics.consumes.values())
        self._consumer.subscribe(topics, on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked)
        self._say("started", f"waiting for messages of {', '.join(topics)}", group=self._plan.topics.group)
        try:
            while self._stop_at is None:
                if received := self._next():
                    self._handle(received)
        finally:
            self._job.stop()
            self._pulse.end()
            self._leave()

    def _leave(self) -> None:
        """Commit and leave the group, unless Kafka is away: then others find out by themselves."""
        leaving = threading.Thread(target=self._consumer.close, daemon=True)
        leaving.start()
        leaving.join(self._limits.leaving)
        left = "left the group" if not leaving.is_alive() else "Kafka did not answer any more"
        self._say("ended", left)

    # What comes

    def _next(self) -> Received | None:
        if self._stash:
            return self._stash.pop(0)
        self._resume()
        return self._poll(_IDLE_SECONDS)

    def _poll(self, seconds: float) -> Received | None:
        """Talk to Kafka, and return a message if one came; partitions come and go in here."""
        self._pulse.beat()
        message = self._consumer.poll(seconds)
        if message is None:
            if trouble := self._watched.trouble():
                self._complain(trouble)
            return None
        error = message.error()
        if error is None:
            return received_of(message)
        if error.fatal():  # this consumer takes nothing any more: whoever runs the worker starts it again
            raise KafkaException(error)
        if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            self._complain(f"there is no topic {message.topic() or ''}: flts-topics makes it")
        elif error.code() != KafkaError._PARTITION_EOF:
            self._complain(" ".join(error.str().split()))
        return None

    def _poll_meanwhile(self, seconds: float) -> None:
        """Talk to Kafka while a message is worked on, which may take long: others are not taken meanwhile."""
        self._pause()
        if received := self._poll(seconds):
            self._stash.append(received)  # it was on its way

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        consumer.incremental_assign(partitions)
        self._owned |= {(each.topic, each.partition) for each in partitions}
        self._say_partitions("assigned", partitions)
        if partitions:  # one that was paused when it went away is still so when it comes again
            (consumer.pause if self._paused else consumer.resume)(partitions)

    def _revoked(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Give partitions up: work on a message of theirs ends before another worker can begin it."""
        gone = {(each.topic, each.partition) for each in partitions}
        self._owned -= gone
        self._say_partitions("revoked", partitions)
        self._handled -= gone
        self._stash = [each for each in self._stash if (each.topic, each.partition) not in gone]
        for topic, partition in gone:
            self._measures.lag(topic, partition, None)
        if self._current in gone:
            self._current = None  # also when the partition comes back at once: then the message comes again
            self._job.stop()

    def _say_partitions(self, event: str, partitions: list[TopicPartition]) -> None:
        if partitions:
            self._say(event, ", ".join(f"{each.topic} {each.partition}" for each in partitions))

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            if assignment := self._consumer.assignment():
                self._consumer.pause(assignment)

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            if assignment := self._consumer.assignment():
                self._consumer.resume(assignment)

    # What is done with it

    def _handle(self, received: Received) -> None:
        self._current = (received.topic, received.partition)
        begun = time.monotonic()
        waited = time.time() - received.timestamp / 1000 if received.timestamp else None
        self._measures.begun(waited)
        self._say("received", received.place, waited_seconds=round(waited, 3) if waited is not None else None)
        try:
            reply = self._work(received)
            if reply is None:
                self._say("abandoned", f"{received.place}: it is another worker's now, or this one ends")
                return
            if isinstance(reply, Dead):
                outgoing: Sequence[Outgoing] = [dead_letter(received, self._plan.stage, self._plan.topics, reply)]
            else:
                outgoing = reply.outgoing
            if not self._send(outgoing):
                return
            self._finish(received, reply, time.monotonic() - begun)
        finally:
            self._current = None
            self._measures.busy.set(0)

    def _work(self, received: Received) -> Done | Dead | None:
        """Have a message worked on until there is something to show for it; ``None`` when it may no longer be."""
        crash, pause = "", 1.0
        first = self._current not in self._handled
        while self._may_work():
            self._job.start(Order(received, first, crash))
            reply = self._await_reply()
            if reply is None or isinstance(reply, Done | Dead):
                return reply
            crash = reply.reason if isinstance(reply, Crashed) else ""
            if isinstance(reply, Waiting):
                self._wait_for_service(reply.reason, pause)
            else:
                self._measures.failed(received.topic, "crash" if crash else "error")
                self._say("failed", f"{received.place}: {reply.reason}", "warning")
                self._rest(min(pause, _LONGEST_REST))
            pause = min(2 * pause, _LONGEST_PAUSE)
            if self._stop_at is not None:
                break
        return None

    def _await_reply(self) -> Reply | None:
        begun = time.monotonic()
        while self._may_work():
            wait = _SECONDS_BETWEEN_POLLS if self._paused else _SECONDS_UNTIL_PAUSE
            word = self._job.wait(wait)
            if isinstance(word, Announced):
                self._announce(word.outgoing)
            elif word is not None:
                return word
            else:
                self._poll_meanwhile(0)
            if self._limits.message and time.monotonic() - begun > self._limits.message:
                self._job.stop()
                return Crashed(f"it took longer than {self._limits.message:g} seconds")
        self._job.stop()
        return None

    def _may_work(self) -> bool:
        """Tell whether the message at hand is still this worker's to work on, and there is time for it."""
        ending = self._stop_at is not None and time.monotonic() >= self._stop_at
        return self._current in self._owned and not ending

    def _wait_for_service(self, reason: str, seconds: float) -> None:
        self._measures.paused.set(1)
        self._complain(f"waiting, because {reason}")
        self._rest(seconds)
        self._measures.paused.set(0)

    def _rest(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and self._may_work() and self._stop_at is None:
            self._poll_meanwhile(min(left, _SECONDS_BETWEEN_POLLS))

    # What comes of it

    def _announce(self, outgoing: Outgoing) -> None:
        try:
            self._sender.send_at_once(outgoing)
        except ServiceUnavailableError as error:
            self._complain(str(error))

    def _send(self, outgoing: Sequence[Outgoing]) -> bool:
        """Send messages, for as long as it takes; false when the worker ends or lost the partition before."""
        last_poll = time.monotonic()

        def meanwhile() -> bool:
            nonlocal last_poll
            if time.monotonic() - last_poll > _SECONDS_UNTIL_PAUSE:
                last_poll = time.monotonic()
                self._poll_meanwhile(0)
            return self._may_work()

        pause = 1.0
        while self._may_work():
            try:
                return self._sender.send(outgoing, meanwhile)
            except ServiceUnavailableError as error:
                self._wait_for_service(str(error), pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            if self._stop_at is not None:
                break
        return False

    def _finish(self, received: Received, reply: Done | Dead, seconds: float) -> None:
        """Let the offset be committed: whatever was to be kept is kept."""
        try:
            self._consumer.store_offsets(
                offsets=[TopicPartition(received.topic, received.partition, received.offset + 1)]
            )
        except KafkaException:  # the partition is another worker's now, who does it again, to the same effect
            return
        if self._current:
            self._handled.add(self._current)
        if isinstance(reply, Dead):
            self._measures.failed(received.topic, "bad_message" if reply.bad else "attempts")
            self._measures.dead(received.topic)
            topic = self._plan.topics.dead_letters[received.topic]
            self._say("dead_letter", f"{received.place} went to {topic}: {reply.reason}", "error", tries=reply.tries)
        else:
            self._measures.handled(received.topic, seconds)
            self._say("handled", received.place, seconds=round(seconds, 3), sent=len(reply.outgoing))
        self._measure_lag(received)

    def _measure_lag(self, received: Received) -> None:
        partition = TopicPartition(received.topic, received.partition)
        _, end = self._consumer.get_watermark_offsets(partition, cached=True)
        if end >= 0:
            self._measures.lag(received.topic, received.partition, max(0, end - received.offset - 1))

    def _complain(self, sentence: str) -> None:
        """Say what is wrong, once a minute."""
        now = time.monotonic()
        if now - self._complained.get(sentence, float("-inf")) >= _SECONDS_BETWEEN_COMPLAINTS:
            self._complained[sentence] = now
            self._say("waiting", sentence, "warning")

    def _say(self, event: str, message: str, level: str = "info", **fields: object) -> None:
        say(f"flts-{self._plan.stage}", event, message, level, **fields)
