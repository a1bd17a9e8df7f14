"""A worker touches a file while it lives, and whoever asks looks at how old the file is."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flts.workers.liveness import VARIABLE, Heartbeat, is_alive, path_of


def test_a_worker_lives_from_its_first_beat_to_its_end(tmp_path):
    environ = {VARIABLE: str(tmp_path / "alive")}
    pulse = Heartbeat(environ)
    assert not is_alive(environ)
    pulse.beat()
    assert is_alive(environ)
    pulse.end()
    assert not is_alive(environ)
    pulse.end()


@pytest.mark.parametrize(("age", "alive"), [(50, True), (70, False)])
def test_a_worker_that_is_silent_for_a_minute_is_dead(tmp_path, age, alive):
    environ = {VARIABLE: str(tmp_path / "alive")}
    Heartbeat(environ).beat()
    moment = time.time() - age
    os.utime(tmp_path / "alive", (moment, moment))
    assert is_alive(environ) == alive


def test_beats_touch_the_file_every_few_seconds_only(tmp_path):
    pulse = Heartbeat({VARIABLE: str(tmp_path / "alive")})
    pulse.beat()
    (tmp_path / "alive").unlink()
    pulse.beat()
    assert list(tmp_path.iterdir()) == []


def test_where_the_file_cannot_be_written_the_worker_goes_on(tmp_path):
    pulse = Heartbeat({VARIABLE: str(tmp_path / "no" / "folder")})
    pulse.beat()
    pulse.end()
    assert list(tmp_path.iterdir()) == []


def test_the_file_has_a_place_of_its_own_in_a_container():
    assert path_of({}) == path_of({VARIABLE: ""}) == Path("/tmp/flts-alive")  # noqa: S108


@pytest.mark.parametrize(("beats", "code"), [(True, 0), (False, 1)])
def test_a_probe_asks_by_exit_code(tmp_path, beats, code):
    environ = {VARIABLE: str(tmp_path / "alive"), "PYTHONPATH": os.pathsep.join(sys.path)}
    if beats:
        Heartbeat(environ).beat()
    asked = subprocess.run(
        [sys.executable, "-m", "flts.workers.liveness"], env=environ, capture_output=True, check=False
    )
    assert (asked.returncode, asked.stdout, asked.stderr) == (code, b"", b"")
