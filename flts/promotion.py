"""Which model is in production: the history of promotions, and the pointers to the latest one.

History objects are written once and never change. Pointers move by compare-and-swap, and only to a later
``promotion_time``, so that any number of evaluations at once, in any order, end at the latest.
"""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from random import SystemRandom

from flts.contracts import Promotion, parse_timestamp
from flts.errors import BadInputError, ObjectNotFoundError, PreconditionFailedError, ServiceUnavailableError
from flts.store import ObjectStore
from flts.untrusted import json_object

GLOBAL = "global"

# A swap is lost only to another promotion, which moved the pointer forward: as many rounds as promoters are enough.
_ATTEMPTS = 40
_LONGEST_PAUSE_SECONDS = 1.0


@dataclass(frozen=True)
class Promoted:
    """What promoting did.

    Attributes:
        promotion: The promotion as it stands in the history: the earlier one's when this was a repeat.
        history_key: Where it is kept.
        repeated: Whether it was there already.
        behind: The pointers that stay where they are, because they name a later promotion.
    """

    promotion: Promotion
    history_key: str
    repeated: bool
    behind: tuple[str, ...]


def owner(identifier: str) -> str:
    """Return the first part of every key of a run: its identifier, or ``global`` where it has none."""
    return identifier or GLOBAL


def history_key(promotion: Promotion, run_ids: Sequence[str]) -> str:
    """Return the key of a promotion in the history.

    Args:
        promotion: The promotion.
        run_ids: The runs of all candidates; the same candidates give the same key.
    """
    digest = hashlib.sha256("\n".join(sorted(run_ids)).encode()).hexdigest()[:12]
    folder = f"{owner(promotion.identifier)}/{promotion.config_hash}"
    return f"{folder}/promotion-{promotion.promotion_time}-{digest}.json"


def pointer_keys(identifier: str, config_hash: str) -> tuple[str, str, str]:
    """Return the keys of the pointers that a promotion moves, the most specific first."""
    name = owner(identifier)
    return f"{name}/{config_hash}/current.json", f"{name}/current.json", "current.json"


def promote(store: ObjectStore, promotion: Promotion, run_ids: Sequence[str], bucket: str) -> Promoted:
    """Write a promotion to the history, then move the pointers that name an earlier one.

    A repeat finds the history object, writes no second one, and moves the pointers that a killed run left behind.

    Args:
        store: Where promotions are kept.
        promotion: The winner.
        run_ids: The runs of all candidates.
        bucket: The bucket of promotions.

    Raises:
        ServiceUnavailableError: A pointer kept changing under every attempt.
    """
    key = history_key(promotion, run_ids)
    repeated = False
    try:
        store.put(bucket, key, promotion.to_json().encode(), if_none_match=True)
    except PreconditionFailedError:
        repeated = True
        data, _ = store.get(bucket, key)
        promotion = Promotion.parse(data, source=f"{bucket}/{key}")
    pointers = pointer_keys(promotion.identifier, promotion.config_hash)
    behind = tuple(pointer for pointer in pointers if not _advance(store, promotion, bucket, pointer))
    return Promoted(promotion, key, repeated, behind)


def _advance(store: ObjectStore, promotion: Promotion, bucket: str, key: str) -> bool:
    """Move a pointer unless it is as late already; returns false when it names a later promotion."""
    data = promotion.to_json().encode()
    ours = parse_timestamp(promotion.promotion_time)
    for attempt in range(_ATTEMPTS):
        try:
            current, info = store.get(bucket, key)
        except ObjectNotFoundError:
            etag = None
        else:
            theirs = _promotion_time(current)
            if theirs >= ours:
                return theirs == ours
            etag = info.etag
        try:
            store.put(bucket, key, data, if_match=etag, if_none_match=etag is None)
        except PreconditionFailedError:
            time.sleep(SystemRandom().uniform(0, min(_LONGEST_PAUSE_SECONDS, 0.005 * 2**attempt)))
        else:
            return True
    raise ServiceUnavailableError(f"{bucket}/{key} changed during each of {_ATTEMPTS} attempts to move it")


def _promotion_time(pointer: bytes) -> datetime:
    """Return when a pointer's promotion was; the beginning of time for content that names none, which is replaced."""
    try:
        fields = json_object(pointer, "pointer", "a promotion", allow_nan=True)
        return parse_timestamp(fields.get("promotion_time") or fields["timestamp"])
    except (BadInputError, ValueError, KeyError, TypeError):
        return datetime.min.replace(tzinfo=UTC)
