"""Reporters: the progress and the end of a stage on stderr, as readable lines or as JSON lines for machines.

Under KFP, and where ``FLTS_LOG`` is ``json``, a line is a JSON object with ``time``, ``level``, ``stage``, ``event``,
``message`` and ``request_id``, and with ``identifier``, ``config_hash`` and ``run_id`` once they are known. Events:
``progress`` (with ``fraction``, a number in [0, 1] or null), ``note`` (a warning for people), ``done`` (with
``cached``), ``error`` (with ``exit_code``, and ``traceback`` when it is a bug) and ``log`` (a library's warning, with
``logger``).
"""

import logging
import os
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from flts.diagnostics.terminal import printable
from flts.errors import BadInputError
from flts.observability import request_ids
from flts.observability.events import format_event
from flts.observability.redaction import redact
from flts.stage_interface import Result, Stage

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

_FORMAT_VARIABLE = "FLTS_LOG"
_SECONDS_BETWEEN_PROGRESS = 0.2
# A log that nobody watches shows that work goes on, and otherwise holds what people will look for.
_SECONDS_BETWEEN_LINES = 30.0


class Reporter(Protocol):
    """Shows the progress and the end of a stage."""

    def set_ids(self, ids: Mapping[str, str]) -> None:
        """Set ``identifier``, ``config_hash`` or ``run_id`` of the work, as they become known."""

    def progress(self, fraction: float | None, message: str) -> None:
        """Show how far the stage is: ``fraction`` in [0, 1], or ``None`` when unknown."""

    def log(self, level: str, logger: str, message: str) -> None:
        """Show a log record of a library."""

    def done(self, result: Result) -> None:
        """Show that the outputs are written."""

    def error(self, message: str, exit_code: int, traceback: str = "") -> None:
        """Show why the stage ends without outputs; ``traceback`` only for a bug."""

    def close(self) -> None:
        """Leave the terminal as it was."""


def open_reporter(stage: Stage, stream: TextIO, argv: Sequence[str]) -> Reporter:
    """Choose by the stage's arguments, ``FLTS_LOG``, and whether the stream is a terminal."""
    under_kfp = any(argument.split("=")[0] == "--executor-input" for argument in argv)
    if under_kfp or os.environ.get(_FORMAT_VARIABLE) == "json":
        return JsonReporter(stage, stream)
    return TerminalReporter(stage, stream) if stream.isatty() else LineReporter(stage, stream)


def check_log_format() -> None:
    """Raise ``BadInputError`` when ``FLTS_LOG`` names an unknown format."""
    choice = os.environ.get(_FORMAT_VARIABLE, "")
    if choice not in ("", "json"):
        raise BadInputError(f"environment variable {_FORMAT_VARIABLE} must be json or empty, got {choice!r}")


def route_logging(reporter: Reporter) -> None:
    """Send warnings and errors of libraries to the reporter; their Python warnings are for developers."""
    root = logging.getLogger()
    root.handlers = [_Handler(reporter)]
    root.setLevel(logging.WARNING)
    # It logs every retry as a warning, without saying of which request; the last one raises an error.
    logging.getLogger("stamina").setLevel(logging.ERROR)
    # Otherwise MLflow has a handler of its own, and its records do not reach the root logger.
    os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")
    if not sys.warnoptions:
        warnings.simplefilter("ignore")


def write_line(stream: TextIO, line: str) -> None:
    """Write a line at once; when nobody reads it any more, the work goes on and its exit code stays."""
    try:
        print(f"{line}\n", end="", file=stream, flush=True)
    except OSError:
        # Otherwise Python would write the rest of the line when it exits, and fail then.
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), stream.fileno())


