"""deploy/docker-compose.yaml, up over stand-ins for the images of others: datasets through the workers, kills, down."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import yaml

from flts.errors import ServiceUnavailableError
from flts.store import open_store
from tests.support.compose import KAFKA_FILE, ROOT, Project, locked_down, project, put_demo, stand_ins
from tests.support.metrics import documented, told
from tests.support.stages import STAGES_OF
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
SERVICES = {"minio", "mlflow", "fastapi-app", "inference", "kafka"}
WORKERS = {"batch-forecasting" if stage == "inference" else stage for stage in STAGES_OF["pipeline"]}
ONCE = {"volumes", "init", "topics"}
SMALL = {"EPOCHS": "1", "MEMBERS": "1", "HIDDEN_SIZE": "8", "INFERENCE_LENGTH": "5"}
SAMPLE = {"SAMPLE_TRAIN_ROWS": "600", "SAMPLE_TEST_ROWS": "300"}
SECONDS = 120  # for a dataset: every worker imports its libraries first


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The services and workers, with the demo's dataset under another name."""
    folder = tmp_path_factory.mktemp("compose")
    images = stand_ins("seaweedfs", "mlflow", "kafka")
    settings = {"DATASET_DIR": str(put_demo(folder, "JFK")), "DATASET_NAME": "JFK", **SMALL}
    with project(folder, images, KAFKA_FILE, **settings) as started:
        yield started


def request(up: Project, identifier: str) -> None:
    """Hand the dataset to the workers, as people do."""
    variables = {"IDENTIFIER": identifier, "EXTRA_HASH_SALT": identifier, **SAMPLE}
    given = [word for name, value in variables.items() for word in ("--env", f"{name}={value}")]
    up.compose("--profile", "request", "run", "--rm", "--no-TTY", *given, "request")


def objects(up: Project, bucket: str, prefix: str) -> list[str]:
    """The keys of a bucket."""
    return [info.key for info in open_store(up.gateway).list(bucket, prefix)]


def eventually(up: Project, true: Callable[[], Any], what: str, seconds: float = SECONDS) -> Any:
    """Wait until something is true, and return it."""

    def state() -> str:
        return f"{what}\n{up.compose('logs', '--tail', '8').stdout[-8000:]}"

    return wait_until(true, seconds, pause=0.5, ignoring=(ServiceUnavailableError,), state=state)


def done(up: Project, identifier: str) -> dict[str, Any]:
    """Wait until a dataset is forecast, and return its promotion, of which there is one."""
    eventually(
        up,
        lambda: [key for key in objects(up, "inference-logs", f"{identifier}/") if key.endswith("/results.jsonl")],
        f"the forecasts of {identifier}",
    )
    history = [key for key in objects(up, "model-promotion", f"{identifier}/") if "/promotion-" in key]
    assert len(history) == 1
    promotion: dict[str, Any] = httpx.get(f"{up.gateway}/download/model-promotion/{identifier}/current.json").json()
    return promotion


@pytest.fixture(scope="module")
def promotion(up: Project) -> dict[str, Any]:
    """What came of the first dataset."""
    request(up, "first")
    return done(up, "first")


def test_up_waits_until_services_are_ready_and_workers_live(up: Project) -> None:
    found = up.containers()

    assert found.keys() == SERVICES | WORKERS | ONCE
    for name in SERVICES | WORKERS:
        assert found[name]["State"]["Health"]["Status"] == "healthy", name
    assert {found[name]["State"]["ExitCode"] for name in ONCE} == {0}


def test_containers_are_locked_down_and_open_to_this_machine_alone(up: Project) -> None:
    for name, container in up.containers().items():
        locked_down(name, container)
        assert name not in {"kafka"} | WORKERS or not container["HostConfig"]["PortBindings"], name


def test_a_requested_dataset_is_promoted_forecast_and_served(up: Project, promotion: dict[str, Any]) -> None:
    assert promotion["status"] == "PROMOTED"
    assert promotion["identifier"] == "first"
    run = httpx.get(f"{up.mlflow}/api/2.0/mlflow/runs/get", params={"run_id": promotion["run_id"]}).json()
    assert run["run"]["info"]["status"] == "FINISHED"
    assert up.forecast(60, inference_length=3)["run_id"] == promotion["run_id"]


def test_the_topics_are_made_once(up: Project, promotion: dict[str, Any]) -> None:
    again = up.compose("run", "--rm", "--no-TTY", "topics").stdout.splitlines()

    assert again
    assert all(line.endswith(": there already") for line in again)


def test_people_can_ask_what_waits(up: Project, promotion: dict[str, Any]) -> None:
    status = up.compose("exec", "--no-TTY", "preprocess", "flts-status").stdout
    dead = up.compose("exec", "--no-TTY", "preprocess", "flts-dlq", "list").stdout

    assert "no dataset waits for anything" in status
    assert "no dead letters" in dead


def test_prometheus_finds_the_metrics_of_every_worker(up: Project, promotion: dict[str, Any]) -> None:
    config = yaml.safe_load((ROOT / "deploy" / "observability" / "prometheus.yaml").read_text())
    (source,) = next(job for job in config["scrape_configs"] if job["job_name"] == "worker")["dns_sd_configs"]
    client = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=10).read().decode())"
    said = set()

    for name in WORKERS:
        url = f"http://{name}:{source['port']}/metrics"
        said |= told(up.compose("exec", "--no-TTY", "inference", "python3", "-c", client, url).stdout)

    # Those that are there once something failed.
    assert documented()["worker"] - said <= {
        *("flts_worker_failed_total", "flts_worker_dead_letters_total", "flts_worker_lost_total"),
    }
    assert set(source["names"]) >= WORKERS  # a trainer that is not there is found nowhere


def test_killed_workers_and_a_killed_broker_lose_nothing(up: Project, promotion: dict[str, Any]) -> None:
    request(up, "second")
    killed = ("kafka", *sorted(WORKERS))
    up.compose("kill", *killed)
    up.compose("start", *killed)

    assert done(up, "second")["identifier"] == "second"

    request(up, "third")
    assert done(up, "third")["identifier"] == "third"
    assert "no dead letters" in up.compose("exec", "--no-TTY", "preprocess", "flts-dlq", "list").stdout


def test_stopped_workers_end_by_themselves(up: Project, promotion: dict[str, Any]) -> None:
    began = time.monotonic()
    up.compose("stop", *WORKERS)

    assert time.monotonic() - began < 29, "before the grace period is over"
    found = up.containers()
    assert {name: found[name]["State"]["ExitCode"] for name in WORKERS} == dict.fromkeys(WORKERS, 0)


def test_no_log_has_a_secret(up: Project, promotion: dict[str, Any]) -> None:
    logs = up.compose("logs").stdout

    assert "kafka" in logs
    assert up.environ["AWS_SECRET_ACCESS_KEY"] not in logs
