"""Results of runs, without what differs between any two."""

import hashlib
import re
from pathlib import Path

import pyarrow.parquet as pq

# Moments of a run have microseconds; the times of a series of hours have none.
_MOMENTS = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z|\d{8}T\d{6}Z")
_IDS = re.compile(rb"\b(m-)?[0-9a-f]{32}\b")


def undated(content: bytes) -> bytes:
    """Blank the moments at which something was done."""
    return _MOMENTS.sub(b"MOMENT", content)


def plain(content: bytes, home: Path) -> bytes:
    """Blank the moments, the ids that MLflow gives, and the folder of the run."""
    return undated(_IDS.sub(b"ID", content.replace(bytes(home), b"HOME")))


def tree(home: Path, *folders: str) -> list[str]:
    """Every file below some folders of a run: plain path and digest of the plain content; two of a kind show as two."""
    files = (path for folder in folders for path in (home / folder).rglob("*") if path.is_file())
    return sorted(
        f"{plain(bytes(path.relative_to(home)), home).decode()} "
        f"{hashlib.sha256(plain(_content(path), home)).hexdigest()[:12]}"
        for path in files
    )


def _content(path: Path) -> bytes:
    """Read a file; the ids in a leaderboard are compressed, and so it is read as rows."""
    return repr(pq.read_table(path).to_pylist()).encode() if path.name == "leaderboard.parquet" else path.read_bytes()
