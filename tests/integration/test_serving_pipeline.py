"""What a run of the pipeline promotes is served as it stands, from its store and its MLflow."""

from pathlib import Path

import httpx
import pyarrow.parquet as pq
import pytest

from tests.support import pipelines
from tests.support.serving import serving
from tests.support.waiting import wait_until


@pytest.mark.slow
def test_the_model_that_a_run_promoted_forecasts_over_http(root: Path, demo: Path, tmp_path: Path):
    ended = pipelines.run(root, tmp_path / "home", demo)
    assert ended.code == 0, ended.stdout + ended.stderr
    summary = ended.summary
    promotion, services = summary["promotion"], summary["parameters"]
    options = ("--mlflow-tracking-uri", services["mlflow_tracking_uri"], "--identifier", services["identifier"])

    with serving(services["gateway_url"], *options) as server:
        assert server.wait_until_ready()["run_id"] == promotion["run_id"]
        wait_until(lambda: httpx.get(f"{server.url}/model").json()["promotions"])
        model = httpx.get(f"{server.url}/model").json()
        answer = httpx.post(f"{server.url}/predict", json={"inference_length": 3})

    assert model["model_uri"].startswith("runs:/")
    assert model["scores"]["rmse"] == summary["models"][model["model_type"]]["test"]["rmse"]
    assert all(model["scores"][f"{name}_rmse"] > 0 for name in ("persistence", "linear", "seasonal_naive"))
    assert model["dataset_name"] == "slice"
    assert [each["current"] for each in model["promotions"]] == [True]
    measured = pq.read_table(ended.places()["Forecasts"]).column("ts").to_pylist()
    assert answer.json()["predictions"][0]["ts"] > f"{measured[0].isoformat()}Z"
