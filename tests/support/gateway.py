"""A gateway as a process, for tests."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.listening import listening

BIN = Path(sys.executable).parent


@dataclass
class Gateway:
    """A running gateway: its address, and what it has said so far."""

    url: str
    process: "subprocess.Popen[str]"
    lines: list[str] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def requests(self) -> list[dict[str, Any]]:
        """Its log lines of requests."""
        return [json.loads(line) for line in self.lines if line.startswith("{")]

    def resident(self) -> int:
        """Bytes of memory that it uses now."""
        return resident(self.process.pid)


def resident(pid: int) -> int:
    """Return the bytes of memory that a process uses now."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def gateway(store: str, *options: str, environ: Mapping[str, str] | None = None) -> Iterator[Gateway]:
    """Run a gateway on a free port of this machine until the block ends."""
    command = [str(BIN / "flts-gateway"), "--store", store, "--port", "0", *options]
    with listening(command, environ or {}) as (url, process, lines):
        yield Gateway(url, process, lines)
