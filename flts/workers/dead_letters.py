"""Dead letters: messages that were given up, unchanged, with headers that say why.

One that no broker takes for its size is cut, and what is missing of it lies in the store.
"""

import hashlib

from flts.errors import BadInputError, ChecksumMismatchError
from flts.store import ObjectStore
from flts.workers.attempts import BUCKET
from flts.workers.messages import Headers, OutgoingMessage, ReceivedMessage
from flts.workers.outcomes import DeadLettered
from flts.workers.settings import Topics

ERROR, STAGE, ATTEMPTS = "error", "stage", "attempts"
TOPIC, PARTITION, OFFSET, TIME = "original_topic", "original_partition", "original_offset", "original_timestamp"
SHA256, OBJECT = "body_sha256", "body_object"
_OWN = frozenset({ERROR, STAGE, ATTEMPTS, TOPIC, PARTITION, OFFSET, TIME, SHA256, OBJECT})
# No identifier can be called so: the name is one of those that keys use.
_PREFIX = "trained/dead-letters"
# What is kept of each part of a letter that is cut; all of it together is less than any topic takes.
_CUT_BYTES = 1000
_CUT_HEADERS = 20


def dead_letter(received: ReceivedMessage, stage: str, topics: Topics, dead: DeadLettered) -> OutgoingMessage:
    """Return the dead letter of a message; ``original_timestamp`` in milliseconds since 1970."""
    headers = {
        ERROR: dead.reason,
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


def cut(letter: OutgoingMessage, store: ObjectStore) -> OutgoingMessage:
    """Put the body of a dead letter into the store, and return a letter that is small enough for any topic.

    Raises:
        ServiceUnavailableError: The store is away.
        RefusedError: It refuses the credentials.
    """
    body = letter.value or b""
    digest = hashlib.sha256(body).hexdigest()
    key = f"{_PREFIX}/{dict(letter.headers)[TOPIC].decode()}/{digest}"
    store.put(BUCKET, key, body)
    own = [(name, value[:_CUT_BYTES]) for name, value in letter.headers if name in _OWN]
    others = [each for each in original_headers(letter.headers) if len(each[0]) + len(each[1]) <= _CUT_BYTES]
    place = ((SHA256, digest.encode()), (OBJECT, f"{BUCKET}/{key}".encode()))
    return OutgoingMessage(
        letter.topic, letter.key and letter.key[:_CUT_BYTES], body[:_CUT_BYTES], (*others[:_CUT_HEADERS], *own, *place)
    )


def whole_body(letter: ReceivedMessage, store: ObjectStore) -> bytes | None:
    """Return the body of a message that became a dead letter, also of one that was cut.

    Raises:
        BadInputError: What was cut off is not in the store any more, or is something else.
        ServiceUnavailableError: The store is away.
    """
    said = dict(letter.headers)
    if OBJECT not in said:
        return letter.value
    bucket, _, key = said[OBJECT].decode(errors="replace").partition("/")
    if bucket != BUCKET or not key.startswith(f"{_PREFIX}/"):
        raise BadInputError(f"{letter.place}: its header {OBJECT} names no body of a dead letter")
    body, _ = store.get(bucket, key)
    if hashlib.sha256(body).hexdigest().encode() != said.get(SHA256):
        raise ChecksumMismatchError(f"{letter.place}: {bucket}/{key} is not the body that its header {SHA256} names")
    return body
