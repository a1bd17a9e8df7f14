"""The views of a run."""

import io
import time
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.runner.compiled import Task
from pipeline.runner.state import Status, TaskState
from pipeline.runner.view import LineView, TableView, open_view


def task(name: str, title: str) -> Task:
    return Task(name, title, "image", ("x",), frozenset(), {}, {}, {}, {}, {})


TASKS = [task("preprocess", "Preprocess"), task("train-gru", "Train GRU"), task("eval", "Evaluate")]


@pytest.fixture
def states(tmp_path: Path) -> dict[str, TaskState]:
    return {one.name: TaskState(one, tmp_path / one.name) for one in TASKS}


def ran(state: TaskState, status: Status, seconds: float, **fields: object) -> TaskState:
    state.started, state.ended, state.status = 100.0, 100.0 + seconds, status
    for name, value in fields.items():
        setattr(state, name, value)
    return state


def lines(states: list[TaskState]) -> list[str]:
    out = io.StringIO()
    view = LineView(Console(file=out, width=40))
    for state in states:
        view.changed(state)
    return out.getvalue().splitlines()


def table(states: list[TaskState], width: int = 100) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    view = TableView(console, TASKS)
    for state in states:
        view.changed(state)
    with console.capture() as capture:
        console.print(view.render())
    return [row.rstrip() for row in capture.get().splitlines()[1:]]


def test_lines_say_start_and_end_and_are_never_wrapped(states: dict[str, TaskState]) -> None:
    state = states["preprocess"]
    state.status = Status.RUNNING
    first = lines([state])
    ended = lines([ran(state, Status.DONE, 1.24, message="8760 rows [of data] with a long sentence behind it")])

    assert first == ["preprocess: started"]
    assert ended == ["preprocess: done in 1.2 s: 8760 rows [of data] with a long sentence behind it"]


def test_lines_do_not_repeat_themselves_with_every_step_of_progress(states: dict[str, TaskState]) -> None:
    state = states["train-gru"]
    state.status = Status.RUNNING

    assert lines([state, state, state]) == ["train-gru: started"]


def test_lines_show_each_warning_once(states: dict[str, TaskState]) -> None:
    state = states["train-gru"]
    state.status = Status.RUNNING
    state.notes.append("3 gaps")

    assert lines([state, state]) == ["train-gru: note: 3 gaps", "train-gru: started"]


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (Status.CACHED, "eval: cached in 0.5 s: as before"),
        (Status.FAILED, "eval: failed after 0.5 s"),
        (Status.STOPPED, "eval: stopped after 0.5 s"),
    ],
)
def test_lines_name_every_end(states: dict[str, TaskState], status: Status, line: str) -> None:
    assert lines([ran(states["eval"], status, 0.5, message="as before")]) == [line]


def test_the_table_shows_every_task_from_the_beginning() -> None:
    assert [row.split() for row in table([])] == [
        ["Preprocess", "waiting"],
        ["Train", "GRU", "waiting"],
        ["Evaluate", "waiting"],
    ]


def test_the_table_shows_status_time_and_what_came_of_it(states: dict[str, TaskState]) -> None:
    done = ran(states["preprocess"], Status.CACHED, 2.04, message="8760 rows [of data]")
    failed = ran(states["train-gru"], Status.FAILED, 3, error="column temp is empty", message="epoch 1/3")
    states["eval"].status = Status.NOT_RUN

    preprocess, train, evaluate = table([done, failed, states["eval"]])

    assert preprocess.split(maxsplit=4) == ["Preprocess", "cached", "2.0", "s", "8760 rows [of data]"]
    assert train.split(maxsplit=5) == ["Train", "GRU", "failed", "3.0", "s", "column temp is empty"]
    assert evaluate.split() == ["Evaluate", "not", "run"]


def test_the_table_shows_progress_of_what_runs(states: dict[str, TaskState]) -> None:
    state = states["train-gru"]
    state.status, state.started = Status.RUNNING, time.monotonic() - 12
    state.fraction, state.message = 0.5, "epoch 5/10, validation loss 0.0012"

    (row,) = (row for row in table([state]) if "Train GRU" in row)

    assert "running" in row
    assert "12.0 s" in row or "12.1 s" in row
    assert row.endswith("epoch 5/10, validation loss 0.0012")
    assert row.count("━") == 9


def test_the_table_keeps_a_line_for_a_task_on_a_narrow_terminal(states: dict[str, TaskState]) -> None:
    state = ran(states["preprocess"], Status.DONE, 1, message="a very long sentence " * 10)

    rows = table([state], width=60)

    assert len(rows) == len(TASKS)
    assert max(map(len, rows)) <= 60


def test_a_terminal_gets_the_table_and_anything_else_the_lines(states: dict[str, TaskState]) -> None:
    out = io.StringIO()
    with open_view(Console(file=out, force_terminal=True, width=80), TASKS) as view:
        assert isinstance(view, TableView)
        view.changed(ran(states["eval"], Status.DONE, 1, message="chosen", notes=["a warning"]))
    with open_view(Console(file=io.StringIO()), TASKS) as view:
        assert isinstance(view, LineView)

    assert "chosen" in out.getvalue()
    assert "Evaluate: a warning" in out.getvalue()


def test_no_control_character_of_a_stage_reaches_the_terminal(states: dict[str, TaskState]) -> None:
    said = ran(states["eval"], Status.FAILED, 1, message="\x1b]0;m\x07", error="column '\x1b[31mred' is empty")
    said.notes.append("column '\x9b31mred' is constant")

    shown = lines([said, ran(states["preprocess"], Status.DONE, 1, message="read '\x1b[31mred'")])
    out = io.StringIO()
    console = Console(file=out, width=100, force_terminal=True, color_system=None)
    TableView(console, TASKS).changed(said)

    assert shown[0] == r"eval: note: column '\x9b31mred' is constant"
    assert shown[2] == r"preprocess: done in 1.0 s: read '\x1b[31mred'"
    assert out.getvalue() == "note Evaluate: column '\\x9b31mred' is constant\n"
    assert r"column '\x1b[31mred' is empty" in table([said])[2]
