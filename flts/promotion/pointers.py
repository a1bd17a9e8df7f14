"""Pointers: objects that name the latest promotion, moved by compare-and-swap."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from random import SystemRandom

from flts.boundary.untrusted import json_object
from flts.contracts import Promotion, parse_timestamp
from flts.errors import BadInputError, ObjectNotFoundError, PreconditionFailedError, ServiceUnavailableError
from flts.store import ObjectStore

# A swap is lost only to another promotion, which moved the pointer forward: as many rounds as promoters are enough.
_ATTEMPTS = 100
_LONGEST_PAUSE_SECONDS = 1.0


@dataclass(frozen=True)
class Pointer:
    """What a pointer names.

    Attributes:
        time: When that promotion was; the beginning of time for content that names none, which is replaced.
        etag: Of the object.
        promotion: The promotion; ``None`` where the content is not one that this version reads.
    """

    time: datetime
    etag: str
    promotion: Promotion | None


class Move(Enum):
    """How moving a pointer ended."""

    THERE = "it names the promotion"
    BEHIND = "it names a later promotion"
    REFUSED = "what it names may not be replaced"


def read_pointer(store: ObjectStore, bucket: str, key: str) -> Pointer | None:
    """Return what a pointer names, ``None`` when there is no such object."""
    try:
        content, info = store.get(bucket, key)
    except ObjectNotFoundError:
        return None
    try:
        promotion = Promotion.parse(content, source=f"{bucket}/{key}")
    except BadInputError:
        promotion = None
    return Pointer(_promotion_time(content), info.etag, promotion)


def advance(
    store: ObjectStore,
    promotion: Promotion,
    bucket: str,
    key: str,
    may_replace: Callable[[Pointer | None], bool] = lambda _: True,
) -> Move:
    """Move a pointer unless it names a promotion as late already.

    Args:
        store: Where promotions are kept.
        promotion: What the pointer is to name.
        bucket: The bucket of promotions.
        key: The pointer.
        may_replace: Asked about what the pointer names before it is replaced, and again whenever that changes.

    Raises:
        ServiceUnavailableError: The pointer kept changing under every attempt.
    """
    data = promotion.to_json().encode()
    ours = parse_timestamp(promotion.promotion_time)
    for attempt in range(_ATTEMPTS):
        current = read_pointer(store, bucket, key)
        if current and current.time >= ours:
            return Move.THERE if current.time == ours else Move.BEHIND
        if not may_replace(current):
            return Move.REFUSED
        etag = current.etag if current else None
        try:
            store.put(bucket, key, data, if_match=etag, if_none_match=etag is None)
        except PreconditionFailedError:
            time.sleep(SystemRandom().uniform(0, min(_LONGEST_PAUSE_SECONDS, 0.005 * 2**attempt)))
        else:
            return Move.THERE
    raise ServiceUnavailableError(f"{bucket}/{key} changed during each of {_ATTEMPTS} attempts to move it")


def _promotion_time(pointer: bytes) -> datetime:
    """Return when a pointer's promotion was; the beginning of time for content that names none, which is replaced."""
    try:
        fields = json_object(pointer, "pointer", "a promotion", allow_nan=True)
        return parse_timestamp(fields.get("promotion_time") or fields["timestamp"])
    except (BadInputError, ValueError, KeyError, TypeError):
        return datetime.min.replace(tzinfo=UTC)
