"""What a stage tells on stderr."""

import io
import json
import logging
import warnings
from typing import Any

import pytest

from flts.errors import BadInputError
from flts.runtime import reporters
from flts.stage_interface import Result
from flts.stages import STAGES

TRAIN_GRU = STAGES["train-gru"]

DONE = Result(artifacts={}, message="Trained GRU.", notes=("Column x is constant.",), cached=True)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def root_logger_as_before(monkeypatch):
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", root.handlers)
    monkeypatch.setattr(root, "level", root.level)
    for name in ("MLFLOW_CONFIGURE_LOGGING", "FLTS_LOG"):
        monkeypatch.delenv(name, raising=False)
    with warnings.catch_warnings():
        yield


def events(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_every_json_line_says_when_how_grave_which_stage_and_what():
    stream = io.StringIO()
    reporters.JsonReporter(TRAIN_GRU, stream).done(DONE)
    note, done = events(stream)
    assert note.pop("time").endswith("Z")
    assert done.pop("time") >= "2020"
    assert note["request_id"] == done["request_id"]
    stage = {"stage": "train-gru", "request_id": note["request_id"]}
    assert note == stage | {"level": "warning", "event": "note", "message": "Column x is constant."}
    assert done == stage | {"level": "info", "event": "done", "message": "Trained GRU.", "cached": True}


def test_json_lines_say_what_the_stage_works_on_as_soon_as_it_is_known():
    stream = io.StringIO()
    reporter = reporters.JsonReporter(TRAIN_GRU, stream)
    reporter.set_ids({"identifier": "run-001", "config_hash": "c0ffee"})
    reporter.progress(0.5, "half")
    reporter.set_ids({"run_id": "f00d"})
    reporter.done(DONE)
    half, *rest = events(stream)
    assert (half["identifier"], half["config_hash"], "run_id" in half) == ("run-001", "c0ffee", False)
    assert {line["run_id"] for line in rest} == {"f00d"}


def test_progress_is_limited_to_five_lines_a_second_and_the_last_one_is_told(monkeypatch):
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    stream = io.StringIO()
    reporter = reporters.JsonReporter(TRAIN_GRU, stream)
    for step in range(12):
        now = step / 16
        reporter.progress(step / 20, f"step {step}")
    reporter.done(DONE)
    lines = [event for event in events(stream) if event["event"] == "progress"]
    assert [line["message"] for line in lines] == ["step 0", "step 4", "step 8", "step 11"]
    assert lines[-1]["fraction"] == 11 / 20


def test_an_error_has_its_exit_code_and_a_bug_its_traceback():
    stream = io.StringIO()
    reporter = reporters.JsonReporter(TRAIN_GRU, stream)
    reporter.error("--epochs must be at least 1, got 0", 2)
    reporter.error("ValueError: x", 1, "Traceback ...")
    first, second = events(stream)
    assert (first["event"], first["exit_code"], "traceback" in first) == ("error", 2, False)
    assert (second["exit_code"], second["traceback"]) == (1, "Traceback ...")


@pytest.mark.parametrize("stream_type", [io.StringIO, Terminal])
@pytest.mark.parametrize(
    ("argv", "choice"),
    [(["--executor-input", "{}"], ""), (["--executor-input={}"], ""), (["--executor-input"], ""), ([], "json")],
)
def test_kfp_and_whoever_asks_for_it_gets_json_lines(stream_type, argv, choice, monkeypatch):
    monkeypatch.setenv("FLTS_LOG", choice)
    stream = stream_type()
    reporters.check_log_format()
    reporters.open_reporter(TRAIN_GRU, stream, argv).error("no", 2)
    assert events(stream)[0]["message"] == "no"


def test_lines_that_there_are_not_are_refused(monkeypatch):
    monkeypatch.setenv("FLTS_LOG", "xml")
    with pytest.raises(BadInputError, match=r"^environment variable FLTS_LOG must be json or empty, got 'xml'$"):
        reporters.check_log_format()


def test_a_log_has_notes_warnings_and_the_error_and_progress_twice_a_minute(monkeypatch):
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    stream = io.StringIO()
    reporter = reporters.open_reporter(TRAIN_GRU, stream, ["--epochs", "3"])
    for second in range(70):
        now = 100.0 + second
        reporter.progress(second / 70, f"epoch {second}")
    now += 30
    reporter.progress(None, "waiting")
    reporter.log("warning", "mlflow", "slow")
    reporter.done(DONE)
    reporter.error("ValueError: x", 1, "Traceback\n  line\n")
    assert stream.getvalue().splitlines() == [
        "43% epoch 30",
        "86% epoch 60",
        "waiting",
        "warning: mlflow: slow",
        "note: Column x is constant.",
        "Traceback",
        "  line",
        "flts-train-gru: ValueError: x",
    ]


@pytest.mark.parametrize("stream_type", [io.StringIO, Terminal])
@pytest.mark.parametrize("argv", [[], ["--executor-input"]])
def test_what_a_terminal_would_act_on_is_escaped(stream_type, argv):
    stream = stream_type()
    reporter = reporters.open_reporter(TRAIN_GRU, stream, argv)
    reporter.error("column 'a\x1b[31m\x9b2J\u202e' of \udcff.csv", 1, "Traceback\n  \x1b]0;title\x07")
    text = stream.getvalue()
    assert text.replace("\n", "").isprintable()
    assert r"a\x1b[31m\x9b2J\u202e' of \udcff.csv".replace("\\", "\\" * (2 if argv else 1)) in text


def test_a_terminal_gets_a_bar_and_readable_lines():
    stream = Terminal()
    reporter = reporters.open_reporter(TRAIN_GRU, stream, [])
    reporter.progress(None, "reading")
    reporter.progress(0.3, "epoch 3/10, [loss] 0.1")
    reporter.log("warning", "mlflow", "slow [server]")
    reporter.done(DONE)
    reporter.error("--epochs must be at least 1, got 0", 2)
    text = stream.getvalue()
    assert "epoch 3/10, [loss] 0.1" in text
    assert "warning: mlflow: slow [server]" in text
    assert "note: Column x is constant." in text
    assert text.endswith("\nflts-train-gru: --epochs must be at least 1, got 0\n")


def test_warnings_that_libraries_log_take_the_same_way_and_lesser_records_and_python_warnings_do_not_appear():
    stream = io.StringIO()
    reporters.route_logging(reporters.JsonReporter(TRAIN_GRU, stream))
    logging.getLogger("some.package").warning("disk %s is slow", "a")
    logging.getLogger("some.package").info("hello")
    warnings.warn("deprecated", DeprecationWarning, stacklevel=1)
    (event,) = events(stream)
    assert (event["event"], event["level"], event["logger"], event["message"]) == (
        "log",
        "warning",
        "some.package",
        "disk a is slow",
    )


@pytest.mark.parametrize("stream_type", [io.StringIO, Terminal])
@pytest.mark.parametrize("argv", [[], ["--executor-input"]])
def test_secrets_do_not_appear(stream_type, argv, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG")
    stream = stream_type()
    reporter = reporters.open_reporter(TRAIN_GRU, stream, argv)
    reporter.error("http://me:hunter2@mlflow:5000 refused", 2)
    reporter.log("warning", "boto", "signed with wJalrXUtnFEMI/K7MDENG")
    reporter.error("x", 1, "Traceback: key wJalrXUtnFEMI/K7MDENG")
    text = stream.getvalue()
    assert "hunter2" not in text
    assert "wJalr" not in text
    assert "http://***@mlflow:5000 refused" in text


def test_a_terminal_gets_no_control_character_of_the_data_and_a_traceback_line_by_line():
    stream = Terminal()
    reporter = reporters.open_reporter(TRAIN_GRU, stream, [])
    reporter.done(Result(artifacts={}, message="", notes=("Column \x1b[31mred\x9b is constant.",)))
    reporter.error("column '\x1b]0;title\x07' is empty", 1, "Traceback:\n  \x1b[2J\n")
    assert stream.getvalue().splitlines() == [
        r"note: Column \x1b[31mred\x9b is constant.",
        "Traceback:",
        r"  \x1b[2J",
        r"flts-train-gru: column '\x1b]0;title\x07' is empty",
    ]
