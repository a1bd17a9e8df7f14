"""Messages that workers keep in the store: the latest version of each wins, in whichever order they come."""

from collections.abc import Callable, Mapping
from typing import Any

from flts.boundary.untrusted import json_object
from flts.contracts import Message
from flts.errors import BadInputError, ObjectNotFoundError, PreconditionFailedError, ServiceUnavailableError
from flts.store import ObjectStore

_ATTEMPTS = 100


def get_json(store: ObjectStore, bucket: str, key: str) -> tuple[dict[str, Any], str] | None:
    """Return a JSON object of the store and its etag, ``None`` if it does not exist; errors as ``get``."""
    try:
        content, info = store.get(bucket, key)
    except ObjectNotFoundError:
        return None
    return json_object(content, f"{bucket}/{key}", "a JSON object", allow_nan=True), info.etag


def keep_latest(
    store: ObjectStore,
    bucket: str,
    key: str,
    message: Message,
    place: str,
    when: Callable[[Mapping[str, Any], str], Any],
) -> None:
    """Keep a message, unless the one that is kept is as late: messages come again, and in any order.

    Args:
        store: The store.
        bucket: The bucket.
        key: The key to keep it under.
        message: The message.
        place: The name of the message in sentences.
        when: Returns what two such messages are ordered by, from the fields of one and its name in sentences.

    Raises:
        BadInputError: ``when`` does not find that value.
        ServiceUnavailableError: The store cannot be reached, or the object changed during each attempt.
    """
    ours = when(message.model_dump(mode="json"), place)
    for _ in range(_ATTEMPTS):
        etag = None
        try:
            content, info = store.get(bucket, key)
            etag = info.etag
            if when(json_object(content, key, "a JSON object", allow_nan=True), key) >= ours:
                return
        except ObjectNotFoundError:
            pass
        except BadInputError:
            if etag is None:
                raise
            # The kept object is damaged, and is replaced.
        try:
            store.put(bucket, key, message.to_json().encode(), if_match=etag, if_none_match=etag is None)
        except PreconditionFailedError:
            continue
        return
    raise ServiceUnavailableError(f"{bucket}/{key} changed during each of {_ATTEMPTS} attempts to write it")
