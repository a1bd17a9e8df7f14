"""The stages' commands as processes."""

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BIN = Path(sys.executable).parent
# Where the tests run in a clone, its code is what the commands run.
PYTHONPATH = {name: value for name, value in os.environ.items() if name == "PYTHONPATH"}


@dataclass(frozen=True)
class Ended:
    """The exit code and output of a command."""

    code: int
    stdout: str
    stderr: str

    def events(self) -> list[dict[str, Any]]:
        """Every line of stderr, of a command that writes JSON."""
        return [json.loads(line) for line in self.stderr.splitlines()]

    def error(self) -> str:
        """The only line on stderr, without the command's name."""
        (line,) = self.stderr.splitlines()
        command, _, message = line.partition(": ")
        assert command.startswith("flts-"), line
        return message


def start(folder: Path, *command: str, environ: Mapping[str, str] | None = None) -> "subprocess.Popen[str]":
    """Start a command in a folder."""
    return subprocess.Popen(
        command,
        cwd=folder,
        env={"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", **PYTHONPATH, **(environ or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Python turns SIGINT into KeyboardInterrupt only where it is not ignored, as it is in a shell's background.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no threads
    )


def run(folder: Path, *command: str, **environ: str) -> Ended:
    """Run a command in a folder to its end."""
    with start(folder, *command, environ=environ) as process:
        stdout, stderr = process.communicate(timeout=120)
    return Ended(process.returncode, stdout, stderr)


def seconds_computed_by_children() -> float:
    """Return the seconds of CPU time of all processes that this one has waited for: other work does not lengthen it."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def listing(folder: Path) -> Sequence[str]:
    """Everything below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