class JsonReporter:
    """One JSON object a line; progress at most five times a second, and always the latest before another event."""

    def __init__(self, stage: Stage, stream: TextIO) -> None:
        self._stage = stage.name
        self._stream = stream
        self._ids: dict[str, str] = request_ids.ids()
        self._last_progress = float("-inf")
        self._pending_progress: tuple[float | None, str] | None = None

    def set_ids(self, ids: Mapping[str, str]) -> None:
        """Add the ids to all later lines."""
        self._ids |= ids

    def progress(self, fraction: float | None, message: str) -> None:
        """Write a progress line, or keep it until another event shows whether it was the last."""
        now = time.monotonic()
        self._pending_progress = (fraction, message)
        if now - self._last_progress >= _SECONDS_BETWEEN_PROGRESS or fraction == 1:
            self._last_progress = now
            self._flush_progress()

    def log(self, level: str, logger: str, message: str) -> None:
        """Write a library's log record."""
        self._write(level, "log", message, logger=logger)

    def done(self, result: Result) -> None:
        """Write the notes and the closing event."""
        self._flush_progress()
        for note in result.notes:
            self._write("warning", "note", note)
        self._write("info", "done", result.message, cached=result.cached)

    def error(self, message: str, exit_code: int, traceback: str = "") -> None:
        """Write the error event."""
        self._flush_progress()
        details = {"traceback": _safe(traceback)} if traceback else {}
        self._write("error", "error", message, exit_code=exit_code, **details)

    def close(self) -> None:
        """Do nothing: there is no progress bar."""

    def _flush_progress(self) -> None:
        if self._pending_progress is not None:
            fraction, message = self._pending_progress
            self._pending_progress = None
            self._write("info", "progress", message, fraction=fraction)

    def _write(self, level: str, event: str, message: str, **fields: Any) -> None:
        source, fields = {"stage": self._stage}, fields | self._ids
        write_line(self._stream, format_event(source, level, event, _safe(message), fields))


class LineReporter:
    """Readable lines: notes, warnings of libraries, the error; progress twice a minute, so that short work has none."""

    def __init__(self, stage: Stage, stream: TextIO) -> None:
        self._command = stage.command
        self._stream = stream
        self._last_progress = time.monotonic()

    def set_ids(self, ids: Mapping[str, str]) -> None:
        """Do nothing: the reader of these lines started the stage and knows its ids."""

    def progress(self, fraction: float | None, message: str) -> None:
        """Write a line when there has been none for a while."""
        now = time.monotonic()
        if now - self._last_progress >= _SECONDS_BETWEEN_LINES:
            self._last_progress = now
            self._print(message if fraction is None else f"{fraction:.0%} {message}")

    def log(self, level: str, logger: str, message: str) -> None:
        """Write a library's log record."""
        self._print(f"{level}: {logger}: {message}")

    def done(self, result: Result) -> None:
        """Write the notes; the closing line goes to stdout."""
        self.close()
        for note in result.notes:
            self._print(f"note: {note}")

    def error(self, message: str, exit_code: int, traceback: str = "") -> None:  # noqa: ARG002 - the shell knows it
        """Write the error in one line, below the traceback if it is a bug."""
        self.close()
        if traceback:
            self._print(traceback.rstrip())
        self._print(f"{self._command}: {message}")

    def close(self) -> None:
        """Do nothing: there is no progress bar."""

    def _print(self, text: str) -> None:
        write_line(self._stream, _safe(text))


class TerminalReporter(LineReporter):
    """Readable lines, and a progress bar while the stage runs."""

    def __init__(self, stage: Stage, stream: TextIO) -> None:
        super().__init__(stage, stream)
        self._bar: Bar | None = None
        self._task: TaskID | None = None

    def progress(self, fraction: float | None, message: str) -> None:
        """Move the bar; without a known fraction it pulses."""
        bar, task = self._open_bar()
        bar.update(task, completed=fraction or 0, total=None if fraction is None else 1, description=_safe(message))

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _open_bar(self) -> "tuple[Bar, TaskID]":
        if self._bar is None or self._task is None:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

            columns = (BarColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
            console = Console(file=self._stream)
            self._bar = Progress(*columns, console=console, transient=True, redirect_stdout=False)
            self._task = self._bar.add_task("", total=None)
            self._bar.start()
        return self._bar, self._task

    def _print(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(_safe(text), markup=False, highlight=False)
        else:
            super()._print(text)


def _safe(text: str) -> str:
    """Return text without secrets and without control characters; line ends stay."""
    return "\n".join(map(printable, redact(text).split("\n")))


class _Handler(logging.Handler):
    def __init__(self, reporter: Reporter) -> None:
        super().__init__(logging.WARNING)
        self._reporter = reporter

    def emit(self, record: logging.LogRecord) -> None:
        self._reporter.log(record.levelname.lower(), record.name, self.format(record))
