"""The gateway against bare boto3, both on SeaweedFS on this machine: one large object, and many small ones at once.

The gateway is a process of its own, over S3; its client is the store of ``gateway_url=http://..``, which verifies the
SHA-256 of what it downloads. Bare boto3 is `upload_file` and `download_file` with their defaults, `put_object` and
`get_object`. Both take turns and the best time counts. Part of `make bench-serving`; writes build/bench_gateway.json.
"""

import hashlib
import json
import os
import re
import tempfile
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from benchmarks.bench_s3 import BUCKET, LARGE_BYTES, SMALL_BYTES, SMALL_OBJECTS
from flts.store import open_store
from scripts.services import s3_server
from tests.support.gateway import Gateway, gateway

RESULTS = Path(__file__).parents[1] / "build" / "bench_gateway.json"
AT_ONCE = 32
REPEATS = 2
LABELS = {
    "large_up": (f"{LARGE_BYTES / 1e9:g} GB up", 0.5),
    "large_down": (f"{LARGE_BYTES / 1e9:g} GB down", 0.5),
    "small_put": (f"{SMALL_OBJECTS:,} x {SMALL_BYTES // 1000} kB put, {AT_ONCE} at once", 0.4),
    "small_get": (f"{SMALL_OBJECTS:,} x {SMALL_BYTES // 1000} kB get, {AT_ONCE} at once", 0.4),
}
MOST_MEMORY_MB = 150


def in_turns(ours: Callable[[], Any], bare: Callable[[], Any]) -> dict[str, float]:
    """Run two functions alternately; return the best time of each, and the ratio."""
    best = {"gateway": float("inf"), "boto3": float("inf")}
    for _ in range(REPEATS):
        for name, function in (("gateway", ours), ("boto3", bare)):
            begin = time.perf_counter()
            function()
            best[name] = min(best[name], time.perf_counter() - begin)
    return {
        "gateway_seconds": best["gateway"],
        "boto3_seconds": best["boto3"],
        "ratio": best["boto3"] / best["gateway"],
    }


def peak_mb(running: Gateway) -> float:
    """Return the most memory that the gateway had so far."""
    status = Path(f"/proc/{running.process.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found
    return int(found[1]) * 1024 / 1e6


def measure() -> dict[str, Any]:
    """Return wall times, their ratios, and the gateway's peak memory after small and after large objects, in MB."""
    with tempfile.TemporaryDirectory() as name, s3_server(Path(name) / "s3") as s3:
        os.environ.update(s3.environ)
        with gateway("s3://", "--max-requests", str(2 * AT_ONCE), environ=s3.environ) as running:
            return _measure(running, Path(name))


def _measure(running: Gateway, folder: Path) -> dict[str, Any]:
    store, bare = open_store(running.url), boto3.client("s3", config=Config(max_pool_connections=AT_ONCE))
    store.put(BUCKET, "first", b"makes the bucket")
    bare.list_buckets()
    data, keys = os.urandom(SMALL_BYTES), [f"{number:05d}" for number in range(SMALL_OBJECTS)]
    figures: dict[str, Any] = {}
    with ThreadPoolExecutor(AT_ONCE) as pool:

        def each(work: Callable[[str], Any]) -> Callable[[], Any]:
            return lambda: deque(pool.map(work, keys), maxlen=0)

        figures["small_put"] = in_turns(
            each(lambda key: store.put(BUCKET, f"gateway/{key}", data)),
            each(lambda key: bare.put_object(Bucket=BUCKET, Key=f"bare/{key}", Body=data)),
        )
        figures["small_get"] = in_turns(
            each(lambda key: store.get(BUCKET, f"gateway/{key}")),
            each(lambda key: bare.get_object(Bucket=BUCKET, Key=f"bare/{key}")["Body"].read()),
        )
    figures["peak_memory_small_mb"] = peak_mb(running)
    path, copy, digest = folder / "large", folder / "copy", hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(LARGE_BYTES // 1_000_000):
            piece = os.urandom(1_000_000)
            digest.update(piece)
            file.write(piece)
    figures["large_up"] = in_turns(
        lambda: store.upload(BUCKET, "large", path), lambda: bare.upload_file(str(path), BUCKET, "large-bare")
    )
    figures["large_down"] = in_turns(
        lambda: store.download(BUCKET, "large", copy, sha256=digest.hexdigest()),
        lambda: bare.download_file(BUCKET, "large-bare", str(copy)),
    )
    figures["peak_memory_large_mb"] = peak_mb(running)
    return figures


def main() -> None:
    """Measure, print a table, and write the figures to a file."""
    figures = measure()
    print("gateway against bare boto3                gateway     boto3   ratio  at least")
    for name, (label, least) in LABELS.items():
        row = figures[name]
        seconds = f"{row['gateway_seconds']:8.2f}s {row['boto3_seconds']:8.2f}s"
        print(f"  {label:<38} {seconds} {row['ratio']:7.2f}  {least:8.1f}")
    for name, label in (("small", "small objects"), ("large", "large ones too")):
        print(f"  peak memory, {label:<25} {figures[f'peak_memory_{name}_mb']:8.0f} MB (at most {MOST_MEMORY_MB})")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
