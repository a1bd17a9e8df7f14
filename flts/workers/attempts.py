"""Counts attempts at a message in the store, so that one that kills every worker ends as a dead letter too."""

import threading
from contextlib import suppress
from types import TracebackType
from typing import ClassVar, Self

from flts.contracts import Message
from flts.errors import BadInputError, FltsError
from flts.observability.redaction import redact
from flts.observability.shutdown import shutdown_grace_period
from flts.store import ObjectStore
from flts.store.swap import get_or_none
from flts.workers.messages import ReceivedMessage

# No identifier can be called "trained": the name is one of those that keys use.
_PREFIX = "trained/tries"
# The death of a whole worker may have other causes, such as a drained node.
_DEATHS_PER_ATTEMPT = 3
_SECONDS_UNTIL_RECORDED = 0.2


class AttemptsExhaustedError(Exception):
    """A message failed as often as it may; the text is the last reason, ``attempts`` the number of failures."""

    def __init__(self, reason: str, attempts: int) -> None:
        super().__init__(reason)
        self.attempts = attempts


class _Record(Message):
    """The record of a message: failed attempts, and attempts that began and whose end is not known."""

    kind: ClassVar[str] = "record of attempts"
    timestamp: int | None = None
    failed: int = 0
    begun: int = 0
    reason: str = ""


class Attempt:
    """An attempt at a message; the body of ``with`` does the work, then a method records how it ended.

    Most messages are handled within milliseconds, and not worth two requests to the store. So an attempt is recorded
    once it has lasted for a moment; or before it begins, if the worker has just started and the message may have killed
    the one before.
    """

    def __init__(
        self,
        store: ObjectStore,
        bucket: str,
        group: str,
        received: ReceivedMessage,
        limit: int,
        *,
        record_now: bool,
        crash: str = "",
    ) -> None:
        """Prepare an attempt.

        Args:
            store: The store that keeps the record.
            bucket: The bucket of promotions, which holds the record as well.
            group: The consumer group.
            received: The message.
            limit: The number of attempts that it has.
            record_now: Read the record and count this attempt before the body begins.
            crash: How the process of the attempt before this one crashed, if it did.

        Raises:
            AttemptsExhaustedError: There are none left.
        """
        self._store = store
        self._bucket = bucket
        self._received = received
        self._key = f"{_PREFIX}/{group}/{received.topic}/{received.partition}/{received.offset}.json"
        self._limit = limit
        self._record = _Record(timestamp=received.timestamp)
        self._stored = False
        self._counted = False
        self._over = threading.Event()
        self._recorder: threading.Thread | None = None
        if crash or record_now:
            self._read()
            if crash:
                self._change(failed=1, begun=-1, reason=crash)
            attempts = self._record.failed + self._record.begun // _DEATHS_PER_ATTEMPT
            if attempts >= limit:
                raise AttemptsExhaustedError(self._record.reason or "every worker that handles it dies", attempts)
            self._count()
        else:
            self._recorder = threading.Thread(target=self._count_later, daemon=True)

    def __enter__(self) -> Self:
        """Start counting."""
        if self._recorder:
            self._recorder.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Stop counting; an attempt of a process that is being stopped does not count."""
        self._over.set()
        if self._recorder:
            self._recorder.join()
        if error is not None and not isinstance(error, Exception):
            with shutdown_grace_period():
                self.postponed()

    @property
    def number(self) -> int:
        """The number of this attempt, from 1."""
        return self._record.failed + 1

    def failed(self, reason: str) -> None:
        """Count the attempt as failed.

        Raises:
            AttemptsExhaustedError: It was the last one.
        """
        if not self._stored:
            self._read()
        self._change(failed=1, begun=-1 if self._counted else 0, reason=redact(reason))
        if self._record.failed >= self._limit:
            raise AttemptsExhaustedError(reason, self._record.failed)
        self._write()

    def postponed(self) -> None:
        """Take the attempt back: the message is not the reason that it ended early."""
        if self._counted:
            self._change(begun=-1)
            self._counted = False
            with suppress(FltsError):  # one of nine deaths is recorded that was none
                self._write()

    def done(self) -> None:
        """Delete the message's record."""
        if self._stored:
            self._store.delete(self._bucket, self._key)

    def _count_later(self) -> None:
        if self._over.wait(_SECONDS_UNTIL_RECORDED):
            return
        with suppress(FltsError):  # the stage meets the same error, and reports it
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
        found = get_or_none(self._store, self._bucket, self._key)
        if found is None:
            return
        self._stored = True
        with suppress(BadInputError):  # a damaged record counts as none
            record = _Record.parse(found[0], source=self._key)
            if record.timestamp == self._received.timestamp:  # otherwise it belongs to a deleted topic of the same name
                self._record = record

    def _write(self) -> None:
        self._store.put(self._bucket, self._key, self._record.to_json().encode())
        self._stored = True
