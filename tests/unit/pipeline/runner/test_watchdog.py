"""What becomes of a run's processes when its runner is killed."""

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from pipeline.runner.watchdog import VARIABLE, watchdog
from tests.support.workers import assert_gone, compile_workers

RUNNER = """
import os, sys
from pathlib import Path
from pipeline.runner.compiled import load_pipeline
from pipeline.runner.processes import Processes
from pipeline.runner.run import Run
from pipeline.runner.watchdog import VARIABLE, watchdog

folder = Path(sys.argv[1])
workers = load_pipeline(folder / "workers.yaml")
environment = {"PATH": f"{folder}:{os.environ['PATH']}", VARIABLE: str(folder)}
arguments = workers.arguments({"count": 1, "left_does": sys.argv[2], "right_does": sys.argv[2]})
with watchdog(folder, containers=False):
    run = Run(
        workers,
        arguments,
        folder / "run",
        starter=Processes(environment),
        max_parallel=2,
        observer=lambda state: print(state.task.name, state.message, flush=True),
    )
    sys.exit(run.execute())
"""


@pytest.mark.parametrize("does", ["hang", "ignore"])
def test_killed_with_its_runner_is_every_task_and_what_it_started(root: Path, tmp_path: Path, does: str) -> None:
    """Also one that does not listen to SIGTERM."""
    compile_workers(tmp_path)
    command = [sys.executable, "-c", RUNNER, str(tmp_path), does]
    with subprocess.Popen(command, cwd=root, text=True, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        waited = {"left hanging", "right hanging"}
        while waited:
            waited.discard(process.stdout.readline().strip())
        started = psutil.Process(process.pid).children(recursive=True)
        (guard,) = (child for child in started if "pipeline.runner.watchdog" in child.cmdline())
        started.remove(guard)
        process.kill()

    assert len(started) == (4 if does == "hang" else 2)
    assert_gone(*(child.pid for child in started))
    guard.kill()


def test_it_goes_with_a_runner_that_ended_by_itself(tmp_path: Path) -> None:
    before = set(psutil.Process().children())
    with watchdog(tmp_path, containers=False):
        (guard,) = set(psutil.Process().children()) - before

    assert not guard.is_running()


def test_what_another_run_started_goes_on(root: Path, tmp_path: Path) -> None:
    def sleeper(folder: Path) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(["sleep", "100"], env={VARIABLE: str(folder)})

    with sleeper(tmp_path / "other") as other, sleeper(tmp_path) as own:
        code = f"from pathlib import Path; from pipeline.runner.watchdog import watchdog\nfolder = {str(tmp_path)!r}\n"
        code += "with watchdog(Path(folder), containers=False):\n    raise SystemExit(1)"
        subprocess.run([sys.executable, "-c", code], cwd=root, check=False)
        assert own.wait(60) == -signal.SIGTERM
        with sleeper(tmp_path) as late:
            assert late.wait(60) == -signal.SIGKILL

        assert other.poll() is None
        other.kill()
