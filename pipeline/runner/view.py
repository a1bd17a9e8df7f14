"""Display of a running pipeline: a live table on a terminal, single lines elsewhere."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from flts.diagnostics.terminal import printable
from pipeline.runner.compiled import Task
from pipeline.runner.state import Status, TaskState

_STYLES: Mapping[Status, str] = {
    Status.WAITING: "dim",
    Status.RUNNING: "cyan",
    Status.DONE: "green",
    Status.CACHED: "green",
    Status.FAILED: "bold red",
    Status.NOT_RUN: "dim",
    Status.STOPPED: "yellow",
}
_BAR_WIDTH = 18


class View(Protocol):
    """Display that is told about changes of tasks."""

    def changed(self, state: TaskState) -> None:
        """Show a task's new state."""
        ...


@contextmanager
def open_view(console: Console, tasks: Iterable[Task]) -> Iterator[View]:
    """Open the view that suits the console; on a terminal, the final table stays visible."""
    if not console.is_terminal:
        yield LineView(console)
        return
    table = TableView(console, tasks)
    with Live(
        console=console, get_renderable=table.render, refresh_per_second=8, redirect_stdout=False, redirect_stderr=False
    ):
        yield table


class LineView:
    """View that prints a line when a task starts, warns or ends."""

    def __init__(self, console: Console) -> None:
        """Write to ``console``."""
        self._console = console
        self._shown: dict[str, Status] = {}
        self._notes = _NewNotes()

    def changed(self, state: TaskState) -> None:
        """Print a line if the status is new."""
        for note in self._notes.of(state):
            self._print(f"{state.task.name}: note: {note}")
        # Tasks that did not run are listed once, at the end.
        if state.status is not self._shown.get(state.task.name) and state.status is not Status.NOT_RUN:
            self._shown[state.task.name] = state.status
            self._print(f"{state.task.name}: {_sentence(state)}")

    def _print(self, line: str) -> None:
        self._console.print(printable(line), markup=False, highlight=False, soft_wrap=True)


class TableView:
    """View with a table row per task: status, time and current activity; warnings scroll by above."""

    def __init__(self, console: Console, tasks: Iterable[Task]) -> None:
        """Show every task as waiting until it changes."""
        self._console = console
        self._titles = {task.name: task.title for task in tasks}
        self._states: dict[str, TaskState] = {}
        self._notes = _NewNotes()

    def changed(self, state: TaskState) -> None:
        """Store a state; the table is drawn several times a second."""
        self._states[state.task.name] = state
        for note in self._notes.of(state):
            self._console.print(Text.assemble(("note ", "yellow"), printable(f"{state.task.title}: {note}")))

    def render(self) -> RenderableType:
        """Draw the table."""
        table = Table.grid(padding=(0, 2, 0, 0), expand=True)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, justify="right")
        table.add_column(ratio=1)
        for name, title in self._titles.items():
            state = self._states.get(name)
            status = state.status if state else Status.WAITING
            seconds = state.seconds if state else None
            table.add_row(
                Text(title, style="dim" if status in (Status.WAITING, Status.NOT_RUN) else ""),
                Text(status.value, style=_STYLES[status]),
                Text("" if seconds is None else f"{seconds:.1f} s"),
                _detail(state) if state else "",
            )
        return Group("", table)


class _NewNotes:
    """Remembers which notes were shown."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def of(self, state: TaskState) -> list[str]:
        """Return the notes that are new since the last call."""
        shown = self._counts.get(state.task.name, 0)
        self._counts[state.task.name] = len(state.notes)
        return state.notes[shown:]


def _sentence(state: TaskState) -> str:
    took = "" if state.seconds is None else f"{state.seconds:.1f} s"
    match state.status:
        case Status.RUNNING:
            return "started"
        case Status.DONE | Status.CACHED:
            return f"{state.status.value} in {took}: {state.message}"
        case Status.FAILED | Status.STOPPED if took:
            return f"{state.status.value} after {took}"
    return state.status.value


def _detail(state: TaskState) -> RenderableType:
    text = Text(printable(state.error or state.message), no_wrap=True, overflow="ellipsis")
    match state.status:
        case Status.RUNNING:
            row = Table.grid(padding=(0, 2, 0, 0), expand=True)
            row.add_column(width=_BAR_WIDTH)
            row.add_column(ratio=1, no_wrap=True)
            known = state.fraction is not None
            row.add_row(ProgressBar(completed=state.fraction or 0, total=1, pulse=not known, width=_BAR_WIDTH), text)
            return row
        case Status.FAILED:
            text.stylize("red")
            return text
        case Status.DONE | Status.CACHED:
            return text
    return ""
