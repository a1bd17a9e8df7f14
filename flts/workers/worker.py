"""A worker: takes messages from topics, has the stage work on them, sends what comes of it, and only then goes on."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from flts.errors import RefusedError, ServiceUnavailableError
from flts.observability.events import say
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
# Shorter work is not worth pausing for: nobody takes a partition away from a worker that is silent for that long.
_SECONDS_UNTIL_PAUSE = 0.5
_SECONDS_BETWEEN_POLLS = 0.1
_LONGEST_PAUSE = 30.0
_LONGEST_REST = 5.0
_SECONDS_BETWEEN_COMPLAINTS = 60.0


class WorkerLog:
    """What a worker writes to its log."""

    def __init__(self, stage: str) -> None:
        """Begin with nothing said."""
        self._service = f"flts-{stage}"
        self._complained: dict[str, float] = {}

    def say(self, event: str, message: str, level: str = "info", **fields: object) -> None:
        """Write an event."""
        say(self._service, event, message, level, **fields)

    def complain(self, sentence: str | Callable[[], str], about: str = "") -> None:
        """Write what is wrong, once a minute; what takes time to find out is found ``about`` a thing once a minute."""
        now = time.monotonic()
        matter = about or str(sentence)
        if now - self._complained.get(matter, float("-inf")) >= _SECONDS_BETWEEN_COMPLAINTS:
            self._complained[matter] = now
            self.say("waiting", sentence if isinstance(sentence, str) else sentence(), "warning")


@dataclass
class TimeLimits:
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
        spec: WorkerSpec,
        intake: MessageConsumer,
        sender: MessageProducer,
        measures: WorkerMetrics,
        limits: TimeLimits,
        told: WorkerLog,
    ) -> None:
        """Put a worker together; it takes nothing before `run`."""
        self._spec = spec
        self._intake = intake
        self._sender = sender
        self._measures = measures
        self._limits = limits
        self._told = told
        self._job = WorkerProcess(spec)
        self._working_on: Partition | None = None
        self._handled: set[Partition] = set()
        self._stop_at: float | None = None

    def stop(self) -> None:
        """End soon: what is worked on may still be finished in a little while."""
        if self._stop_at is None:
            self._stop_at = time.monotonic() + self._limits.finishing

    def run(self) -> None:
        """Work until `stop`; then leave the group."""
        self._intake.subscribe(self._lost)
        try:
            while self._stop_at is None:
                if received := self._intake.next(_IDLE_SECONDS):
                    self._handle(received)
        finally:
            self._job.stop()
            self._leave()

    def _leave(self) -> None:
        """Commit and leave the group, unless Kafka is away: then others find out by themselves."""
        leaving = threading.Thread(target=self._intake.close, daemon=True)
        leaving.start()
        leaving.join(self._limits.leaving)
        left = "left the group" if not leaving.is_alive() else "Kafka did not answer any more"
        self._told.say("ended", left)

    def _lost(self, partitions: set[Partition]) -> None:
        """Give partitions up: work on a message of theirs ends before another worker can begin it."""
        self._handled -= partitions
        if self._working_on in partitions:
            self._job.stop()

    # What is done with a message

    def _handle(self, received: ReceivedMessage) -> None:
        place = (received.topic, received.partition)
        self._intake.at_work = self._working_on = place
        begun = time.monotonic()
        waited = time.time() - received.timestamp / 1000 if received.timestamp else None
        self._measures.begun(waited)
        seconds = round(waited, 3) if waited is not None else None
        self._told.say("received", received.place, waited_seconds=seconds)
        try:
            reply = self._work(received)
            if reply is None:
                self._told.say("abandoned", f"{received.place}: it is another worker's now, or this one ends")
            elif sent := self._send_all(received, reply):
                self._finish(received, sent, time.monotonic() - begun)
        finally:
            self._intake.at_work = self._working_on = None
            self._measures.busy.set(0)
            self._measures.waits("service", False)

    def _work(
        self, received: ReceivedMessage, letter: OutgoingMessage | None = None
    ) -> Completed | DeadLettered | None:
        """Have a message worked on until there is something to show for it; ``None`` when it may no longer be.

        With its dead ``letter``, which no broker took for its size, that is cut instead.
        """
        crash, pause = "", 1.0
        first = self._intake.at_work not in self._handled
        while self._may_work():
            self._job.start(WorkItem(received, first, crash, letter))
            reply = self._await_reply()
            if reply is None or isinstance(reply, Completed | DeadLettered):
                return reply
            crash = reply.reason if isinstance(reply, Crashed) else ""
            if isinstance(reply, Postponed):
                self._wait_for_service(reply.reason, pause)
            else:
                self._measures.failed(received.topic, "crash" if crash else "error")
                self._told.say("failed", f"{received.place}: {reply.reason}", "warning")
                self._rest(min(pause, _LONGEST_REST))
            pause = min(2 * pause, _LONGEST_PAUSE)
            if self._stop_at is not None:
                break
        return None

    def _await_reply(self) -> Reply | None:
        begun, wait = time.monotonic(), _SECONDS_UNTIL_PAUSE
        while self._may_work():
            word = self._job.wait(wait)
            if isinstance(word, Announced):
                self._announce(word.outgoing)
            elif word is not None:
                return word
            else:
                self._intake.meanwhile(0)
                wait = _SECONDS_BETWEEN_POLLS
            if self._limits.message and time.monotonic() - begun > self._limits.message:
                self._job.stop()
                return Crashed(f"it took longer than {self._limits.message:g} seconds")
        self._job.stop()
        return None

    def _may_work(self) -> bool:
        """Tell whether the message at hand is still this worker's to work on, and there is time for it."""
        ending = self._stop_at is not None and time.monotonic() >= self._stop_at
        return self._intake.at_work in self._intake.owned and not ending

    def _wait_for_service(self, reason: str, seconds: float) -> None:
        self._measures.waits("service", True)
        self._told.complain(f"waiting, because {reason}")
        self._rest(seconds)
        self._measures.waits("service", False)

    def _rest(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and self._may_work() and self._stop_at is None:
            self._intake.meanwhile(min(left, _SECONDS_BETWEEN_POLLS))

    # What comes of it

    def _announce(self, outgoing: OutgoingMessage) -> None:
        try:
            self._sender.send_at_once(outgoing)
        except (RefusedError, ServiceUnavailableError, TooLargeError) as error:
            self._told.complain(str(error))

    def _send_all(self, received: ReceivedMessage, reply: Completed | DeadLettered) -> Completed | DeadLettered | None:
        """Send what came of a message, and return what it was in the end; ``None`` when it may no longer be sent."""
        if isinstance(reply, Completed):
            try:
                return reply if self._send(reply.outgoing) else None
            except TooLargeError as error:
                reply = DeadLettered(str(error), 1, bad=True)
        letter = dead_letter(received, self._spec.stage, self._spec.topics, reply)
        try:
            return reply if self._send([letter]) else None
        except TooLargeError:
            kept = self._work(received, letter)
        return reply if isinstance(kept, Completed) and self._send(kept.outgoing) else None

    def _send(self, outgoing: Sequence[OutgoingMessage]) -> bool:
        """Send messages, for as long as it takes; false when the worker ends or lost the partition before.

        Raises:
            TooLargeError: One is larger than its topic takes.
        """
        begun = last_poll = time.monotonic()
        topic = outgoing[0].topic if outgoing else ""

        def meanwhile() -> bool:
            nonlocal last_poll
            now = time.monotonic()
            if now - last_poll > _SECONDS_UNTIL_PAUSE:
                last_poll = now
                self._intake.meanwhile(0)
            if now - begun > SECONDS_TO_ACKNOWLEDGE:
                self._measures.waits("service", True)
                self._told.complain(lambda: f"waiting, because {self._sender.stalled(topic)}", about=topic)
            return self._may_work()

        pause = 1.0
        while self._may_work():
            try:
                return self._sender.send(outgoing, meanwhile)
            except (RefusedError, ServiceUnavailableError) as error:
                self._wait_for_service(str(error), pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            if self._stop_at is not None:
                break
        return False

    def _finish(self, received: ReceivedMessage, reply: Completed | DeadLettered, seconds: float) -> None:
        """Let the offset be committed: whatever was to be kept is kept."""
        place = self._working_on
        if not self._intake.handled(received):  # it is another worker's now, who does it again, to the same effect
            return
        if place:
            self._handled.add(place)
        if isinstance(reply, DeadLettered):
            self._measures.failed(received.topic, "bad_message" if reply.bad else "attempts")
            self._measures.dead(received.topic)
            topic = self._spec.topics.dead_letters[received.topic]
            text = f"{received.place} went to {topic}: {reply.reason}"
            self._told.say("dead_letter", text, "error", tries=reply.attempts)
        else:
            self._measures.handled(received.topic, seconds)
            self._told.say("handled", received.place, seconds=round(seconds, 3), sent=len(reply.outgoing))
