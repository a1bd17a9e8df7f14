"""What a stage tells while it runs, on stderr: readable lines, or JSON lines for machines.

Under KFP, and where ``FLTS_LOG`` is ``json``, a line is a JSON object with ``time``, ``level``, ``stage``, ``event``,
``message`` and ``request_id``, and with ``identifier``, ``config_hash`` and ``run_id`` once they are known. Events:
``progress`` (with ``fraction``, a number in [0, 1] or null), ``note`` (a warning for people), ``done`` (with
``cached``), ``error`` (with ``exit_code``, and ``traceback`` when it is a bug) and ``log`` (a library's warning, with
``logger``).
"""

import json
import logging
import os
import re
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from flts.contracts import utc_timestamp
from flts.diagnostics.terminal import printable
from flts.errors import BadInputError
from flts.observability import request_ids
from flts.stage_interface import Result, Stage

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

_CHOICE = "FLTS_LOG"
_SECONDS_BETWEEN_PROGRESS = 0.2
# A log that nobody watches shall tell that work goes on, and otherwise hold what will be looked for.
_SECONDS_BETWEEN_LINES = 30.0
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")
_SECRET_NAME = re.compile(r"SECRET|PASSWORD|TOKEN|API_KEY|ACCESS_KEY")


class Reporter(Protocol):
    """Where a stage's progress and end are told."""

    def about(self, ids: Mapping[str, str]) -> None:
        """Take what the stage works on, as it becomes known: ``identifier``, ``config_hash``, ``run_id``."""

    def progress(self, fraction: float | None, message: str) -> None:
        """Tell how far the stage is: ``fraction`` in [0, 1], or ``None`` when unknown."""

    def log(self, level: str, logger: str, message: str) -> None:
        """Pass on what a library logged."""

    def done(self, result: Result) -> None:
        """Tell that the outputs are written."""

    def error(self, message: str, exit_code: int, traceback: str = "") -> None:
        """Tell why the stage ends without outputs; ``traceback`` only for a bug."""

    def close(self) -> None:
        """Leave the terminal as it was."""


def open_reporter(stage: Stage, stream: TextIO, argv: Sequence[str]) -> Reporter:
    """Choose by the stage's arguments, ``FLTS_LOG``, and whether the stream is a terminal."""
    under_kfp = any(argument.split("=")[0] == "--executor-input" for argument in argv)
    if under_kfp or os.environ.get(_CHOICE) == "json":
        return JsonReporter(stage, stream)
    return TerminalReporter(stage, stream) if stream.isatty() else LineReporter(stage, stream)


def check_choice() -> None:
    """Raise ``BadInputError`` when ``FLTS_LOG`` asks for lines that there are not."""
    choice = os.environ.get(_CHOICE, "")
    if choice not in ("", "json"):
        raise BadInputError(f"environment variable {_CHOICE} must be json or empty, got {choice!r}")


def pass_on_logs(reporter: Reporter) -> None:
    """Send warnings and errors that libraries log to the reporter; their Python warnings are for developers."""
    root = logging.getLogger()
    root.handlers = [_Handler(reporter)]
    root.setLevel(logging.WARNING)
    # It logs every retry as a warning, without saying what of; an error comes from the last.
    logging.getLogger("stamina").setLevel(logging.ERROR)
    # Else MLflow brings a handler of its own, and keeps its records from the root logger.
    os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")
    if not sys.warnoptions:
        warnings.simplefilter("ignore")


def redact(text: str) -> str:
    """Hide credentials in addresses, and the values of environment variables that are named like secrets."""
    text = _CREDENTIALS.sub("***@", text)
    for name, value in os.environ.items():
        if len(value) >= 8 and _SECRET_NAME.search(name):
            text = text.replace(value, "***")
    return text


def write_line(stream: TextIO, line: str) -> None:
    """Write a line at once; where nobody listens any more, work goes on and its exit code stays."""
    try:
        print(line, file=stream, flush=True)
    except OSError:
        # Or Python would find the rest of the line at its end, and fail then.
        with open(os.devnull, "wb") as nobody:
            os.dup2(nobody.fileno(), stream.fileno())


class JsonReporter:
    """One JSON object a line; progress at most five times a second, and its last word always."""

    def __init__(self, stage: Stage, stream: TextIO) -> None:
        self._stage = stage.name
        self._stream = stream
        self._ids: dict[str, str] = request_ids.ids()
        self._last_progress = float("-inf")
        self._held_back: tuple[float | None, str] | None = None

    def about(self, ids: Mapping[str, str]) -> None:
        """Have the lines from here on say it."""
        self._ids |= ids

    def progress(self, fraction: float | None, message: str) -> None:
        """Write a progress line, or keep it until another event shows whether it was the last."""
        now = time.monotonic()
        self._held_back = (fraction, message)
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
        details = {"traceback": _shown(traceback)} if traceback else {}
        self._write("error", "error", message, exit_code=exit_code, **details)

    def close(self) -> None:
        """Nothing to leave."""

    def _flush_progress(self) -> None:
        if self._held_back is not None:
            fraction, message = self._held_back
            self._held_back = None
            self._write("info", "progress", message, fraction=fraction)

    def _write(self, level: str, event: str, message: str, **fields: Any) -> None:
        line = {"time": utc_timestamp(), "level": level, "stage": self._stage, "event": event}
        line |= {"message": _shown(message), **fields, **self._ids}
        write_line(self._stream, json.dumps(line, ensure_ascii=False))


class LineReporter:
    """Readable lines: notes, a library's warnings, the error; progress twice a minute, so that short work has none."""

    def __init__(self, stage: Stage, stream: TextIO) -> None:
        self._command = stage.command
        self._stream = stream
        self._last_progress = time.monotonic()

    def about(self, ids: Mapping[str, str]) -> None:
        """Nothing: who reads these lines started the stage."""

    def progress(self, fraction: float | None, message: str) -> None:
        """Write a line when there was none for a while."""
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
        """Nothing to leave."""

    def _print(self, text: str) -> None:
        write_line(self._stream, _shown(text))


class TerminalReporter(LineReporter):
    """The same, and a progress bar while the stage runs."""

    def __init__(self, stage: Stage, stream: TextIO) -> None:
        super().__init__(stage, stream)
        self._bar: Bar | None = None
        self._task: TaskID | None = None

    def progress(self, fraction: float | None, message: str) -> None:
        """Move the bar; without a known fraction it pulses."""
        bar, task = self._open_bar()
        bar.update(task, completed=fraction or 0, total=None if fraction is None else 1, description=_shown(message))

    def close(self) -> None:
        """Take the bar away."""
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

    def _print_lines(self, text: str) -> None:
        for line in text.split("\n"):
            self._print(line)

    def _print(self, text: str) -> None:
        if self._bar is not None:
            self._bar.console.print(_shown(text), markup=False, highlight=False)
        else:
            super()._print(text)


def _shown(text: str) -> str:
    """Return text without secrets, and without what a terminal would act on."""
    return "\n".join(map(printable, redact(text).split("\n")))


class _Handler(logging.Handler):
    def __init__(self, reporter: Reporter) -> None:
        super().__init__(logging.WARNING)
        self._reporter = reporter

    def emit(self, record: logging.LogRecord) -> None:
        self._reporter.log(record.levelname.lower(), record.name, self.format(record))
