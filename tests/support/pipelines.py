"""Whole runs of the pipeline on a slice of the demo data, and what two of them must have in common."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow.parquet as pq

from flts.contracts import TrainedModel
from flts.models import bundle
from flts.store import open_store
from flts.tracking import download_bundle

ROWS, TEST_ROWS = 500, 120
PARAMETERS = {"epochs": 2, "hidden_size": 8, "num_layers": 1, "n_changepoints": 5, "yearly_seasonality": "false"}
# What differs between two runs that do the same.
_OWN = {"run_id", "model_uri", "promotion_time", "timestamp"}


@dataclass(frozen=True)
class Ended:
    """A run that ended: what it printed, its exit code, and its folder."""

    stdout: str
    stderr: str
    code: int
    folder: Path

    @property
    def summary(self) -> dict[str, Any]:
        summary: dict[str, Any] = json.loads((self.folder / "summary.json").read_text())
        return summary

    def places(self) -> dict[str, str]:
        """Return the locations that the closing lines name."""
        return dict(re.findall(r"^(Report|Summary|Promotion|Forecasts|MLflow) +(.+)$", self.stdout, re.MULTILINE))


def demo_slice(root: Path, folder: Path) -> Path:
    """Write a part of the demo dataset, with parameters that train in a second."""
    data = root / "examples" / "data"
    for name, rows in (("jfk_weather.csv", ROWS), ("jfk_weather_test.csv", TEST_ROWS)):
        lines = (data / name).read_text().splitlines(keepends=True)[: rows + 1]
        (folder / name.replace("jfk_weather", "slice")).write_text("".join(lines))
    settings = "\n".join(f"{name} = {json.dumps(value)}" for name, value in PARAMETERS.items())
    (folder / "slice.toml").write_text(f"[parameters]\n{settings}\n")
    return folder / "slice.csv"


def command(home: Path, dataset: Path, *flags: str) -> list[str]:
    return [sys.executable, "-m", "pipeline.runner", "--home", str(home), "--dataset", str(dataset), *flags]


def run(root: Path, home: Path, dataset: Path, *flags: str, **environ: str) -> Ended:
    """Run the pipeline to its end."""
    done = subprocess.run(
        command(home, dataset, *flags), cwd=root, env=os.environ | environ, text=True, capture_output=True, check=False
    )
    return Ended(done.stdout, done.stderr, done.returncode, (home / "latest").resolve())


def results(ended: Ended, folder: Path) -> Mapping[str, Any]:
    """Return all that a run with the same data and parameters gives again, on whatever it runs.

    Args:
        ended: A run.
        folder: A scratch folder.
    """
    assert ended.code == 0, ended.stdout + ended.stderr
    summary = ended.summary
    models = summary["models"]
    digests = {}
    for name, run_id in summary["run_ids"].items():
        reference = TrainedModel.model_construct(model_uri=f"runs:/{run_id}/{name}", artifact_uri="")
        fetched = download_bundle(summary["parameters"]["mlflow_tracking_uri"], reference, folder / run_id)
        digests[name] = bundle.load(fetched).digest
    return {
        "config_hash": summary["config_hash"],
        "weights": digests,
        "models": {name: _without_own(model) for name, model in models.items()},
        "promotion": _without_own(summary["promotion"]),
        "forecast": _without_own(summary["forecast"] | {"leaderboard": _ranks(summary["forecast"])}),
        "predictions": _predictions(ended, folder),
    }


def _predictions(ended: Ended, folder: Path) -> list[dict[str, Any]]:
    place = ended.places()["Forecasts"]
    if place.startswith("s3://"):
        address = urlsplit(place)
        open_store("s3://").download(address.netloc, address.path.removeprefix("/"), folder / "predictions.parquet")
        place = str(folder / "predictions.parquet")
    rows: list[dict[str, Any]] = pq.read_table(place).to_pylist()
    return rows


def _ranks(forecast: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [_without_own(entry) for entry in json.loads(forecast.get("leaderboard", "[]"))]


def _without_own(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in _OWN}
