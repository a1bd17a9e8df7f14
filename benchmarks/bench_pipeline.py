"""The whole pipeline on all rows with the pipeline's defaults, twice from scratch: time, and equality of results.

`python -m benchmarks pipeline`
"""

import hashlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
POBLESEC = ROOT.parent / "shared" / "data" / "PobleSec.csv"


def run_pipeline(dataset: Path, home: Path) -> tuple[float, dict[str, Any]]:
    """Run the pipeline in a new home; return its wall time and its summary."""
    command: list[str | Path] = [sys.executable, "-m", "pipeline.runner", "--dataset", dataset, "--home", home]
    start = time.perf_counter()
    subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    seconds = time.perf_counter() - start
    return seconds, json.loads((home / "latest" / "summary.json").read_text())


def content(home: Path, summary: dict[str, Any]) -> dict[str, Any]:
    """Return everything that must be equal to the byte in two runs: configuration, weights, metrics and forecasts."""
    weights = sorted(home.glob("mlartifacts/**/artifacts/bundle/*"))
    forecasts = sorted(home.glob("store/inference-logs/**/predictions.parquet"))
    return {
        "config_hash": summary["config_hash"],
        "models": {
            name: {key: value for key, value in model.items() if key != "run_id"}
            for name, model in summary["models"].items()
        },
        "bundles": sorted(_digest(path) for path in weights),
        "forecasts": [_digest(path) for path in forecasts],
    }


def measure(dataset: Path = POBLESEC) -> dict[str, Any]:
    """Return the wall time of a first and a repeated run, each stage's seconds, and whether a second home is equal."""
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        seconds, summary = run_pipeline(dataset, Path(first))
        repeat_seconds, _ = run_pipeline(dataset, Path(first))
        other_seconds, other = run_pipeline(dataset, Path(second))
        equal = content(Path(first), summary) == content(Path(second), other)
    return {
        "dataset": dataset.stem,
        "seconds": min(seconds, other_seconds),
        "repeat_seconds": repeat_seconds,
        "stage_seconds": {name: stage["seconds"] for name, stage in summary["stages"].items()},
        "promoted": summary["promotion"]["model_type"],
        "backtest_skill": summary["forecast"]["backtest_skill"],
        "identical": equal,
    }


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
