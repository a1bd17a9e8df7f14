"""The local runner on a small pipeline of real processes."""

import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.runner import run as runner
from pipeline.runner.compiled import Pipeline, PipelineParameter, load_pipeline
from pipeline.runner.processes import Processes
from pipeline.runner.run import Run
from pipeline.runner.state import Status, TaskState
from tests.support.workers import assert_gone, compile_workers


@pytest.fixture(scope="module")
def bin_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_workers(tmp_path_factory.mktemp("workers")).parent


@pytest.fixture
def workers(bin_folder: Path) -> Pipeline:
    return load_pipeline(bin_folder / "workers.yaml")


Start = Callable[..., Run]


@pytest.fixture
def start(workers: Pipeline, bin_folder: Path, tmp_path: Path) -> Start:
    def make(
        observer: Callable[[TaskState], None] = lambda state: None,
        max_parallel: int = 2,
        pipeline: Pipeline = workers,
        **does: str,
    ) -> Run:
        arguments = workers.arguments({"count": 3} | {f"{task}_does": word for task, word in does.items()})
        environment = {"PATH": f"{bin_folder}:{os.environ['PATH']}", "FLTS_THREADS": "1"}
        return Run(
            pipeline,
            arguments,
            tmp_path / "run",
            starter=Processes(environment),
            max_parallel=max_parallel,
            observer=observer,
        )

    return make


def statuses(run: Run) -> dict[str, str]:
    return {name: state.status.value for name, state in run.states.items()}


def seen(run: Run, task: str) -> dict[str, Any]:
    return json.loads((run.states[task].folder / "seen.json").read_text())


def when(status: Status, task: str, message: str, act: Callable[[], None]) -> Callable[[TaskState], None]:
    """Observe until a task is where it should be, then act once."""
    acted = threading.Event()

    def observer(state: TaskState) -> None:
        there = state.task.name == task and state.status is status and state.message == message
        if there and not acted.is_set():
            acted.set()
            act()

    return observer


def test_every_task_runs_and_hands_on_its_outputs(start: Start) -> None:
    run = start()

    assert run.execute() == 0

    assert statuses(run) == dict.fromkeys(("first", "left", "right", "last"), "done")
    left, last = seen(run, "left")["inputs"], seen(run, "last")["inputs"]
    assert left["parameterValues"] == {"does": "", "heard": "from first"}
    (data,) = left["artifacts"]["data"]["artifacts"]
    assert Path(data["uri"]).read_text() == "data of first"
    assert data["metadata"] == {"rows": 3, "by": "first"}
    assert data["type"]["schemaTitle"] == "system.Artifact"
    assert last["parameterValues"]["constant"] == 7
    assert run.states["last"].message == "last is done"


def test_defaults_and_types_reach_the_task(start: Start) -> None:
    run = start()
    run.execute()

    values = seen(run, "first")["inputs"]["parameterValues"]

    assert values == {"does": "", "count": 3, "ratio": 0.5, "flag": True}
    assert seen(run, "first")["threads"] == "1"


def test_what_a_task_checks_for_later_ones_reaches_it(start: Start, workers: Pipeline) -> None:
    first = workers.tasks["first"]
    handed = {"pipelinechannel--check--rounds": PipelineParameter("left_does")}
    with_checks = replace(first, arguments={**first.arguments, **handed})
    run = start(pipeline=replace(workers, tasks={**workers.tasks, "first": with_checks}), left='a "quoted" \\ text')
    run.execute()

    assert seen(run, "first")["inputs"]["parameterValues"]["pipelinechannel--check--rounds"] == 'a "quoted" \\ text'


def test_pages_get_a_suffix_that_browsers_know(start: Start) -> None:
    run = start()
    run.execute()

    assert run.states["first"].outputs.artifacts["page"].path.name == "page.html"


def test_independent_tasks_run_at_once(start: Start) -> None:
    run = start(left="meet", right="meet")

    assert run.execute() == 0


def test_no_more_tasks_run_at_once_than_may(start: Start) -> None:
    running: list[int] = []
    run = start(
        lambda _: running.append(sum(state.status is Status.RUNNING for state in run.states.values())), max_parallel=1
    )

    assert run.execute() == 0

    assert set(statuses(run).values()) == {"done"}
    assert max(running) == 1


