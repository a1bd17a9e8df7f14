"""The process that works on messages, as its parent sees it."""

import multiprocessing
import os
import signal
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from flts.workers.outcomes import Announced, Crashed, Reply, WorkItem
from flts.workers.worker_process import WorkerSpec, serve

# After SIGTERM the process needs some three seconds, in which it informs MLflow.
_SECONDS_TO_END = 5.0


class WorkerProcess:
    """Works on one message at a time in a process of its own, which can be ended at any moment.

    So a message whose partition goes to another worker is left at once, a crash of the stage does not end the worker,
    and the worker stays in its group during the work.
    """

    def __init__(self, spec: WorkerSpec) -> None:
        """Start the process, which loads what the stage needs."""
        self._spec = spec
        self._spawn()

    def start(self, item: WorkItem) -> None:
        """Start the work on a message; the work on the one before must be done."""
        try:
            self._pipe.send(item)
        except OSError:  # the process was stopped, or ended while it was idle
            self._spawn()
            self._pipe.send(item)

    def wait(self, seconds: float) -> Announced | Reply | None:
        """Wait for the next reply of the process; return ``None`` if none comes in time."""
        try:
            if self._pipe.poll(seconds):
                reply: Announced | Reply = self._pipe.recv()
                return reply
        except (EOFError, ConnectionError):
            self._process.join()
            code = self._process.exitcode or 0
            how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            return Crashed(f"the process that worked on it {how}")
        return None

    def stop(self) -> None:
        """End the process and its work."""
        if self._process.is_alive() and self._process.pid:
            os.kill(self._process.pid, signal.SIGTERM)
            self._process.join(_SECONDS_TO_END)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._pipe.close()

    def _spawn(self) -> None:
        # Not a fork: the threads of Kafka's client would be missing in it.
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        self._pipe: Connection = ours
        self._process: BaseProcess = context.Process(
            target=serve, args=(self._spec, theirs, os.getpid()), name=self._spec.stage, daemon=True
        )
        self._process.start()
        theirs.close()
