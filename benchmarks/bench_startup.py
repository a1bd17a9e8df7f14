"""Start-up times: `--help` of every stage, and preprocess from its start to its first read."""

import ctypes
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from flts.stages import STAGES

BIN = Path(sys.executable).parent
DEMO = Path(__file__).parents[1] / "examples" / "data"
_IN_OPEN = 0x20


def help_seconds(command: str, repeats: int = 5) -> float:
    """Return the median wall time of ``command --help``."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        subprocess.run([BIN / command, "--help"], stdout=subprocess.DEVNULL, check=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def first_read_seconds(repeats: int = 3) -> float:
    """Return the median time from starting preprocess until it opens its input, as inotify sees it."""
    return statistics.median([_first_open() for _ in range(repeats + 1)][1:])


def _first_open() -> float:
    libc = ctypes.CDLL(None, use_errno=True)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "data.csv")
        data.write_bytes((DEMO / "jfk_weather.csv").read_bytes())
        events = libc.inotify_init1(os.O_CLOEXEC)
        if libc.inotify_add_watch(events, os.fsencode(data), _IN_OPEN) < 0:
            raise OSError(ctypes.get_errno(), "inotify_add_watch")
        start = time.perf_counter()
        command: list[str | Path] = [BIN / "flts-preprocess", "--input", data, "--output-dir", Path(folder, "out")]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
            os.read(events, struct.calcsize("iIII") + 256)
            seconds = time.perf_counter() - start
        os.close(events)
    return seconds


def measure() -> dict[str, float]:
    """Return seconds: the slowest ``--help``, and preprocess' way to its first read."""
    return {
        "slowest_help_seconds": max(help_seconds(stage.command) for stage in STAGES.values()),
        "preprocess_first_read_seconds": first_read_seconds(),
    }
