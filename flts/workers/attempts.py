"""How often a message was tried, kept in the store, so that one that kills whoever works on it is given up too."""

import threading
from contextlib import suppress
from types import TracebackType
from typing import ClassVar, Self

from flts.contracts import Message
from flts.errors import BadInputError, FltsError, ObjectNotFoundError
from flts.observability.shutdown import last_messages
from flts.store import ObjectStore
from flts.workers.messages import ReceivedMessage

BUCKET = "model-promotion"
# No identifier can be called so: the name is one of those that keys use.
_PREFIX = "trained/tries"
# A worker that dies as a whole may have been killed by anybody, for example by a node that is drained.
_DEATHS_PER_TRY = 3
_SECONDS_UNTIL_RECORDED = 0.2


class AttemptsExhaustedError(Exception):
    """A message failed as often as it may; the text is the last reason, ``attempts`` the number of failures."""

    def __init__(self, reason: str, attempts: int) -> None:
        super().__init__(reason)
        self.attempts = attempts


class _Record(Message):
    """What is kept: tries that failed, and tries that began and of which no end is known."""

    kind: ClassVar[str] = "record of tries"
    timestamp: int | None = None
    failed: int = 0
    begun: int = 0
    reason: str = ""


class Attempt:
    """One try of a message; the body of ``with`` works on it, and afterwards one of the methods says how it ended.

    Most messages take no time at all, and are not worth two requests to the store. So a try is recorded when it has
    lasted for a moment; or at once, where the worker has just begun, and the message may be what ended the last one.
    """

    def __init__(
        self, store: ObjectStore, group: str, received: ReceivedMessage, limit: int, *, at_once: bool, crash: str = ""
    ) -> None:
        """Prepare a try.

        Args:
            store: Where tries are recorded.
            group: The consumer group.
            received: The message.
            limit: How many tries it has.
            at_once: Look at earlier tries, and record this one, before the body begins.
            crash: Why the process of the try before this one ended, where it did.

        Raises:
            GivenUpError: There were as many as may be.
        """
        self._store = store
        self._received = received
        self._key = f"{_PREFIX}/{group}/{received.topic}/{received.partition}/{received.offset}.json"
        self._limit = limit
        self._record = _Record(timestamp=received.timestamp)
        self._stored = False
        self._counted = False
        self._over = threading.Event()
        self._recorder: threading.Thread | None = None
        if crash or at_once:
            self._read()
            if crash:
                self._change(failed=1, begun=-1, reason=crash)
            tries = self._record.failed + self._record.begun // _DEATHS_PER_TRY
            if tries >= limit:
                raise AttemptsExhaustedError(self._record.reason or "whoever works on it dies", tries)
            self._count()
        else:
            self._recorder = threading.Thread(target=self._count_later, daemon=True)

    def __enter__(self) -> Self:
        """Begin."""
        if self._recorder:
            self._recorder.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """End; a process that is told to end takes the try back."""
        self._over.set()
        if self._recorder:
            self._recorder.join()
        if error is not None and not isinstance(error, Exception):
            with last_messages():
                self.postponed()

    @property
    def number(self) -> int:
        """Which try it is, from 1."""
        return self._record.failed + 1

    def failed(self, reason: str) -> None:
        """Count the try.

        Raises:
            GivenUpError: It was the last.
        """
        if not self._stored:
            self._read()
        self._change(failed=1, begun=-1 if self._counted else 0, reason=reason)
        if self._record.failed >= self._limit:
            raise AttemptsExhaustedError(reason, self._record.failed)
        self._write()

    def postponed(self) -> None:
        """Take the try back: that it did not come to an end has nothing to do with the message."""
        if self._counted:
            self._change(begun=-1)
            self._counted = False
            with suppress(FltsError):  # a try too many is recorded, of nine
                self._write()

    def done(self) -> None:
        """Forget the message's tries: it needs no more."""
        if self._stored:
            self._store.delete(BUCKET, self._key)

    def _count_later(self) -> None:
        if self._over.wait(_SECONDS_UNTIL_RECORDED):
            return
        with suppress(FltsError):  # the stage will notice the same, and say it
            self._read()
            self._count()

    def _count(self) -> None:
        self._change(begun=1)
        self._write()
        self._counted = True

    def _change(self, *, failed: int = 0, begun: int = 0, reason: str = "") -> None:
        before = self._record
        self._record = before.model_copy(
            update={
                "failed": before.failed + failed,
                "begun": max(0, before.begun + begun),
                "reason": reason or before.reason,
            }
        )

    def _read(self) -> None:
        try:
            content, _ = self._store.get(BUCKET, self._key)
        except ObjectNotFoundError:
            return
        self._stored = True
        with suppress(BadInputError):  # of a damaged record nothing is known
            record = _Record.parse(content, source=self._key)
            if record.timestamp == self._received.timestamp:  # else it is of a topic that was deleted and made again
                self._record = record

    def _write(self) -> None:
        self._store.put(BUCKET, self._key, self._record.to_json().encode())
        self._stored = True
