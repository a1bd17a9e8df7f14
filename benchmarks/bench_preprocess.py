"""Preprocess on millions of rows, Parquet in and out, against pandas reading and writing the same file.

`python -m benchmarks preprocess`
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

MEASURED_COLUMNS = 10

_PREPROCESS = Path(sys.executable).parent / "flts-preprocess"
_PANDAS = """
import sys, time
import pandas
start = time.perf_counter()
pandas.read_parquet(sys.argv[1]).to_parquet(sys.argv[2])
print(time.perf_counter() - start)
"""


def write_dataset(path: Path, rows: int) -> int:
    """Write ``time`` and ten measured columns, a value in a thousand missing; return the frame's size in bytes.

    The columns are random walks of three kinds: full precision, two decimals, and counts.
    """
    random = np.random.default_rng(0)
    columns: dict[str, Any] = {"time": np.datetime64("2000-01-01", "us") + np.arange(rows) * np.timedelta64(60, "s")}
    for number in range(MEASURED_COLUMNS):
        values = 100 + np.cumsum(random.normal(size=rows))
        if number % 3:
            values = np.round(values, 2 if number % 3 == 1 else 0)
        values[random.integers(0, rows, rows // 1000)] = np.nan
        columns[f"column_{number}"] = values
    frame = pd.DataFrame(columns)
    frame.to_parquet(path)
    return int(frame.memory_usage(index=False).sum())


def run(command: list[str | Path]) -> tuple[float, int, str]:
    """Run a command; return its wall time in seconds, its peak memory in bytes and its output."""
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - start
        assert process.returncode == 0, f"{command[0]} ended with {process.returncode}"
        output.seek(0)
        return seconds, usage.ru_maxrss * 1024, output.read()


def measure(rows: int = 10_000_000, repeats: int = 3) -> dict[str, float]:
    """Return the best of some repeats, each side in its own process.

    Preprocess is timed as a whole command, with its start, hashing, cleaning and report; of pandas only the reading
    and writing are.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        frame_bytes = write_dataset(folder / "data.parquet", rows)
        pandas_seconds, preprocess = [], []
        for _ in range(repeats):
            command: list[str | Path] = [
                sys.executable,
                "-c",
                _PANDAS,
                folder / "data.parquet",
                folder / "copy.parquet",
            ]
            pandas_seconds.append(float(run(command)[2]))
            command = [_PREPROCESS, "--input", folder / "data.parquet", "--output-dir", folder / "out"]
            preprocess.append(run(command)[:2])
    seconds = min(seconds for seconds, _ in preprocess)
    memory = max(memory for _, memory in preprocess)
    return {
        "rows": rows,
        "columns": MEASURED_COLUMNS + 1,
        "pandas_seconds": min(pandas_seconds),
        "preprocess_seconds": seconds,
        "ratio_to_pandas": seconds / min(pandas_seconds),
        "frame_bytes": frame_bytes,
        "peak_memory_bytes": memory,
        "peak_memory_in_frames": memory / frame_bytes,
    }
