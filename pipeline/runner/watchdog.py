"""Watchdog process that ends the tasks of a run whose runner was killed.

The kernel can end a process together with its parent (``PR_SET_PDEATHSIG``), but not that process's own children, such
as Prophet's CmdStan, nor containers. The watchdog ends all of them: it finds processes by an environment variable,
which children inherit, and containers by a label; both contain the run's folder.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

VARIABLE, LABEL = "FLTS_RUN", "flts.run"
_GRACE_SECONDS = 0.5
# Tasks that were just being started when the runner died appear a little later.
_SWEEP_SECONDS = 10.0
_PAUSE_SECONDS = 0.2


@contextmanager
def watchdog(folder: Path, *, containers: bool) -> Iterator[None]:
    """Watch over a run: all that it started is ended soon, however this process ends.

    Args:
        folder: The run's folder, which is the value of ``VARIABLE`` and ``LABEL``.
        containers: True if the run starts containers.
    """
    process = subprocess.Popen(  # noqa: S603 - the interpreter that runs this
        [sys.executable, "-m", __name__, str(folder), *(["containers"] if containers else [])],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # out of reach of Ctrl-C
    )
    assert process.stdin is not None  # noqa: S101 - for mypy
    with process.stdin:  # also closed when this process dies
        yield
        process.communicate(b"all have ended")


def main(folder: str, *, containers: bool) -> None:
    """Wait until the runner ends; unless it reported that all tasks have ended, end them."""
    if sys.stdin.buffer.read():
        return
    for pid in _processes(folder):
        _kill(pid, signal.SIGTERM)
    time.sleep(_GRACE_SECONDS)
    deadline = time.monotonic() + _SWEEP_SECONDS
    while time.monotonic() < deadline:
        for pid in _processes(folder):
            _kill(pid, signal.SIGKILL)
        if containers:
            _remove_containers(folder)
        time.sleep(_PAUSE_SECONDS)


def _processes(folder: str) -> Iterator[int]:
    mark = os.fsencode(f"{VARIABLE}={folder}")
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):  # it has ended, or is another user's
            if mark in environment.read_bytes().split(b"\0"):
                yield int(environment.parent.name)


def _kill(pid: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _remove_containers(folder: str) -> None:
    import docker
    from docker.errors import DockerException

    with suppress(DockerException, OSError):  # the next sweep tries again
        engine = docker.from_env()
        for container in engine.containers.list(all=True, filters={"label": f"{LABEL}={folder}"}):
            container.remove(force=True)
        engine.close()


if __name__ == "__main__":
    main(sys.argv[1], containers=len(sys.argv) > 2)
