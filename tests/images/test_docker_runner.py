"""The compiled pipeline under KFP's own local runner, ``kfp.local.DockerRunner``: what KFP's users would try first."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from flts.contracts import TrainedModel
from flts.models import bundle
from flts.store import open_store
from flts.tracking import download_bundle
from pipeline.runner.containers import container_environment
from tests.support.pipelines import run
from tests.support.services import Services

pytestmark = pytest.mark.timeout(900)

OWN = ("run_id", "model_uri", "artifact_uri", "promotion_time", "timestamp", "identifier", "candidates", "leaderboard")


def run_with_kfp(root: Path, folder: Path, arguments: Mapping[str, Any]) -> "subprocess.CompletedProcess[str]":
    (folder / "kfp").mkdir()  # else the engine makes it, as root
    asked = {
        "pipeline": str(root / "pipeline" / "pipeline.yaml"),
        "arguments": arguments,
        "pipeline_root": str(folder / "kfp"),
        "container": {
            "entrypoint": "",
            "user": f"{os.getuid()}:{os.getgid()}",
            "environment": container_environment({"FLTS_THREADS": "1", **os.environ}),
            "network_mode": "host",
        },
    }
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.images.kfp_local"],
        cwd=root,
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=False,
    )


def outcome(identifier: str, mlflow: str, folder: Path) -> dict[str, Any]:
    """Return the promotion of a run, the promoted model's weights, and its forecasts."""
    store = open_store("s3://")
    folder.mkdir()
    promotion = json.loads(store.get("model-promotion", f"{identifier}/current.json")[0])
    logged = [found.key for found in store.list("inference-logs", f"{identifier}/")]
    (predictions,) = (key for key in logged if key.endswith("/predictions.parquet"))
    store.download("inference-logs", predictions, folder / "predictions.parquet")
    reference = TrainedModel.model_construct(model_uri=promotion["model_uri"], artifact_uri="")
    return {
        "promotion": {name: value for name, value in promotion.items() if name not in OWN},
        "ranks": [{name: value for name, value in one.items() if name not in OWN} for one in promotion["leaderboard"]],
        "weights": bundle.load(download_bundle(mlflow, reference, folder / "bundle")).digest,
        "predictions": pq.read_table(folder / "predictions.parquet").to_pylist(),
    }


def test_kfps_own_runner_gives_the_same(root: Path, demo: Path, services_environ: Services, tmp_path: Path) -> None:
    mlflow = services_environ.mlflow_uri
    ours = run(root, tmp_path / "home", demo, "--store", "s3://", "--mlflow", mlflow, "--identifier", "by-ours")
    assert ours.code == 0, ours.stdout + ours.stderr

    kfps = run_with_kfp(root, tmp_path, ours.summary["parameters"] | {"identifier": "by-kfp"})

    assert kfps.returncode == 0, kfps.stdout[-3000:] + kfps.stderr[-3000:]
    assert outcome("by-kfp", mlflow, tmp_path / "by-kfp") == outcome("by-ours", mlflow, tmp_path / "by-ours")