def test_the_log_has_everything_the_task_wrote(start: Start) -> None:
    run = start()
    run.execute()

    log = run.states["first"].log.read_text()

    assert "plain text on stdout" in log
    assert '"event": "done"' in log


def test_a_failure_stops_what_depends_on_it_and_nothing_else(start: Start) -> None:
    run = start(left="fail")

    assert run.execute() == 2

    assert statuses(run) == {"first": "done", "left": "failed", "right": "done", "last": "not run"}
    assert run.states["left"].error == "column temp is empty"
    assert run.states["left"].exit_code == 2


@pytest.mark.parametrize(
    ("does", "code", "words"),
    [
        ("crash", 1, "left ended with exit code 1: Traceback: boom; its log is "),
        ("die", 137, r"left was killed \(signal 9\), perhaps for lack of memory"),
        ("forget", 1, "left ended without writing its output artifact result"),
        ("move", 1, "left changed the uri of its output result to s3://elsewhere/x"),
        ("embellish", 1, "left wrote the unknown field extra to its outputFile"),
    ],
)
def test_what_went_wrong_is_said_in_a_sentence(start: Start, does: str, code: int, words: str) -> None:
    run = start(left=does)

    assert run.execute() == code

    assert run.states["left"].status is Status.FAILED
    assert run.states["left"].error is not None
    assert re.search(words, run.states["left"].error)


def test_a_missing_command_is_named(workers: Pipeline, tmp_path: Path) -> None:
    run = Run(
        workers,
        workers.arguments({"count": 1}),
        tmp_path / "run",
        starter=Processes({"PATH": "/nowhere"}),
        max_parallel=1,
        observer=lambda state: None,
    )

    assert run.execute() == 1
    assert run.states["first"].error == "the command test-worker is not on PATH: is the project installed?"
    assert statuses(run)["last"] == "not run"


def test_reuse_and_warnings_are_taken_in(start: Start) -> None:
    run = start(left="reuse", right="warn")
    run.execute()

    assert run.states["left"].status is Status.CACHED
    assert run.states["right"].notes == ["3 values were missing"]


def test_progress_is_observed(start: Start) -> None:
    fractions = []
    run = start(observer=lambda state: fractions.append(state.fraction))
    run.execute()

    assert 0.5 in fractions


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_every_child_and_theirs(start: Start, number: int, code: int) -> None:
    interrupt = when(Status.RUNNING, "left", "hanging", lambda: os.kill(os.getpid(), number))
    run = start(observer=interrupt, left="hang")
    began = time.monotonic()

    assert run.execute() == code

    assert time.monotonic() - began < 50  # of the 60 that it hangs
    assert statuses(run)["left"] == "stopped"
    assert statuses(run)["last"] == "not run"
    child = int((run.states["left"].folder / "child").read_text())
    assert_gone(child)
    assert signal.getsignal(number) in (signal.default_int_handler, signal.SIG_DFL)


def test_a_child_that_ignores_sigterm_is_killed_after_a_while(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "GRACE_SECONDS", 0.3)
    interrupt = when(Status.RUNNING, "left", "hanging", lambda: os.kill(os.getpid(), signal.SIGINT))
    run = start(observer=interrupt, left="ignore")

    assert run.execute() == 130
    assert statuses(run)["left"] == "stopped"


def test_a_second_signal_kills_at_once(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "GRACE_SECONDS", 1000)

    def twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    run = start(observer=when(Status.RUNNING, "left", "hanging", twice), left="ignore")
    began = time.monotonic()

    assert run.execute() == 130
    assert time.monotonic() - began < 50  # of the 60 that it hangs


def test_a_task_that_takes_its_time_to_stop_says_how_to_hurry(start: Start) -> None:
    messages = []
    interrupt = when(Status.RUNNING, "left", "hanging", lambda: os.kill(os.getpid(), signal.SIGINT))

    def observer(state: TaskState) -> None:
        messages.append((state.task.name, state.status, state.message))
        interrupt(state)

    start(observer=observer, left="hang").execute()

    assert ("left", Status.RUNNING, "stopping; press Ctrl-C again to kill it") in messages


def test_children_end_when_the_runner_itself_fails(start: Start) -> None:
    def broken() -> None:
        raise RuntimeError("the view broke")

    run = start(observer=when(Status.RUNNING, "left", "hanging", broken), left="hang")

    with pytest.raises(RuntimeError, match="the view broke"):
        run.execute()
    assert_gone(int((run.states["left"].folder / "child").read_text()))
