"""Messages between a worker and the process that works for it: work items, and how they ended."""

from collections.abc import Sequence
from dataclasses import dataclass

from flts.workers.messages import OutgoingMessage, ReceivedMessage


@dataclass(frozen=True)
class WorkItem:
    """A message to work on.

    Attributes:
        received: The message.
        first: Whether it is the first message of its partition since the worker started.
        crash: How the process ended that worked on it before, if it crashed.
        letter: Its dead letter, if that is too large for its topic: then the letter is cut, and nothing else done.
    """

    received: ReceivedMessage
    first: bool
    crash: str = ""
    letter: OutgoingMessage | None = None


@dataclass(frozen=True)
class Announced:
    """A message to send before the work is done."""

    outgoing: OutgoingMessage


@dataclass(frozen=True)
class Completed:
    """Success: the outputs are stored; the messages are still to be sent."""

    outgoing: Sequence[OutgoingMessage]


@dataclass(frozen=True)
class DeadLettered:
    """Final failure: the message becomes a dead letter; ``invalid`` if the message itself is wrong."""

    reason: str
    attempts: int
    invalid: bool


@dataclass(frozen=True)
class Failed:
    """A failed attempt, after which another may succeed."""

    reason: str


@dataclass(frozen=True)
class Postponed:
    """An attempt that does not count: a service cannot be reached or refuses the credentials, or a disk is full."""

    reason: str


@dataclass(frozen=True)
class Crashed:
    """A crash of the process that worked on the message."""

    reason: str


Reply = Completed | DeadLettered | Failed | Postponed | Crashed
