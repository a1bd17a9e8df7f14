"""Dead letters: messages that were given up, unchanged, with headers that say why."""

from flts.workers.child import Dead
from flts.workers.messages import Headers, Outgoing, Received
from flts.workers.settings import Topics

ERROR, STAGE, ATTEMPTS = "error", "stage", "attempts"
TOPIC, PARTITION, OFFSET, TIME = "original_topic", "original_partition", "original_offset", "original_timestamp"
_OWN = frozenset({ERROR, STAGE, ATTEMPTS, TOPIC, PARTITION, OFFSET, TIME})


def dead_letter(received: Received, stage: str, topics: Topics, dead: Dead) -> Outgoing:
    """Return the dead letter of a message; ``original_timestamp`` in milliseconds since 1970."""
    headers = {
        ERROR: dead.reason,
        STAGE: stage,
        ATTEMPTS: str(dead.tries),
        TOPIC: received.topic,
        PARTITION: str(received.partition),
        OFFSET: str(received.offset),
        TIME: "" if received.timestamp is None else str(received.timestamp),
    }
    return Outgoing(
        topics.dead_letters[received.topic],
        received.key,
        received.value,
        (*original_headers(received.headers), *((name, text.encode()) for name, text in headers.items())),
    )


def original_headers(headers: Headers) -> Headers:
    """Return the headers that a message had before it became a dead letter."""
    return [(name, value) for name, value in headers if name not in _OWN]
