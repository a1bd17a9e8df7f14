"""deploy/docker-compose.kfp.yaml, up over stand-ins for the images of others: pipeline, forecasts, restarts, down."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.support.compose import Project, locked_down, project, put_demo, stand_ins
from tests.support.metrics import documented, told
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(480)]
SERVICES = ("minio", "mlflow", "fastapi-app", "inference")
SMALL = {"epochs": 1, "members": 1, "sample_train_rows": 600, "sample_test_rows": 300, "inference_length": 5}
PROMOTED = "model-promotion/nightly/current.json"


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The services, with the demo's dataset under another name."""
    folder = tmp_path_factory.mktemp("compose")
    settings = {"DATASET_DIR": str(put_demo(folder, "JFK")), "DATASET_NAME": "JFK", "IDENTIFIER": "nightly"}
    with project(folder, stand_ins("seaweedfs", "mlflow"), **settings) as started:
        yield started


@pytest.fixture(scope="module")
def forecast(up: Project) -> dict[str, Any]:
    """A forecast of what the pipeline promoted."""
    params = [word for name, value in SMALL.items() for word in ("--param", f"{name}={value}")]
    arguments = ("--stored-dataset", "JFK", "--identifier", "nightly", *params)
    done = up.compose("--profile", "pipeline", "run", "--rm", "--no-TTY", "pipeline", *arguments)
    assert "Promoted" in done.stdout
    return up.forecast(30, inference_length=3)


def test_up_waits_until_every_service_is_ready(up: Project) -> None:
    assert httpx.get(f"{up.gateway}/ready").status_code == 200
    assert httpx.get(f"{up.mlflow}/health").status_code == 200
    assert httpx.get(f"{up.inference}/healthz").status_code == 200
    refused = httpx.post(f"{up.inference}/predict", json={})
    assert refused.status_code == 503, "nothing is promoted yet"
    assert refused.json()["detail"]


def test_containers_are_locked_down_and_open_to_this_machine_alone(up: Project) -> None:
    found = up.containers()

    assert found.keys() == {*SERVICES, "volumes", "init"}
    for name, one in found.items():
        locked_down(name, one)
    assert {found[name]["State"]["ExitCode"] for name in ("volumes", "init")} == {0}


def test_the_pipeline_runs_over_the_services_and_its_model_is_served(up: Project, forecast: dict[str, Any]) -> None:
    assert forecast["identifier"] == "nightly"
    assert len(forecast["predictions"]) == 3
    promotion = httpx.get(f"{up.gateway}/download/{PROMOTED}").json()
    assert forecast["run_id"] == promotion["run_id"]
    run = httpx.get(f"{up.mlflow}/api/2.0/mlflow/runs/get", params={"run_id": promotion["run_id"]}).json()
    assert run["run"]["info"]["status"] == "FINISHED"


@pytest.mark.parametrize("service", SERVICES)
def test_a_killed_service_that_is_started_again_has_lost_nothing(
    up: Project, forecast: dict[str, Any], service: str
) -> None:
    promoted = httpx.get(f"{up.gateway}/download/{PROMOTED}").content

    up.compose("kill", service)
    up.compose("start", service)

    assert up.forecast(60, inference_length=3) == forecast, "recovered by itself"
    assert _eventually(f"{up.gateway}/download/{PROMOTED}") == promoted
    assert b"FINISHED" in _eventually(f"{up.mlflow}/api/2.0/mlflow/runs/get?run_id={forecast['run_id']}")


def test_prometheus_would_find_the_metrics_of_every_job(root: Path, up: Project, forecast: dict[str, Any]) -> None:
    config = yaml.safe_load((root / "deploy" / "observability" / "prometheus.yaml").read_text())
    fixed = [job for job in config["scrape_configs"] if "static_configs" in job]  # workers are found by their names
    addresses = {job["job_name"]: job["static_configs"][0]["targets"][0] for job in fixed}
    client = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=10).read().decode())"

    for job in addresses.keys() & documented().keys():
        url = f"http://{addresses[job]}/metrics"
        text = up.compose("exec", "--no-TTY", "inference", "python3", "-c", client, url).stdout
        assert documented()[job] <= told(text), job


def test_up_again_changes_nothing(up: Project, forecast: dict[str, Any]) -> None:
    before = up.containers()

    up.compose("up", "--detach", "--wait", timeout=180)

    after = up.containers()
    assert {name: after[name]["Id"] for name in SERVICES} == {name: before[name]["Id"] for name in SERVICES}
    assert up.compose("logs", "init").stdout.rstrip().endswith("JFK_test.csv: there already")
    assert up.forecast(5, inference_length=3) == forecast


def test_no_log_has_a_secret(up: Project, forecast: dict[str, Any]) -> None:
    logs = up.compose("logs").stdout

    assert "minio" in logs
    assert up.environ["AWS_SECRET_ACCESS_KEY"] not in logs


def _eventually(url: str) -> bytes:
    def content() -> bytes:
        return httpx.get(url, timeout=10).raise_for_status().content

    return wait_until(content, pause=0.2, ignoring=(httpx.HTTPError,))
