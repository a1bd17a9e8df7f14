"""Dead letters: messages that failed for good, unchanged, with headers that say why.

A letter that is too large for its topic is cut, and its whole body goes to the store.
"""

import hashlib

from flts.errors import BadInputError, ChecksumMismatchError
from flts.observability.redaction import redact
from flts.store import ObjectStore
from flts.workers.messages import Headers, OutgoingMessage, ReceivedMessage
from flts.workers.outcomes import DeadLettered
from flts.workers.settings import Topics

ERROR, STAGE, ATTEMPTS = "error", "stage", "attempts"
TOPIC, PARTITION, OFFSET, TIME = "original_topic", "original_partition", "original_offset", "original_timestamp"
SHA256, OBJECT = "body_sha256", "body_object"
_OWN = frozenset({ERROR, STAGE, ATTEMPTS, TOPIC, PARTITION, OFFSET, TIME, SHA256, OBJECT})
# No identifier can be called "trained": the name is one of those that keys use.
_PREFIX = "trained/dead-letters"
# The size of each part of a cut letter; all parts together are small enough for any topic.
_CUT_BYTES = 1000
_CUT_HEADERS = 20


def dead_letter(received: ReceivedMessage, stage: str, topics: Topics, dead: DeadLettered) -> OutgoingMessage:
    """Return the dead letter of a message; ``original_timestamp`` in milliseconds since 1970."""
    headers = {
        ERROR: redact(dead.reason),
        STAGE: stage,
        ATTEMPTS: str(dead.attempts),
        TOPIC: received.topic,
        PARTITION: str(received.partition),
        OFFSET: str(received.offset),
        TIME: "" if received.timestamp is None else str(received.timestamp),
    }
    return OutgoingMessage(
        topics.dead_letters[received.topic],
        received.key,
        received.value,
        (*original_headers(received.headers), *((name, text.encode()) for name, text in headers.items())),
    )


def original_headers(headers: Headers) -> Headers:
    """Return the headers that a message had before it became a dead letter."""
    return [(name, value) for name, value in headers if name not in _OWN]


def cut(letter: OutgoingMessage, store: ObjectStore, bucket: str) -> OutgoingMessage:
    """Put the body of a dead letter into the store, and return a letter that is small enough for any topic.

    Raises:
        ServiceUnavailableError: The store cannot be reached.
        RefusedError: It refuses the credentials.
    """
    body = letter.value or b""
    digest = hashlib.sha256(body).hexdigest()
    key = f"{_PREFIX}/{dict(letter.headers)[TOPIC].decode()}/{digest}"
    store.put(bucket, key, body)
    own = [(name, value[:_CUT_BYTES]) for name, value in letter.headers if name in _OWN]
    others = [each for each in original_headers(letter.headers) if len(each[0]) + len(each[1]) <= _CUT_BYTES]
    place = ((SHA256, digest.encode()), (OBJECT, f"{bucket}/{key}".encode()))
    return OutgoingMessage(
        letter.topic, letter.key and letter.key[:_CUT_BYTES], body[:_CUT_BYTES], (*others[:_CUT_HEADERS], *own, *place)
    )


def whole_body(letter: ReceivedMessage, store: ObjectStore, bucket: str) -> bytes | None:
    """Return the whole body of a dead letter, from the store if the letter was cut.

    Raises:
        BadInputError: The body is no longer in the store, or differs from its checksum.
        ServiceUnavailableError: The store cannot be reached.
    """
    headers = dict(letter.headers)
    if OBJECT not in headers:
        return letter.value
    place, _, key = headers[OBJECT].decode(errors="replace").partition("/")
    if place != bucket or not key.startswith(f"{_PREFIX}/"):
        raise BadInputError(f"{letter.place}: its header {OBJECT} names no body of a dead letter in bucket {bucket}")
    body, _ = store.get(bucket, key)
    if hashlib.sha256(body).hexdigest().encode() != headers.get(SHA256):
        raise ChecksumMismatchError(f"{letter.place}: {bucket}/{key} is not the body that its header {SHA256} names")
    return body
