"""Records of Kafka: received ones, ones to send, and FLTS' messages in them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from flts.boundary.files import sha256_file
from flts.boundary.untrusted import json_object
from flts.contracts import ClaimCheck, Message
from flts.diagnostics.validation import shown
from flts.errors import BadInputError
from flts.observability import request_ids
from flts.runtime.work_folders import work_folder
from flts.stage_interface import Artifact
from flts.store import ObjectStore

M = TypeVar("M", bound=Message)
Headers = Sequence[tuple[str, bytes]]

VERSION = 1
_REQUEST_ID, _TRACEPARENT = "request_id", "traceparent"
LARGEST_BYTES = 8 << 20


@dataclass(frozen=True)
class ReceivedMessage:
    """A received record; ``timestamp`` in milliseconds since 1970, ``None`` if the broker keeps none."""

    topic: str
    partition: int
    offset: int
    timestamp: int | None
    key: bytes | None
    value: bytes | None
    headers: Headers = ()

    @property
    def place(self) -> str:
        """Its name in sentences and logs."""
        return f"message {self.partition}:{self.offset} of {self.topic}"


@dataclass(frozen=True)
class OutgoingMessage:
    """A record to send."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


def fields_of(received: ReceivedMessage) -> dict[str, Any]:
    """Return the JSON object that a record holds.

    Raises:
        BadInputError: It holds none, one larger than any stage writes, or one of another version.
    """
    value = received.value or b""
    if len(value) > LARGEST_BYTES:
        raise BadInputError(f"{received.place} has {len(value)} bytes, at most {LARGEST_BYTES} are expected")
    fields = json_object(value, received.place, "a message of FLTS", allow_nan=True)
    version = fields.get("v", VERSION)
    if version != VERSION or isinstance(version, bool):
        raise BadInputError(f"{received.place} has version {shown(version)}, this worker knows version {VERSION}")
    return fields


def parse(kind: type[M], received: ReceivedMessage, fields: dict[str, Any] | None = None) -> M:
    """Parse a record as a message; ``fields`` take the place of those in the record; errors as ``fields_of``."""
    if fields is None:
        fields_of(received)
        return kind.parse(received.value or b"", source=received.place)
    return kind.parse(json.dumps(fields), source=received.place)


def claim_check(received: ReceivedMessage, store: ObjectStore, identifier: str) -> ClaimCheck:
    """Parse a record as a claim check; fields that older producers left out are filled in from the object.

    Args:
        received: The record.
        store: The store that holds the object.
        identifier: The identifier for a message that brings none.

    Raises:
        BadInputError: It is no claim check, or the object is missing or holds no processed data.
    """
    fields = fields_of(received)
    place = {name: fields.get(name) for name in ("bucket", "object")}
    place["object"] = place["object"] or fields.get("object_key")
    for name, value in place.items():
        if not isinstance(value, str) or not value:
            raise BadInputError(f"{received.place} is not a claim check: field '{name}' is missing")
    lacking = [name for name in ("size", "config_hash", "sha256", "rows") if fields.get(name) in (None, "")]
    known = {**fields, **place, "identifier": fields.get("identifier") or identifier}
    if lacking:
        described = _describe(store, str(place["bucket"]), str(place["object"]))
        known |= {name: described[name] for name in lacking}
    return parse(ClaimCheck, received, known)


def _describe(store: ObjectStore, bucket: str, key: str) -> dict[str, Any]:
    from flts.datafiles.processed_parquet import read_processed

    with work_folder() as scratch:
        path = scratch / "described.parquet"
        info = store.download(bucket, key, path)
        data, digest = read_processed(path), sha256_file(path)
    if not data.config_hash:
        raise BadInputError(f"{bucket}/{key} has no config_hash, and neither has the message that names it")
    return {"size": info.size, "sha256": digest, "config_hash": data.config_hash, "rows": len(data)}


def received_request_ids(received: ReceivedMessage) -> dict[str, str]:
    """Return the request ids of a record, which connect the work on it with the work before."""
    found = {name: value.decode("latin-1") for name, value in received.headers}
    return request_ids.make_headers(found.get(_REQUEST_ID, ""), found.get(_TRACEPARENT, ""))


def with_request_ids(outgoing: OutgoingMessage) -> OutgoingMessage:
    """Add the headers that connect the log lines of all workers about one dataset."""
    current = request_ids.headers()
    found = {_REQUEST_ID: current["X-Request-ID"], _TRACEPARENT: current.get("traceparent", "")}
    return replace(outgoing, headers=tuple((name, text.encode()) for name, text in found.items() if text))


def encode(artifact: Artifact) -> bytes:
    """Return the content of an artifact as bytes."""
    return artifact.content.encode() if isinstance(artifact.content, str) else artifact.content
