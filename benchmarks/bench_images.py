"""Sizes of the images, what a change of code costs, what a container adds, and the S3 store: ``make bench-images``.

Compressed sizes are those of the layers in a registry, which is started when ``docker-registry`` is installed; without
it that column stays empty. Prints a table and writes build/bench_images.json.
"""

import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
import urllib.request
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from benchmarks import bench_s3
from flts.stages import STAGES
from tests.support.engine import LIMITS, MB, UNIQUE_LIMIT, docker, layers, registry

ROOT = Path(__file__).resolve().parents[1]
_REPEATS = 5
_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


def seconds(*arguments: str) -> float:
    """Return the wall time of a command of the client."""
    began = time.perf_counter()
    docker(*arguments)
    return time.perf_counter() - began


def compressed(image: str, host: str) -> dict[str, int]:
    """Push an image, and return the sizes of its layers in the registry by digest."""
    name, tag = image.split(":")
    reference = f"{host}/{image}"
    docker("tag", image, reference)
    try:
        docker("push", "--quiet", reference)
    finally:
        docker("rmi", reference)
    request = urllib.request.Request(f"http://{host}/v2/{name}/manifests/{tag}", headers={"Accept": _MANIFEST})
    with urllib.request.urlopen(request) as answer:  # noqa: S310 - an address of this machine
        manifest = json.load(answer)
    return {layer["digest"]: layer["size"] for layer in manifest["layers"]}


def sizes() -> list[dict[str, Any]]:
    """Measure every image and all of them together, in MB."""
    rows, on_disk, in_registry = [], dict[str, int](), dict[str, int]()
    with registry() if shutil.which("docker-registry") else nullcontext() as host:
        for stage in STAGES:
            image = f"flts-{stage}:kfp"
            disk = layers(image)
            packed = compressed(image, host) if host else {}
            on_disk |= disk
            in_registry |= packed
            rows.append(_size_row(stage, LIMITS[stage], disk, packed))
    return [*rows, _size_row("all stages, unique layers", UNIQUE_LIMIT, on_disk, in_registry)]


def rebuild() -> float:
    """Return the seconds that building all images takes after a change in ``flts/``."""
    changed = ROOT / "flts" / "_rebuilt.py"
    build: list[str | Path] = [ROOT / "scripts" / "build_push.sh", "--json", ROOT / "build" / "rebuilt.json"]
    if base := os.environ.get("BASE_IMAGE"):
        build += ["--base", base]
    subprocess.run(build, cwd=ROOT, capture_output=True, check=True)
    try:
        changed.write_text(f'"""Changed at {time.time_ns()}."""\n')
        began = time.perf_counter()
        subprocess.run(build, cwd=ROOT, capture_output=True, check=True)
        return time.perf_counter() - began
    finally:
        changed.unlink()
        subprocess.run(build, cwd=ROOT, capture_output=True, check=True)


def help_overhead(stage: str) -> float:
    """Return how much longer ``--help`` takes than ``true`` in the same image; medians of pairs."""
    image = f"flts-{stage}:kfp"
    return statistics.median(
        seconds("run", "--rm", image, "--help") - seconds("run", "--rm", image, "true") for _ in range(_REPEATS)
    )


def preprocess_poblesec() -> float | None:
    """Return the seconds of preprocessing PobleSec in its container, start to exit; ``None`` without the dataset."""
    data = ROOT.parent / "shared" / "data"
    if not (data / "PobleSec.csv").is_file():
        return None
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        mounts = ("-v", f"{data}:/data:ro", "-v", f"{folder}:/out", "--user", f"{os.getuid()}:{os.getgid()}")
        run = ("run", "--rm", *mounts, "flts-preprocess:kfp", "--input", "/data/PobleSec.csv", "--output-dir", "/out")
        return statistics.median(seconds(*run) for _ in range(3))


def main() -> None:
    """Measure everything, print it, and write build/bench_images.json."""
    table = sizes()
    print(f"{'image':24}{'on disk':>9}{'compressed':>12}{'limit':>8}  MB")
    for row in table:
        print(f"{row['image']:24}{row['disk_mb']:9.0f}{row['compressed_mb'] or '-':>12}{row['limit_mb']:8d}")
    times = {
        "rebuild of all after a change in flts/ (< 30 s)": rebuild(),
        **{f"--help beyond true, {stage} (< 0.6 s)": help_overhead(stage) for stage in STAGES},
        "preprocess of PobleSec in its container (< 4 s)": preprocess_poblesec(),
    }
    for name, value in times.items():
        print(f"{name:60}{'-' if value is None else f'{value:.2f} s':>10}")
    store = bench_s3.measure()
    bench_s3.show(store)
    report = ROOT / "build" / "bench_images.json"
    report.parent.mkdir(exist_ok=True)
    report.write_text(json.dumps({"sizes": table, "seconds": times, "store": store}, indent=2) + "\n")
    print(f"written to {report.relative_to(ROOT)}")


def _size_row(name: str, limit: int, disk: dict[str, int], packed: dict[str, int]) -> dict[str, Any]:
    return {
        "image": name,
        "disk_mb": sum(disk.values()) / MB,
        "compressed_mb": round(sum(packed.values()) / MB) or None,
        "limit_mb": limit,
    }


if __name__ == "__main__":
    main()
