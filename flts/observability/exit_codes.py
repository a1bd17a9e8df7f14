"""From errors to exit codes: a sentence on stderr, and the traceback of a bug above it.

Exit codes: 0 done, 2 bad input, parameters or credentials, 3 a service is unreachable, 130 stopped by Ctrl-C, 1 a bug.
"""

import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from flts.diagnostics.system import environment_trouble
from flts.diagnostics.terminal import printable
from flts.errors import BadInputError, FltsError
from flts.observability.events import log_event
from flts.observability.redaction import redact
from flts.observability.termination import write_termination_log

_BUG = 1
_INTERRUPTED = 130


@dataclass(frozen=True)
class Failure:
    """The end of a process that an error ends.

    Attributes:
        sentence: Why, for the person who can fix it.
        exit_code: The exit code of the process.
        traceback: Where the error was raised, if it is a bug.
    """

    sentence: str
    exit_code: int
    traceback: str = ""

    @classmethod
    def of(cls, error: BaseException) -> "Failure":
        """Tell errors that people can fix from bugs."""
        if isinstance(error, FltsError) and error.exit_code != _BUG:
            return cls(str(error), error.exit_code)
        if trouble := environment_trouble(error):
            return cls(trouble, BadInputError.exit_code)
        return cls(f"{type(error).__name__}: {error}", _BUG, "".join(traceback.format_exception(error)).rstrip())


def run_command(command: str, run: Callable[[], int | None], *, service: bool = False) -> int:
    """Run a command that is no stage, and return its exit code.

    Args:
        command: Its name, which errors begin with.
        run: The command; it returns its exit code, or ``None`` for 0.
        service: Whether the command is a service, of which a container's termination log says why it ended.
    """
    redact_uncaught(command if service else "")
    try:
        return run() or 0
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:  # the reader of the output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        failure = Failure.of(error)
        if failure.traceback:
            print(redact(failure.traceback), file=sys.stderr)
        sentence = " ".join(redact(failure.sentence).split())
        print(printable(f"{command}: {sentence}"), file=sys.stderr, flush=True)
        if service:
            write_termination_log(failure.sentence)
        return failure.exit_code


def redact_uncaught(service: str = "") -> None:
    """Hide secrets in what Python itself writes: uncaught errors, also of threads, and log records without a handler.

    Args:
        service: The service whose JSON lines such log records become; without it they stay plain text.
    """
    if sys.excepthook is sys.__excepthook__:  # else somebody else looks after them, such as pytest
        sys.excepthook = _show
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = lambda info: _show(info.exc_type, info.exc_value, info.exc_traceback)
    logging.lastResort = _LastResort(service)


def _show(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    if not issubclass(kind, SystemExit) and sys.stderr is not None:
        print(redact("".join(traceback.format_exception(kind, error, trace)).rstrip()), file=sys.stderr, flush=True)


class _LastResort(logging.Handler):
    """Writes the warnings of libraries for which no handler is set."""

    def __init__(self, service: str) -> None:
        super().__init__(logging.WARNING)
        self._service = service

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        if self._service:
            log_event(self._service, "log", text, record.levelname.lower(), logger=record.name)
        else:
            print(redact(text), file=sys.stderr, flush=True)
