"""Why a process ended, where Kubernetes shows it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flts.observability.termination import write_termination_log
from tests.support.commands import BIN


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "termination-log"
    path.touch()
    monkeypatch.setenv("FLTS_TERMINATION_LOG", str(path))
    return path


def ended(*command: str, **environ: str) -> int:
    """Run a command of this installation with the test's environment."""
    return subprocess.run(
        [BIN / command[0], *command[1:]], env=os.environ | environ, capture_output=True, check=False
    ).returncode


def test_the_sentence_takes_the_place_of_what_was_there(log: Path) -> None:
    log.write_text("of the container's last life " * 10)

    write_termination_log("data.csv, row 3:\n no number")

    assert log.read_text() == "data.csv, row 3: no number"


def test_it_is_cut_between_characters(log: Path) -> None:
    write_termination_log("x" + "ä" * 5000)

    assert len(log.read_bytes()) == 4095
    assert log.read_text(encoding="utf-8") == "x" + "ä" * 2047


def test_secrets_stay_out_of_it_also_where_it_is_cut(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLTS_GATEWAY_TOKEN", "squeamish-ossifrage")

    write_termination_log(
        "s3://key:secret@host refused squeamish-ossifrage " + "x" * 4040 + " squeamish-ossifrage\x1b[31m\ud800"
    )

    assert log.read_text().startswith("s3://***@host refused *** ")
    assert "squeam" not in log.read_text()


def test_a_log_that_is_not_there_is_not_made(log: Path) -> None:
    log.unlink()

    write_termination_log("away")

    assert not log.exists()


def test_what_cannot_be_written_is_no_error(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(log.with_name("pipe"))

    for path in (log.parent, log.with_name("pipe"), "/dev/full", "x" * 5000):
        monkeypatch.setenv("FLTS_TERMINATION_LOG", str(path))
        write_termination_log("nobody reads it")


@pytest.mark.parametrize(
    ("command", "environ", "code", "said"),
    [
        (("flts-eval", "--gru-model", "x"), {}, 2, "--gru-model: x does not exist"),
        (("flts-preprocess", "--executor-input", "{"), {}, 2, "--executor-input is not JSON"),
        (
            ("flts-train-gru",),
            {"USE_KFP": "0", "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9", "FAILURE_MAX_RETRIES": "none"},
            2,
            "FAILURE_MAX_RETRIES must be a whole",
        ),
        (("flts-preprocess", "--identifier", "x"), {"USE_KFP": "0", "KAFKA_BOOTSTRAP_SERVERS": ""}, 2, "KAFKA"),
        (("flts-gateway", "--store", "s3://", "--port", "none"), {}, 2, "--port must be a whole number, got none"),
        (("flts-inference", "--serve", "--gateway-url", "ftp://x"), {}, 2, "ftp://x"),
    ],
)
def test_stages_workers_and_servers_tell_it(
    command: tuple[str, ...], environ: dict[str, str], code: int, said: str, log: Path
) -> None:
    assert ended(*command, **environ) == code
    assert said in log.read_text()
    assert len(log.read_text().splitlines()) == 1


def test_a_stage_that_ends_well_leaves_it_empty(log: Path, root: Path, tmp_path: Path) -> None:
    data = root / "examples" / "data" / "jfk_weather.csv"

    assert ended("flts-preprocess", "--input", str(data), "--output-dir", str(tmp_path / "out")) == 0
    assert log.read_text() == ""


def test_a_server_that_breaks_tells_it_too(log: Path) -> None:
    script = "from flts.web.server import run\n\ndef start(*_):\n    1 / 0\n\nrun('x', start, [])\n"

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert log.read_text() == "ZeroDivisionError: division by zero"
