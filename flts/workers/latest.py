"""What workers keep in the store between messages, of which there may be a later version already."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from flts.boundary.untrusted import json_object
from flts.contracts import Message
from flts.errors import BadInputError
from flts.store import ObjectStore
from flts.store.swap import Found, get_or_none, swap


def get_json(store: ObjectStore, bucket: str, key: str) -> tuple[dict[str, Any], str] | None:
    """Return a JSON object of the store and its etag, ``None`` where there is no such object; errors as ``get``."""
    found = get_or_none(store, bucket, key)
    return (json_object(found[0], f"{bucket}/{key}", "a JSON object", allow_nan=True), found[1].etag) if found else None


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

    def change(found: Found) -> bytes | None:
        with suppress(BadInputError):  # a damaged one is replaced
            if found and when(json_object(found[0], key, "a JSON object", allow_nan=True), key) >= ours:
                return None
        return message.to_json().encode()

    swap(store, bucket, key, change)
