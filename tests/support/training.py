"""Trainings in processes of their own, which can be killed at a chosen moment."""

import multiprocessing
import os
import signal
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from flts.stage_interface import Context, InputArtifact, Result
from flts.stages import STAGES
from flts.store import open_store

# The server imports the slow libraries once; every process is a fork of it that has opened nothing yet.
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["tests.support.training", "tests.support.training_imports"])


@dataclass(frozen=True)
class Place:
    """Data, MLflow and store of a training."""

    training_data: Path
    tracking_uri: str
    store_url: str | None
    wait_seconds: int | None = None

    @property
    def failures(self) -> Path:
        """The file in which a process says why it failed."""
        return self.training_data.with_name("failures.txt")

    def train(
        self,
        name: str = "train-gru",
        *,
        die_at: str = "",
        die_after: str = "",
        progress: Callable[[str], object] = len,
        **given: Any,
    ) -> Result:
        """Run a trainer in this process, and SIGKILL it before or after the first call of a method.

        ``die_at`` may also be the beginning of a progress message; ``progress`` is given every one of them.
        """
        stage = STAGES[name]
        small: dict[str, Any] = (
            {"growth": "flat", "n_changepoints": 0}
            if name == "train-prophet"
            else {"hidden_size": 4, "num_layers": 1, "epochs": 2}
        )
        params = stage.params(**{"config_hash": "", "config_json": "", "identifier": "run-001"} | small | given)
        _arm(die_at, before=True)
        _arm(die_after, before=False)

        def tell(fraction: float | None, message: str) -> None:
            if die_at and message.startswith(die_at):
                _die()
            progress(message)

        with tempfile.TemporaryDirectory() as folder:
            context = Context(
                {"training_data": InputArtifact(self.training_data)},
                work_dir=Path(folder),
                store=open_store(self.store_url) if self.store_url else None,
                tracking_uri=self.tracking_uri,
                wait_seconds=self.wait_seconds,
                progress=tell,
            )
            return stage.run(params, context)

    def start(self, *, barrier: Barrier | None = None, **given: Any) -> ForkServerProcess:
        """Run a trainer in a process of its own, which waits at ``barrier`` before it trains."""
        process = SERVER.Process(target=_run, args=(self, barrier, given))
        process.start()
        return process


def _run(place: Place, barrier: Barrier | None, given: dict[str, Any]) -> None:
    try:
        if barrier:
            barrier.wait(60)
        place.train(**given)
    except BaseException:
        place.failures.write_text(traceback.format_exc())
        raise


def _arm(method: str, *, before: bool) -> None:
    from flts.stages.publishing.run_lock import RunLock, StoreLock
    from flts.tracking import Tracking

    for owner in (Tracking, StoreLock, RunLock):
        if method and (original := getattr(owner, method, None)):

            def dying(*args: Any, _original: Any = original, **given: Any) -> None:
                if not before:
                    _original(*args, **given)
                _die()

            setattr(owner, method, dying)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
