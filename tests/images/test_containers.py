"""The runner on a small pipeline of real containers: what a task does is a word, as in ``tests/workers.py``."""

import gc
import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flts.errors import ServiceUnavailableError
from pipeline.runner import run as runner
from pipeline.runner.compiled import EXECUTOR_INPUT, Pipeline, load_pipeline
from pipeline.runner.containers import Containers, open_engine
from pipeline.runner.run import Run
from pipeline.runner.state import TaskState
from tests.support import engine
from tests.support.workers import compile_workers

IMAGE = "flts-preprocess:kfp"
Start = Callable[..., Run]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The run's folder, with the workers' program; its name has what a bind mount could not."""
    folder = tmp_path / "run: 1, 2"
    folder.mkdir()
    return folder


@pytest.fixture
def workers(folder: Path) -> Pipeline:
    program = compile_workers(folder).with_name("test-worker")
    program.write_text(re.sub("^#!.*", "#!/usr/bin/env python3", program.read_text()))
    compiled = load_pipeline(folder / "workers.yaml")
    command = (str(program), "--executor-input", EXECUTOR_INPUT)
    return replace(
        compiled,
        tasks={name: replace(task, image=IMAGE, command=command) for name, task in compiled.tasks.items()},
    )


@pytest.fixture
def start(workers: Pipeline, folder: Path) -> Iterator[Start]:
    with closing(open_engine({IMAGE})) as opened:

        def make(observer: Callable[[TaskState], None] = lambda state: None, **does: str) -> Run:
            arguments = workers.arguments({"count": 3} | {f"{task}_does": word for task, word in does.items()})
            starter = Containers(opened, folder, {"FLTS_THREADS": "1", "HOME": "/mine"})
            return Run(workers, arguments, folder, starter=starter, max_parallel=2, observer=observer)

        yield make
    assert not labelled(folder)


def labelled(folder: Path) -> list[str]:
    """The containers of a run."""
    return engine.docker("ps", "--all", "--quiet", "--filter", f"label=flts.run={folder}").stdout.split()


def statuses(run: Run) -> dict[str, str]:
    return {name: state.status.value for name, state in run.states.items()}


def once(task: str, message: str, act: Callable[[], None]) -> Callable[[TaskState], None]:
    """Observe until a task says something, then act once."""
    acted = threading.Event()

    def observer(state: TaskState) -> None:
        if (state.task.name, state.message) == (task, message) and not acted.is_set():
            acted.set()
            act()

    return observer


def test_every_task_runs_and_hands_on_its_outputs_independent_ones_at_once(start: Start) -> None:
    run = start(left="meet", right="meet")

    assert run.execute() == 0

    assert statuses(run) == dict.fromkeys(("first", "left", "right", "last"), "done")
    seen: dict[str, Any] = json.loads((run.states["left"].folder / "seen.json").read_text())
    (data,) = seen["inputs"]["artifacts"]["data"]["artifacts"]
    assert Path(data["uri"]).read_text() == "data of first"
    assert data["metadata"] == {"rows": 3, "by": "first"}
    assert seen["threads"] == "1"
    assert run.states["first"].outputs.artifacts["page"].path.name == "page.html"
    log = run.states["left"].log.read_text().splitlines()
    assert "plain text on stdout" in log
    assert [json.loads(line)["event"] for line in log if line.startswith("{")] == ["progress", "done"]


def test_what_containers_write_belongs_to_the_user(start: Start, folder: Path) -> None:
    start().execute()

    assert {path.stat().st_uid for path in folder.rglob("*")} == {os.getuid()}


def test_a_failure_has_the_tasks_exit_code_and_sentence(start: Start) -> None:
    run = start(left="fail")

    assert run.execute() == 2

    assert statuses(run) == {"first": "done", "left": "failed", "right": "done", "last": "not run"}
    assert run.states["left"].error == "column temp is empty"


@pytest.mark.parametrize(
    ("does", "code", "words"),
    [
        ("crash", 1, "left ended with exit code 1: Traceback: boom; its log is "),
        ("forget", 1, "left ended without writing its output artifact result"),
    ],
)
def test_what_went_wrong_is_said_in_a_sentence(start: Start, does: str, code: int, words: str) -> None:
    run = start(left=does)

    assert run.execute() == code
    assert str(run.states["left"].error).startswith(words)


def test_a_task_without_memory_is_known_to_be_that(start: Start, folder: Path) -> None:
    def limit() -> None:
        for container in labelled(folder):
            engine.docker("update", "--memory", "100m", "--memory-swap", "100m", container, check=False)

    run = start(once("left", "growing", limit), left="grow", right="fail")

    assert run.execute() in (2, 137)
    assert run.states["left"].exit_code == 137
    assert str(run.states["left"].error).startswith("left was killed (signal 9), for lack of memory; its log is ")


def test_a_command_that_the_image_lacks_is_named(workers: Pipeline, folder: Path, start: Start) -> None:
    run = start()
    state = run.states["first"]
    state.task = replace(state.task, command=("no-such-command",))

    assert run.execute() == 127  # as shells say it: what starts it is the container's init process
    assert str(state.error).startswith("first ended with exit code 127: ")
    assert "no-such-command" in str(state.error)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_every_container(start: Start, number: int, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # A first process that handles no SIGTERM, as these, is spared by the kernel.
    monkeypatch.setattr(runner, "GRACE_SECONDS", 1)
    run = start(once("left", "hanging", lambda: os.kill(os.getpid(), number)), left="hang", right="hang")

    assert run.execute() == code
    assert statuses(run) == {"first": "done", "left": "stopped", "right": "stopped", "last": "not run"}


def test_a_second_signal_kills_at_once(start: Start) -> None:
    def twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    run = start(once("left", "hanging", twice), left="ignore")
    began = time.monotonic()

    assert run.execute() == 130
    assert time.monotonic() - began < 8


def test_none_is_left_when_the_runner_itself_fails(start: Start) -> None:
    def broken() -> None:
        raise RuntimeError("the view broke")

    run = start(once("left", "hanging", broken), left="hang", right="hang")

    with pytest.raises(RuntimeError, match="the view broke"):
        run.execute()


def test_a_container_that_somebody_removed_is_named(start: Start, folder: Path) -> None:
    def remove() -> None:
        engine.docker("rm", "--force", *labelled(folder))

    run = start(once("left", "hanging", remove), left="hang", right="hang")

    assert run.execute() in (1, 137)
    assert str(run.states["left"].error).startswith(("the container of left was removed", "left was killed (signal 9)"))


# The SDK leaves connections that break to the garbage collector.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")
def test_an_engine_that_goes_away_is_a_service_out_of_reach(
    start: Start, workers: Pipeline, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with engine.passage(tmp_path / "engine.sock") as (address, end):
        monkeypatch.setenv("DOCKER_HOST", address)
        with closing(open_engine({IMAGE})) as opened:
            run = Run(
                workers,
                workers.arguments({"count": 1, "left_does": "hang"}),
                folder,
                starter=Containers(opened, folder, {}),
                max_parallel=2,
                observer=once("left", "hanging", end),
            )
            code = run.execute()
        with pytest.raises(ServiceUnavailableError, match="the Docker engine cannot be reached: is one running at"):
            open_engine({IMAGE})
        monkeypatch.undo()
        engine.docker("rm", "--force", *labelled(folder))
    gc.collect()

    assert code == 3
    assert str(run.states["left"].error).startswith(
        f"the Docker engine at {address} stopped answering while left ran; "
        "docker ps --all --filter label=flts.run lists"
    )
