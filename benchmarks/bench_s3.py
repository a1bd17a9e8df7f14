"""The S3 store against bare boto3: one large object up and down, and many small ones.

The server is SeaweedFS on this machine, or the one that `FLTS_TEST_S3_ENDPOINT_URL` names.

Bare boto3 is `upload_file` and `download_file` with their defaults, `put_object` and `get_object`. The store verifies
the SHA-256 of what it downloads as well, as it does for the stages. Both take turns, small objects one by one; the best
time counts for the large object, the sum for the small ones.

Part of `make bench-images`; `python -m benchmarks.bench_s3 --memory-gb 5` adds the peak memory of an object that big.
"""

import argparse
import hashlib
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3

from flts.store import ObjectStore, open_store
from scripts.services import s3_server
from tests.support.memory import peak_of_copying

BUCKET = "bench-bucket"
LARGE_BYTES = 1_000_000_000
SMALL_BYTES = 10_000
SMALL_OBJECTS = 1_000
REPEATS = 5


def ratio_to_bare(
    ours: Callable[[int], Any], bare: Callable[[int], Any], turns: int, of: Callable[[list[float]], float]
) -> dict[str, float]:
    """Call two functions alternately with the repeat's number; return ``of`` their times, and the ratio."""
    times: dict[str, list[float]] = {"store": [], "boto3": []}
    for turn in range(turns):
        for name, function in (("store", ours), ("boto3", bare)):
            start = time.perf_counter()
            function(turn)
            times[name].append(time.perf_counter() - start)
    store, boto = of(times["store"]), of(times["boto3"])
    return {"store_seconds": store, "boto3_seconds": boto, "ratio": boto / store}


def measure_large(store: ObjectStore, bare: Any, folder: Path, size: int, repeats: int) -> dict[str, dict[str, float]]:
    """Send one large object, and fetch it."""
    path, copy = folder / "large", folder / "copy"
    with path.open("wb") as file:
        for _ in range(size // SMALL_BYTES):
            file.write(os.urandom(SMALL_BYTES))
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "large_up": ratio_to_bare(
            lambda _: store.upload(BUCKET, "large", path),
            lambda _: bare.upload_file(str(path), BUCKET, "bare"),
            repeats,
            min,
        ),
        "large_down": ratio_to_bare(
            lambda _: store.download(BUCKET, "large", copy, sha256=sha256),
            lambda _: bare.download_file(BUCKET, "bare", str(copy)),
            repeats,
            min,
        ),
    }


def measure_small(store: ObjectStore, bare: Any, count: int) -> dict[str, dict[str, float]]:
    """Put many small objects one after another, and get them."""
    data = os.urandom(SMALL_BYTES)
    keys = [f"{number:05d}" for number in range(count)]
    return {
        "small_put": ratio_to_bare(
            lambda turn: store.put(BUCKET, f"store/{keys[turn]}", data),
            lambda turn: bare.put_object(Bucket=BUCKET, Key=f"bare/{keys[turn]}", Body=data),
            count,
            sum,
        ),
        "small_get": ratio_to_bare(
            lambda turn: store.get(BUCKET, f"store/{keys[turn]}"),
            lambda turn: bare.get_object(Bucket=BUCKET, Key=f"bare/{keys[turn]}")["Body"].read(),
            count,
            sum,
        ),
    }


def measure(
    large_bytes: int = LARGE_BYTES, small_objects: int = SMALL_OBJECTS, repeats: int = REPEATS, memory_bytes: int = 0
) -> dict[str, Any]:
    """Return wall times and their ratios, and the peak memory where an object's size is given for it."""
    with tempfile.TemporaryDirectory() as name, s3_server(Path(name) / "s3") as s3:
        os.environ.update(s3.environ)
        store, bare, folder = open_store("s3://"), boto3.client("s3"), Path(name)
        store.put(BUCKET, "first", b"makes the bucket")
        bare.list_buckets()
        figures: dict[str, Any] = {
            **measure_large(store, bare, folder, large_bytes, repeats),
            **measure_small(store, bare, small_objects),
        }
        if memory_bytes:
            figures["peak_memory_mb"] = peak_of_copying(memory_bytes, BUCKET, folder)
        return figures


def show(figures: dict[str, Any]) -> None:
    """Print the figures as a table."""
    print("S3 store against bare boto3             store     boto3   ratio (at least 0.9)")
    for name, label in (
        ("large_up", f"{LARGE_BYTES / 1e9:g} GB up"),
        ("large_down", f"{LARGE_BYTES / 1e9:g} GB down"),
        ("small_put", f"{SMALL_OBJECTS:,} x {SMALL_BYTES // 1000} kB put"),
        ("small_get", f"{SMALL_OBJECTS:,} x {SMALL_BYTES // 1000} kB get"),
    ):
        row = figures[name]
        print(f"  {label:<32} {row['store_seconds']:8.2f}s {row['boto3_seconds']:8.2f}s {row['ratio']:7.2f}")
    if "peak_memory_mb" in figures:
        print(f"  {'peak memory':<32} {figures['peak_memory_mb']:8.0f} MB (at most 200)")


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--memory-gb", type=float, default=0, help="also measure peak memory with an object that big")
    show(measure(memory_bytes=int(parser.parse_args().memory_gb * 1e9)))


if __name__ == "__main__":
    main()
