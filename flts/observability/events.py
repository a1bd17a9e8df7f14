"""What a service says on stderr: one JSON object a line."""

import asyncio
import atexit
import json
import sys
from typing import Any

from flts.contracts import utc_timestamp

# In a busy server every write waits until the threads that compute let it go on: one write for many lines.
_WRITE_AFTER_SECONDS = 0.02
_MOST_WAITING = 1000
_waiting: list[str] = []


def say(service: str, event: str, message: str, level: str = "info", **fields: Any) -> None:
    """Write a line; ``fields`` go into it as they are.

    From an event loop it is written a moment later, together with what else is said until then; errors at once.
    """
    line = {
        "time": utc_timestamp(),
        "level": level,
        "service": service,
        "event": event,
        "message": message,
        **fields,
    }
    text = json.dumps(line, ensure_ascii=False)
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        print(text, file=sys.stderr, flush=True)
        return
    if not _waiting:
        loop.call_later(_WRITE_AFTER_SECONDS, flush)
    _waiting.append(text)
    if level == "error" or len(_waiting) > _MOST_WAITING:
        flush()


@atexit.register
def flush() -> None:
    """Write what waits."""
    if _waiting:
        text = "\n".join(_waiting)
        _waiting.clear()
        print(text, file=sys.stderr, flush=True)
