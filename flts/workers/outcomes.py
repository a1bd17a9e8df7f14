"""What a worker and the process that works on its messages tell each other."""

from collections.abc import Sequence
from dataclasses import dataclass

from flts.workers.messages import OutgoingMessage, ReceivedMessage


@dataclass(frozen=True)
class WorkItem:
    """A message to work on.

    Attributes:
        received: The message.
        first: Whether it is the first one of its partition.
        crash: How the process before ended over it.
        letter: Its dead letter, where that is too large for its topic: it is cut, and nothing else is done.
    """

    received: ReceivedMessage
    first: bool
    crash: str = ""
    letter: OutgoingMessage | None = None


@dataclass(frozen=True)
class Announced:
    """A message to send while the work goes on."""

    outgoing: OutgoingMessage


@dataclass(frozen=True)
class Completed:
    """The work is done: its outputs are kept, and these messages are to be sent."""

    outgoing: Sequence[OutgoingMessage]


@dataclass(frozen=True)
class DeadLettered:
    """No try will do better: the message is a dead letter; ``bad`` is one that is wrong by itself."""

    reason: str
    attempts: int
    bad: bool


@dataclass(frozen=True)
class Failed:
    """The try failed, and another one may not."""

    reason: str


@dataclass(frozen=True)
class Postponed:
    """A service is out of reach, refuses the credentials, or a disk is full: the message can do nothing for it."""

    reason: str


@dataclass(frozen=True)
class Crashed:
    """The process ended over the message."""

    reason: str


Reply = Completed | DeadLettered | Failed | Postponed | Crashed
