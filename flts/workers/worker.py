"""The worker of a stage: receives messages, has the stage handle them, sends the results, and then commits."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from flts.errors import RefusedError, ServiceUnavailableError
from flts.observability.events import log_event
from flts.workers.consumer import MessageConsumer, Partition
from flts.workers.dead_letters import dead_letter
from flts.workers.kafka_errors import TooLargeError
from flts.workers.messages import OutgoingMessage, ReceivedMessage
from flts.workers.metrics import WorkerMetrics
from flts.workers.outcomes import Announced, Completed, Crashed, DeadLettered, Postponed, Reply, WorkItem
from flts.workers.process import WorkerProcess
from flts.workers.producer import SECONDS_TO_ACKNOWLEDGE, MessageProducer
from flts.workers.worker_process import WorkerSpec

_IDLE_SECONDS = 1.0
# Kafka takes no partition away from a worker that is silent for so short a time.
_SECONDS_UNTIL_PAUSE = 0.5
_SECONDS_BETWEEN_POLLS = 0.1
_LONGEST_SERVICE_WAIT_SECONDS = 30.0
_LONGEST_RETRY_WAIT_SECONDS = 5.0
_SECONDS_BETWEEN_WARNINGS = 60.0


class WorkerLog:
    """The log of a worker."""

    def __init__(self, stage: str) -> None:
        """Name the service that the lines come from."""
        self._service = f"flts-{stage}"
        self._last_warnings: dict[str, float] = {}

    def event(self, event: str, message: str, level: str = "info", **fields: object) -> None:
        """Write an event."""
        log_event(self._service, event, message, level, **fields)

    def warn(self, sentence: str | Callable[[], str], about: str = "") -> None:
        """Write a warning, the same one at most once a minute.

        Args:
            sentence: The warning, or a function that returns it and is called only when it is written.
            about: The subject that makes two warnings the same; by default the sentence.
        """
        now = time.monotonic()
        matter = about or str(sentence)
        if now - self._last_warnings.get(matter, float("-inf")) >= _SECONDS_BETWEEN_WARNINGS:
            self._last_warnings[matter] = now
            self.event("waiting", sentence if isinstance(sentence, str) else sentence(), "warning")


@dataclass
class TimeLimits:
    """Limits of a worker, in seconds.

    Attributes:
        message: For the work on a message; 0: no limit.
        finishing: For the work in progress when the worker is stopped.
        leaving: For everything after that.
    """

    message: float = 0
    finishing: float = 15.0
    leaving: float = 5.0


class Worker:
    """A worker of a stage; ``run`` returns after ``stop``."""

    def __init__(
        self,
        spec: WorkerSpec,
        consumer: MessageConsumer,
        producer: MessageProducer,
        metrics: WorkerMetrics,
        limits: TimeLimits,
        log: WorkerLog,
    ) -> None:
        """Prepare a worker; it receives nothing before ``run``."""
        self._spec = spec
        self._consumer = consumer
        self._producer = producer
        self._metrics = metrics
        self._limits = limits
        self._log = log
        self._process = WorkerProcess(spec)
        self._working_on: Partition | None = None
        self._handled: set[Partition] = set()
        self._stop_at: float | None = None

    def stop(self) -> None:
        """Make ``run`` return soon; work in progress has the time of ``TimeLimits.finishing``."""
        if self._stop_at is None:
            self._stop_at = time.monotonic() + self._limits.finishing

    def run(self) -> None:
        """Work until ``stop``; then leave the group."""
        self._consumer.subscribe(self._revoked)
        try:
            while self._stop_at is None:
                if received := self._consumer.next(_IDLE_SECONDS):
                    self._handle(received)
        finally:
            self._process.stop()
            self._leave()

    def _leave(self) -> None:
        """Commit and leave the group; without an answer of Kafka, the group notices by the session timeout."""
        leaving = threading.Thread(target=self._consumer.close, daemon=True)
        leaving.start()
        leaving.join(self._limits.leaving)
        left = "left the group" if not leaving.is_alive() else "ended without leaving the group: Kafka did not answer"
        self._log.event("ended", left)

    def _revoked(self, partitions: set[Partition]) -> None:
        """End work on messages of revoked partitions before another worker can begin it."""
        self._handled -= partitions
        if self._working_on in partitions:
            self._process.stop()

    # Handling of a message

    def _handle(self, received: ReceivedMessage) -> None:
        place = (received.topic, received.partition)
        self._consumer.in_progress = self._working_on = place
        started = time.monotonic()
        waited = time.time() - received.timestamp / 1000 if received.timestamp else None
        self._metrics.started(waited)
        seconds = round(waited, 3) if waited is not None else None
        self._log.event("received", received.place, waited_seconds=seconds)
        try:
            reply = self._work(received)
            if reply is None:
                self._log.event("abandoned", f"{received.place}: its partition was revoked, or this worker ends")
            elif sent := self._send_all(received, reply):
                self._finish(received, sent, time.monotonic() - started)
        finally:
            self._consumer.in_progress = self._working_on = None
            self._metrics.busy.set(0)
            self._metrics.set_waiting("service", False)

    def _work(
        self, received: ReceivedMessage, letter: OutgoingMessage | None = None
    ) -> Completed | DeadLettered | None:
        """Have the process work on a message until it is done; return ``None`` if the worker has to stop before.

        With ``letter``, its dead letter that was too large for the topic, the letter is cut instead.
        """
        crash, pause = "", 1.0
        first = self._consumer.in_progress not in self._handled
        while self._may_work():
            self._process.start(WorkItem(received, first, crash, letter))
            reply = self._await_reply()
            if reply is None or isinstance(reply, Completed | DeadLettered):
                return reply
            crash = reply.reason if isinstance(reply, Crashed) else ""
            if isinstance(reply, Postponed):
                self._wait_for_service(reply.reason, pause)
            else:
                self._metrics.failed(received.topic, "crash" if crash else "error")
                self._log.event("failed", f"{received.place}: {reply.reason}", "warning")
                self._pause(min(pause, _LONGEST_RETRY_WAIT_SECONDS))
            pause = min(2 * pause, _LONGEST_SERVICE_WAIT_SECONDS)
            if self._stop_at is not None:
                break
        return None

    def _await_reply(self) -> Reply | None:
        started, wait = time.monotonic(), _SECONDS_UNTIL_PAUSE
        while self._may_work():
            reply = self._process.wait(wait)
            if isinstance(reply, Announced):
                self._announce(reply.outgoing)
            elif reply is not None:
                return reply
            else:
                self._consumer.keep_alive(0)
                wait = _SECONDS_BETWEEN_POLLS
            if self._limits.message and time.monotonic() - started > self._limits.message:
                self._process.stop()
                return Crashed(f"it took longer than {self._limits.message:g} seconds")
        self._process.stop()
        return None

    def _may_work(self) -> bool:
        """Return whether the worker still has the message's partition, and time to work on it."""
        ending = self._stop_at is not None and time.monotonic() >= self._stop_at
        return self._consumer.in_progress in self._consumer.owned and not ending

    def _wait_for_service(self, reason: str, seconds: float) -> None:
        self._metrics.set_waiting("service", True)
        self._log.warn(f"waiting, because {reason}")
        self._pause(seconds)
        self._metrics.set_waiting("service", False)

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and self._may_work() and self._stop_at is None:
            self._consumer.keep_alive(min(left, _SECONDS_BETWEEN_POLLS))

    # Results

    def _announce(self, outgoing: OutgoingMessage) -> None:
        try:
            self._producer.send_unacknowledged(outgoing)
        except (RefusedError, ServiceUnavailableError, TooLargeError) as error:
            self._log.warn(str(error))

    def _send_all(self, received: ReceivedMessage, reply: Completed | DeadLettered) -> Completed | DeadLettered | None:
        """Send the result of a message, or its dead letter; return the one that was sent, ``None`` for neither."""
        if isinstance(reply, Completed):
            try:
                return reply if self._send(reply.outgoing) else None
            except TooLargeError as error:
                reply = DeadLettered(str(error), 1, invalid=True)
        letter = dead_letter(received, self._spec.stage, self._spec.topics, reply)
        try:
            return reply if self._send([letter]) else None
        except TooLargeError:
            kept = self._work(received, letter)
        return reply if isinstance(kept, Completed) and self._send(kept.outgoing) else None

    def _send(self, outgoing: Sequence[OutgoingMessage]) -> bool:
        """Send messages, however long it takes; return false if the worker has to stop before.

        Raises:
            TooLargeError: One is larger than its topic takes.
        """
        started = last_poll = time.monotonic()
        topic = outgoing[0].topic if outgoing else ""

        def keep_waiting() -> bool:
            nonlocal last_poll
            now = time.monotonic()
            if now - last_poll > _SECONDS_UNTIL_PAUSE:
                last_poll = now
                self._consumer.keep_alive(0)
            if now - started > SECONDS_TO_ACKNOWLEDGE:
                self._metrics.set_waiting("service", True)
                self._log.warn(lambda: f"waiting, because {self._producer.stall_reason(topic)}", about=topic)
            return self._may_work()

        pause = 1.0
        while self._may_work():
            try:
                return self._producer.send(outgoing, keep_waiting)
            except (RefusedError, ServiceUnavailableError) as error:
                self._wait_for_service(str(error), pause)
                pause = min(2 * pause, _LONGEST_SERVICE_WAIT_SECONDS)
            if self._stop_at is not None:
                break
        return False

    def _finish(self, received: ReceivedMessage, reply: Completed | DeadLettered, seconds: float) -> None:
        """Have the offset committed, now that the results are durable."""
        place = self._working_on
        if not self._consumer.handled(received):  # another worker has the partition, and does the same again
            return
        if place:
            self._handled.add(place)
        if isinstance(reply, DeadLettered):
            self._metrics.failed(received.topic, "bad_message" if reply.invalid else "attempts")
            self._metrics.dead_lettered(received.topic)
            topic = self._spec.topics.dead_letters[received.topic]
            text = f"{received.place} went to {topic}: {reply.reason}"
            self._log.event("dead_letter", text, "error", tries=reply.attempts)
        else:
            self._metrics.handled(received.topic, seconds)
            self._log.event("handled", received.place, seconds=round(seconds, 3), sent=len(reply.outgoing))
