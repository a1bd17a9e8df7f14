"""What a service says on stderr: one JSON object a line."""

import json
import sys
from typing import Any

from flts.contracts import utc_timestamp


def say(service: str, event: str, message: str, level: str = "info", **fields: Any) -> None:
    """Write a line; ``fields`` go into it as they are."""
    line = {
        "time": utc_timestamp(),
        "level": level,
        "service": service,
        "event": event,
        "message": message,
        **fields,
    }
    print(json.dumps(line, ensure_ascii=False), file=sys.stderr, flush=True)
