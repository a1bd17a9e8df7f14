"""Pointers: objects that name the latest promotion, moved by compare-and-swap."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum

from flts.boundary.untrusted import json_object
from flts.contracts import Promotion, parse_timestamp
from flts.errors import BadInputError
from flts.store import ObjectInfo, ObjectStore
from flts.store.swap import Found, get_or_none, swap


@dataclass(frozen=True)
class Pointer:
    """A pointer's content.

    Attributes:
        time: The promotion's time; the earliest there is for content without one, so that it is replaced.
        etag: The object's etag.
        promotion: The promotion; ``None`` when this version cannot read the content.
    """

    time: datetime
    etag: str
    promotion: Promotion | None


class Move(Enum):
    """Result of moving a pointer."""

    MOVED = "it names the promotion"
    NEWER = "it names a later promotion"
    REFUSED = "the promotion that it names must stay"


def read_pointer(store: ObjectStore, bucket: str, key: str) -> Pointer | None:
    """Read a pointer; ``None`` when there is no such object."""
    found = get_or_none(store, bucket, key)
    return _pointer(*found) if found else None


def advance(
    store: ObjectStore,
    promotion: Promotion,
    bucket: str,
    key: str,
    allowed: Callable[[Pointer | None], bool] = lambda _: True,
) -> Move:
    """Move a pointer to a promotion unless it names a later one.

    Args:
        store: The store of promotions.
        promotion: The promotion.
        bucket: The bucket of promotions.
        key: The pointer's key.
        allowed: Tells whether the promotion may replace the one that the pointer names; called again whenever
            another process moved the pointer.

    Raises:
        ServiceUnavailableError: Another process moved the pointer during every attempt.
    """
    data = promotion.to_json().encode()
    ours = parse_timestamp(promotion.promotion_time)
    move = Move.MOVED

    def change(found: Found) -> bytes | None:
        nonlocal move
        current = _pointer(*found) if found else None
        if current and current.time >= ours:
            move = Move.MOVED if current.time == ours else Move.NEWER
            return None
        move = Move.MOVED if allowed(current) else Move.REFUSED
        return data if move is Move.MOVED else None

    swap(store, bucket, key, change)
    return move


def _pointer(content: bytes, info: ObjectInfo) -> Pointer:
    try:
        promotion = Promotion.parse(content, source=info.key)
    except BadInputError:
        promotion = None
    return Pointer(_promotion_time(content), info.etag, promotion)


def _promotion_time(pointer: bytes) -> datetime:
    """Return the time of a pointer's promotion; the earliest there is for content without one."""
    try:
        fields = json_object(pointer, "pointer", "a promotion", allow_nan=True)
        return parse_timestamp(fields.get("promotion_time") or fields["timestamp"])
    except (BadInputError, ValueError, KeyError, TypeError):
        return datetime.min.replace(tzinfo=UTC)
