"""Measure the memory of a process that sends an object to a store and fetches it again."""

import subprocess
import sys
from pathlib import Path

_PROGRAM = """
import pathlib, sys
from flts.store import open_store
store, bucket, path, copy = open_store("s3://"), sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
store.upload(bucket, "memory", path)
store.download(bucket, "memory", copy)
# getrusage counts the process that started this one, too.
print(pathlib.Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""


def peak_of_copying(size: int, bucket: str, folder: Path) -> float:
    """Return the peak in MB, over the S3 that the environment names; leaves the file and ``folder / "copy"``.

    Args:
        size: Of the object, in bytes.
        bucket: Where it goes.
        folder: For the files.
    """
    path = folder / "sparse"
    with path.open("wb") as file:
        file.truncate(size)
    command: list[str | Path] = [sys.executable, "-c", _PROGRAM, bucket, path, folder / "copy"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(ended.stdout) * 1024 / 1e6
