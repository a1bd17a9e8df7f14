"""Compare-and-swap on small objects: many processes may change one at once, and no change is lost."""

import time
from collections.abc import Callable
from random import SystemRandom

from flts.errors import ObjectNotFoundError, PreconditionFailedError, ServiceUnavailableError
from flts.store.base import ObjectInfo, ObjectStore

# An attempt fails only when another process succeeds, so that as many attempts as processes are enough.
ATTEMPTS = 100
_FIRST_PAUSE_SECONDS = 0.005
_LONGEST_PAUSE_SECONDS = 1.0

Found = tuple[bytes, ObjectInfo] | None


def get_or_none(store: ObjectStore, bucket: str, key: str) -> Found:
    """Return what ``store.get`` does, ``None`` when there is no such object."""
    try:
        return store.get(bucket, key)
    except ObjectNotFoundError:
        return None


def put_if_unchanged(store: ObjectStore, bucket: str, key: str, data: bytes, etag: str | None) -> str | None:
    """Write an object while it still has an etag, or with ``None`` while it does not exist.

    Returns:
        The new etag; ``None`` when another process was faster, and nothing was written.
    """
    try:
        return store.put(bucket, key, data, if_match=etag, if_none_match=etag is None).etag
    except PreconditionFailedError:
        return None


def put_once(store: ObjectStore, bucket: str, key: str, data: bytes) -> tuple[bytes, bool]:
    """Write an object unless it exists.

    Returns:
        The object's content, and whether it existed.

    Raises:
        ServiceUnavailableError: Every attempt met another write, and none of these left an object.
    """
    for attempt in range(ATTEMPTS):
        if put_if_unchanged(store, bucket, key, data, None) is not None:
            return data, False
        if found := get_or_none(store, bucket, key):
            return found[0], True
        _pause(attempt)
    raise _contended(bucket, key)


def swap(store: ObjectStore, bucket: str, key: str, change: Callable[[Found], bytes | None]) -> None:
    """Replace an object by what ``change`` makes of it.

    Args:
        store: The store.
        bucket: The object's bucket.
        key: Its key.
        change: Given the object, returns its new content, or ``None`` to leave it as it is; called again whenever
            another process was faster.

    Raises:
        ServiceUnavailableError: Another process was faster at every attempt.
    """
    for attempt in range(ATTEMPTS):
        found = get_or_none(store, bucket, key)
        data = change(found)
        if data is None or put_if_unchanged(store, bucket, key, data, found[1].etag if found else None) is not None:
            return
        _pause(attempt)
    raise _contended(bucket, key)


def _pause(attempt: int) -> None:
    longest = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2**attempt)
    time.sleep(SystemRandom().uniform(0, longest))


def _contended(bucket: str, key: str) -> ServiceUnavailableError:
    return ServiceUnavailableError(f"{bucket}/{key} changed during each of {ATTEMPTS} attempts to write it")
