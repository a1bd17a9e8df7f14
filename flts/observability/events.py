"""Log lines as JSON, one object a line on stderr: of stages, of servers and of workers."""

import atexit
import json
import sys
from collections.abc import Mapping
from typing import Any

from flts.contracts import utc_timestamp
from flts.observability.redaction import redact, redact_values

# In a busy server every write waits until the threads that compute let it go on: one write for many lines.
_WRITE_AFTER_SECONDS = 0.02
_MOST_QUEUED = 1000
_queued: list[str] = []


def format_event(source: Mapping[str, str], level: str, event: str, message: str, fields: Mapping[str, Any]) -> str:
    """Return a log line without secrets.

    Args:
        source: The writer of the line, such as ``{"service": "gateway"}`` or ``{"stage": "eval"}``.
        level: ``debug``, ``info``, ``warning`` or ``error``.
        event: The kind of event, a word for machines.
        message: The sentence for people.
        fields: More fields of the line.
    """
    line = {"time": utc_timestamp(), "level": level, **source, "event": event, "message": message, **fields}
    text = json.dumps(line, ensure_ascii=False)
    # Nearly all lines have no secret: one search through the whole line finds that out. JSON's escapes may hide one.
    if "\\" in text or redact(text) != text:
        text = json.dumps(redact_values(line), ensure_ascii=False)
    return text


def log_event(service: str, event: str, message: str, level: str = "info", **fields: Any) -> None:
    """Write a log line of a server or worker; arguments as of ``format_event``.

    In an event loop it is written a moment later, together with the lines that follow until then; errors at once.
    """
    text = format_event({"service": service}, level, event, message, fields)
    from asyncio import get_running_loop

    try:
        loop = get_running_loop()
    except RuntimeError:
        _write(text)
        return
    if not _queued:
        loop.call_later(_WRITE_AFTER_SECONDS, flush)
    _queued.append(text)
    if level == "error" or len(_queued) > _MOST_QUEUED:
        flush()


@atexit.register
def flush() -> None:
    """Write the lines that are queued."""
    if _queued:
        text = "\n".join(_queued)
        _queued.clear()
        _write(text)


def _write(text: str) -> None:
    # With its line end in one piece: a line that another thread writes must not come between.
    print(f"{text}\n", end="", file=sys.stderr, flush=True)
