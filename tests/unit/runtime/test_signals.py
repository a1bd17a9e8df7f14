"""A process that is told to end does so in time, wherever it is: each test stops a real one."""

import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import psutil
import pytest

from flts.runtime.signals import SignalWatch
from tests.support.waiting import wait_until

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

# Of a process that shall clean up by itself: as long as a busy machine needs for it.
vars(sys.modules[SignalWatch.__module__]).update({patience})

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


PATIENT = {"_SECONDS_TO_END": 40.0}


def stopped(
    folder: Path, body: str, *numbers: int, children: int = 0, patience: Mapping[str, float] = {}
) -> tuple[int, str]:
    """Start a process that works in ``body``, stop it, and return its exit code and stderr.

    It ends long before the minute is over for which a body would work.

    Args:
        folder: Where it works.
        body: Its work; between two signals it writes a line and reads one.
        numbers: The signals.
        children: How many processes it starts in its body.
        patience: Changed constants of the module under test.
    """
    with (folder / "sparse").open("wb") as file:
        file.truncate(1 << 36)
    with subprocess.Popen(
        [sys.executable, "-c", PREAMBLE.format(body=body, patience=dict(patience))],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Python heeds SIGINT only where it is not ignored, as it is in a shell's background.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no threads
    ) as process:
        assert process.stdout.readline() == "ready\n"
        begun = psutil.Process(process.pid).cpu_times().user
        wait_until(lambda: process.poll() is not None or at_work(process.pid, begun, children))
        process.send_signal(numbers[0])
        for number in numbers[1:]:
            assert process.stdout.readline()
            process.send_signal(number)
            process.stdin.write("\n")
            process.stdin.flush()
        _, stderr = process.communicate(timeout=50)
    (folder / "sparse").unlink()
    return process.returncode, stderr


def at_work(pid: int, begun: float, children: int) -> bool:
    """Whether a process waits, with all its children, or has computed for a while since ``begun``."""
    process = psutil.Process(pid)
    if process.status() == psutil.STATUS_SLEEPING:
        return len(process.children()) == children
    return process.cpu_times().user > begun + 0.2


@pytest.mark.parametrize(
    ("body", "children"),
    [
        pytest.param("time.sleep(60)", 0, id="Python waits"),
        pytest.param("while True: pass", 0, id="Python computes"),
        pytest.param(POOL.format("subprocess.run, ['sleep', '60']"), 1, id="a pool waits for a child"),
    ],
)
def test_a_process_that_hears_sigterm_cleans_up_and_leaves_nothing(body, children, tmp_path):
    ended = stopped(tmp_path, body, signal.SIGTERM, children=children, patience=PATIENT)
    assert ended == (143, "cleaned up\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(HASH, id="native code computes"),
        pytest.param(POOL.format("time.sleep, 60"), id="a pool waits for its threads"),
        pytest.param("\n    try: time.sleep(60)\n    except BaseException: time.sleep(60)", id="deaf"),
    ],
)
def test_a_process_that_does_not_hear_sigterm_is_ended_and_leaves_nothing(body, tmp_path):
    assert stopped(tmp_path, body, signal.SIGTERM) == (143, "ended 15\n")
    assert list(tmp_path.iterdir()) == []


def test_a_second_is_enough_for_that_and_three_to_tell_a_service():
    """The times themselves: how long a process takes to end tells more of the machine."""
    seconds = vars(sys.modules[SignalWatch.__module__])
    assert seconds["_SECONDS_TO_END"] + seconds["_SECONDS_TO_REPORT"] < 1
    assert seconds["_SECONDS_WITH_GRACE_PERIOD"] == 3


def test_ctrl_c_does_the_same(tmp_path):
    assert stopped(tmp_path, HASH, signal.SIGINT) == (130, "ended 2\n")
    assert list(tmp_path.iterdir()) == []


def test_a_second_signal_does_not_break_off_the_cleaning_up(tmp_path):
    body = (
        "\n    try: time.sleep(60)\n    finally:\n"
        "        for _ in range(2): print('cleaning up', flush=True); sys.stdin.readline()"
    )
    ended = stopped(tmp_path, body, signal.SIGTERM, signal.SIGTERM, signal.SIGINT, patience=PATIENT)
    assert ended == (143, "cleaned up\n")


@pytest.mark.parametrize(
    ("needed", "allowed", "said"), [(1.5, 40.0, "cleaned up\n"), (60, 3.0, "ended 15\n")], ids=["in time", "too long"]
)
def test_telling_a_service_may_take_longer_than_cleaning_up(needed, allowed, said, tmp_path):
    body = f"\n    try: time.sleep(60)\n    finally:\n        with shutdown_grace_period(): time.sleep({needed})"
    begun = time.monotonic()
    ended = stopped(tmp_path, body, signal.SIGTERM, patience={"_SECONDS_WITH_GRACE_PERIOD": allowed})
    assert ended == (143, said)
    assert time.monotonic() - begun >= min(needed, allowed)
    assert list(tmp_path.iterdir()) == []


def test_results_that_are_getting_their_names_get_them_all(tmp_path):
    body = "\n    with signals_blocked():\n        time.sleep(1.5); Path('results').write_text('all')"
    assert stopped(tmp_path, body, signal.SIGTERM) == (0, "")
    assert (tmp_path / "results").read_text() == "all"


def test_whoever_does_not_read_stderr_does_not_keep_a_process(tmp_path):
    body = f"watch._say = lambda _number: time.sleep(60); {HASH}"
    code, _ = stopped(tmp_path, body, signal.SIGTERM)
    assert code == 143
