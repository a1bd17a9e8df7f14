"""Messages that workers keep in the store: the latest version of each wins, in whichever order they come."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from flts.boundary.untrusted import json_object
from flts.contracts import Message
from flts.errors import BadInputError
from flts.store import ObjectStore
from flts.store.swap import Found, get_or_none, swap


def get_json(store: ObjectStore, bucket: str, key: str) -> tuple[dict[str, Any], str] | None:
    """Return a JSON object of the store and its etag, ``None`` if it does not exist; errors as ``get``."""
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

    def change(found: Found) -> bytes | None:
        with suppress(BadInputError):  # a damaged one is replaced
            if found and when(json_object(found[0], key, "a JSON object", allow_nan=True), key) >= ours:
                return None
        return message.to_json().encode()

    swap(store, bucket, key, change)
