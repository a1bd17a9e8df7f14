"""Liveness of a worker: it touches a file while it polls Kafka.

``python -m flts.workers.liveness`` checks the file: exit code 0 for a worker that lives, else 1.
"""

import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

VARIABLE = "FLTS_LIVENESS_FILE"
_DEFAULT = "/tmp/flts-alive"  # noqa: S108 - each container has its own
_SECONDS_BETWEEN = 5.0
_OLDEST_SECONDS = 60.0


class Heartbeat:
    """Touches the file every few seconds for as long as ``beat`` is called."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """Read the file's path; a file that cannot be written is ignored, as no probe can read it either."""
        self._path = path_of(environ)
        self._next = 0.0

    def beat(self) -> None:
        """Touch the file."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _SECONDS_BETWEEN
            with suppress(OSError):
                self._path.touch()

    def end(self) -> None:
        """Remove the file."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)


def path_of(environ: Mapping[str, str]) -> Path:
    """Return the path of the file."""
    return Path(environ.get(VARIABLE) or _DEFAULT)


def is_alive(environ: Mapping[str, str]) -> bool:
    """Return whether a worker touched the file within the last minute."""
    try:
        return time.time() - path_of(environ).stat().st_mtime < _OLDEST_SECONDS
    except OSError:
        return False


if __name__ == "__main__":
    sys.exit(not is_alive(os.environ))
