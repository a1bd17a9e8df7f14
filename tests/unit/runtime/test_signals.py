"""A process that is told to end does so in time, wherever it is: each test stops a real one."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PREAMBLE = """
import hashlib, mmap, subprocess, sys, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from flts.observability.shutdown import shutdown_grace_period
from flts.runtime.work_folders import output_folder, remove_all
from flts.runtime.signals import SignalWatch, Stopped, signals_blocked

def say(number):
    print("ended", number, file=sys.stderr, flush=True)

def work():
    print("ready", flush=True)
    {body}

with SignalWatch(remove_all, say) as watch:
    try:
        with output_folder(Path("new/out")) as folder:
            (folder / "half").write_text("half")
            work()
    except Stopped:
        print("cleaned up", file=sys.stderr, flush=True)
        sys.exit(128 + watch.number)
"""
HASH = "file = open('sparse'); hashlib.sha256(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))"
POOL = "with ThreadPoolExecutor() as pool: pool.submit({}).result()"


def stopped(folder: Path, body: str, *numbers: int) -> tuple[int, str, float]:
    """Start a process that works in ``body``, stop it, and return its exit code, stderr, and the seconds it took."""
    with (folder / "sparse").open("wb") as file:
        file.truncate(1 << 36)
    with subprocess.Popen(
        [sys.executable, "-c", PREAMBLE.format(body=body)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Python heeds SIGINT only where it is not ignored, as it is in a shell's background.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no threads
    ) as process:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.2)
        started = time.monotonic()
        for number in numbers:
            process.send_signal(number)
            time.sleep(0.05)
        _, stderr = process.communicate(timeout=30)
        seconds = time.monotonic() - started
    (folder / "sparse").unlink()
    return process.returncode, stderr, seconds


@pytest.mark.parametrize(
    ("body", "said"),
    [
        pytest.param("time.sleep(60)", "cleaned up\n", id="Python waits"),
        pytest.param("while True: pass", "cleaned up\n", id="Python computes"),
        pytest.param(HASH, "ended 15\n", id="native code computes"),
        pytest.param(POOL.format("time.sleep, 60"), "ended 15\n", id="a pool waits for its threads"),
        pytest.param("\n    try: time.sleep(60)\n    except BaseException: time.sleep(60)", "ended 15\n", id="deaf"),
        pytest.param(POOL.format("subprocess.run, ['sleep', '60']"), "cleaned up\n", id="a pool waits for a child"),
    ],
)
def test_sigterm_ends_a_process_within_a_second_and_leaves_nothing(body, said, tmp_path):
    code, stderr, seconds = stopped(tmp_path, body, signal.SIGTERM)
    assert (code, stderr) == (143, said)
    assert seconds < 1.5  # a second, on a machine that has other work
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_does_the_same(tmp_path):
    code, stderr, _ = stopped(tmp_path, HASH, signal.SIGINT)
    assert (code, stderr) == (130, "ended 2\n")
    assert list(tmp_path.iterdir()) == []


def test_a_second_signal_does_not_break_off_the_cleaning_up(tmp_path):
    body = "\n    try: time.sleep(60)\n    finally: time.sleep(0.4)"
    code, stderr, _ = stopped(tmp_path, body, signal.SIGTERM, signal.SIGTERM, signal.SIGINT)
    assert (code, stderr) == (143, "cleaned up\n")


@pytest.mark.parametrize(("needed", "said"), [(1.5, "cleaned up\n"), (60, "ended 15\n")])
def test_telling_a_service_may_take_three_seconds(needed, said, tmp_path):
    body = f"\n    try: time.sleep(60)\n    finally:\n        with shutdown_grace_period(): time.sleep({needed})"
    code, stderr, seconds = stopped(tmp_path, body, signal.SIGTERM)
    assert (code, stderr) == (143, said)
    assert min(needed, 2.9) <= seconds < 4
    assert list(tmp_path.iterdir()) == []


def test_results_that_are_getting_their_names_get_them_all(tmp_path):
    body = "\n    with signals_blocked():\n        time.sleep(1.5); Path('results').write_text('all')"
    code, stderr, _ = stopped(tmp_path, body, signal.SIGTERM)
    assert (code, stderr) == (0, "")
    assert (tmp_path / "results").read_text() == "all"


def test_whoever_does_not_read_stderr_does_not_keep_a_process(tmp_path):
    body = f"watch._say = lambda _number: time.sleep(60); {HASH}"
    code, _, seconds = stopped(tmp_path, body, signal.SIGTERM)
    assert code == 143
    assert seconds < 1.5
