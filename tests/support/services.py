"""S3 and MLflow for tests, which the fixtures of ``tests/conftest.py`` start:

- ``s3`` -> `S3`: an S3 server of this test process alone; up in a second.
- ``services`` -> `Services`: S3 and MLflow, which every process of a test run shares, as MLflow takes long to start.
- ``s3_environ`` and ``services_environ``: the same, and their variables are set while tests of the module run, for
  this process and those it starts.

Tests that stop, kill or restart a server start their own with `s3_server` and `mlflow_server`.
"""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO

from scripts.services import S3, NotStartedError, Services, free_ports, mlflow_server, running, s3_server

__all__ = ["S3", "NotStartedError", "Services", "free_ports", "mlflow_server", "s3_server", "shared"]


@contextmanager
def shared(folder: Path) -> Iterator[Services]:
    """Use the services of all processes that name the same folder: the first starts them, after the last they stop.

    Every user holds the file ``users`` locked. The kernel drops the locks of those that die, so that a keeper process,
    which waits for the file to be free, stops the services whatever happened.
    """
    state = folder / "services.json"
    with (folder / "users").open("a") as users:
        with (folder / "start").open("a") as start:
            fcntl.flock(start, fcntl.LOCK_EX)
            fcntl.flock(users, fcntl.LOCK_SH)  # waits while a keeper stops what it kept
            if not state.exists():
                command = [sys.executable, "-m", __name__, str(folder)]
                subprocess.run(command, cwd=Path(__file__).parents[2], check=False)
            if not state.exists():
                raise NotStartedError((folder / "keeper.log").read_text())
            found = json.loads(state.read_text())
        yield Services(S3(**found["s3"]), found["mlflow_uri"])


def _keep(folder: Path) -> None:
    """Run the services in a process of its own until nobody holds ``users``; returns when they are up or failed."""
    up, tell = os.pipe()
    if os.fork():
        os.close(tell)
        os.read(up, 1)  # nothing comes, but the keeper closes its end
        return
    os.setsid()
    with (folder / "keeper.log").open("w") as log, open(os.devnull) as nothing:
        _redirect(nothing, log)
    state, partial = folder / "services.json", folder / "services.json.partial"
    with (folder / "users").open("a") as users:
        with running(folder / "services") as services:
            partial.write_text(json.dumps(asdict(services)))
            partial.rename(state)
            os.close(tell)
            fcntl.flock(users, fcntl.LOCK_EX)
            state.unlink()
        shutil.rmtree(folder / "services")


def _redirect(source: IO[str], sink: IO[str]) -> None:
    os.dup2(source.fileno(), 0)
    os.dup2(sink.fileno(), 1)
    os.dup2(sink.fileno(), 2)


if __name__ == "__main__":
    _keep(Path(sys.argv[1]))
