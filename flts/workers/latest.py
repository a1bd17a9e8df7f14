"""What workers keep in the store between messages, of which there may be a later version already."""

from collections.abc import Callable, Mapping
from typing import Any

from flts.boundary.untrusted import json_object
from flts.contracts import Message
from flts.errors import BadInputError, ObjectNotFoundError, PreconditionFailedError, ServiceUnavailableError
from flts.store import ObjectStore

_ATTEMPTS = 100


def get_json(store: ObjectStore, bucket: str, key: str) -> tuple[dict[str, Any], str] | None:
    """Return a JSON object of the store and its etag, ``None`` where there is no such object; errors as ``get``."""
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
    """Keep a message unless one as late is kept: messages come again, and in any order.

    Args:
        store: Where it is kept.
        bucket: Its bucket.
        key: Its key.
        message: The message.
        place: What sentences call it.
        when: Tells what orders two such messages, of the fields of one and what sentences call it.

    Raises:
        BadInputError: ``when`` finds nothing in one of them.
        ServiceUnavailableError: The object kept changing.
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
            # What is there is damaged, and gives way.
        try:
            store.put(bucket, key, message.to_json().encode(), if_match=etag, if_none_match=etag is None)
        except PreconditionFailedError:
            continue
        return
    raise ServiceUnavailableError(f"{bucket}/{key} changed during each of {_ATTEMPTS} attempts to write it")
