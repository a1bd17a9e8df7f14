"""The compose files as Compose reads them: locked down, limited, pinned, and with the names that everybody knows."""

import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from flts.models.registry import TRAINED_MODELS
from flts.params import GATEWAY_URL, MLFLOW_TRACKING_URI
from flts.stages import STAGES
from tests.support.stages import OPTIONAL_TRAINERS, STAGES_OF

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
COMMON_FILE = DEPLOY / "docker-compose.common.yaml"
KFP = DEPLOY / "docker-compose.kfp.yaml"
KAFKA = DEPLOY / "docker-compose.yaml"
BOOSTED = DEPLOY / "docker-compose.boosted.yaml"
FILES = pytest.mark.parametrize("file", [KFP, KAFKA], ids=["kfp", "kafka"])
CLIENT = Path(sys.executable).parent / "docker-compose"
ONCE = {"volumes", "init", "topics", "pipeline", "request"}
COMMON = {"volumes", "minio", "init", "mlflow", "fastapi-app", "inference"}
# The service of each stage; `inference` answers requests.
WORKERS = {"batch-forecasting" if stage == "inference" else stage: stage for stage in STAGES_OF["pipeline"]}
Services = dict[str, dict[str, Any]]


def config(files: tuple[Path, ...], env_file: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What Compose makes of files; it needs no engine for that."""
    named = [word for file in files for word in ("--file", file)]
    command = [CLIENT, *named, "--env-file", env_file, "--profile", "*", "config", *arguments]
    return subprocess.run(command, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False)


@cache
def services(*files: Path) -> Services:
    """The services, with the values of the example."""
    done = config(files, DEPLOY / ".env.example", "--format", "json")
    assert done.returncode == 0, done.stderr
    found: Services = json.loads(done.stdout)["services"]
    return found


def usual(file: Path) -> set[str]:
    return {name for name, service in services(file).items() if not service.get("profiles")}


@FILES
def test_it_has_the_services_that_users_know(file: Path) -> None:
    found = services(file)

    assert usual(file) >= COMMON
    assert found["prometheus"]["profiles"] == found["grafana"]["profiles"] == ["observability"]
    assert set(found["minio"]["networks"]["default"]["aliases"]) == {"seaweedfs", "store"}


def test_pipelines_need_no_kafka_and_no_topic() -> None:
    assert usual(KFP) == COMMON
    assert services(KFP)["pipeline"]["profiles"] == ["pipeline"]
    assert "kafka" not in (KFP.read_text() + COMMON_FILE.read_text()).lower()
    assert "topic" not in (KFP.read_text() + COMMON_FILE.read_text()).lower()


def test_over_kafka_every_stage_has_a_worker_on_its_own_image() -> None:
    found = services(KAFKA)

    assert usual(KAFKA) == {*COMMON, "kafka", "topics", *WORKERS}
    assert found["request"]["profiles"] == ["request"]
    for name, stage in WORKERS.items():
        worker = found[name]
        assert worker["image"] == f"flts-{stage}:kfp"
        assert (
            worker["environment"].items()
            >= {
                "USE_KFP": "0",
                "KAFKA_BOOTSTRAP_SERVERS": "kafka:9092",
                "GATEWAY_URL": GATEWAY_URL,
                "MLFLOW_TRACKING_URI": MLFLOW_TRACKING_URI,
            }.items()
        )
        assert worker["stop_grace_period"] == "30s"
        assert worker["command"] == (["--listen"] if name == "preprocess" else None)


def test_a_second_file_adds_the_fourth_trainer_and_eval_waits_for_its_model() -> None:
    usual, found = services(KAFKA), services(KAFKA, BOOSTED)
    (name,) = OPTIONAL_TRAINERS

    assert found[name] == usual["train-prophet"] | {"image": f"flts-{name}:kfp"}
    expected = {"EXPECTED_MODEL_TYPES": ",".join(TRAINED_MODELS)}
    changed = usual["eval"] | {"environment": usual["eval"]["environment"] | expected}
    assert found == usual | {name: found[name], "eval": changed}


def test_prometheus_scrapes_the_worker_of_every_stage() -> None:
    jobs = yaml.safe_load((DEPLOY / "observability" / "prometheus.yaml").read_text())["scrape_configs"]
    (worker,) = (job for job in jobs if job["job_name"] == "worker")
    (discovery,) = worker["dns_sd_configs"]
    assert set(discovery["names"]) == {*WORKERS, *OPTIONAL_TRAINERS}


def test_workers_take_the_defaults_of_their_stages() -> None:
    for name, stage in WORKERS.items():
        fields = STAGES[stage].params.model_fields
        given = {key.lower(): value for key, value in services(KAFKA)[name]["environment"].items()}
        for parameter in (given.keys() & fields.keys()) - {"gateway_url", "mlflow_tracking_uri"}:
            assert given[parameter] == str(fields[parameter].default), f"{name}: {parameter}"


def test_the_broker_makes_no_topic_by_itself_and_is_open_to_the_services_alone() -> None:
    broker = services(KAFKA)["kafka"]

    assert broker["environment"]["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
    assert broker["environment"]["KAFKA_ADVERTISED_LISTENERS"] == "PLAINTEXT://kafka:9092"
    assert "ports" not in broker
    assert services(KAFKA)["topics"]["command"] == ["flts-topics"]


def test_both_files_together_are_one_project_on_one_store() -> None:
    both = services(KFP, KAFKA)

    assert both.keys() == services(KFP).keys() | services(KAFKA).keys()
    for name in COMMON - {"volumes"}:
        assert both[name] == services(KFP)[name] == services(KAFKA)[name]


@pytest.mark.parametrize("default", [GATEWAY_URL, MLFLOW_TRACKING_URI])
@FILES
def test_the_pipeline_defaults_are_addresses_of_its_services(file: Path, default: str) -> None:
    address = urlsplit(default)
    (port,) = services(file)[str(address.hostname)]["ports"]

    assert port["target"] == address.port
    assert default in services(file)["inference"]["environment"].values()
    assert default in services(KFP)["pipeline"]["entrypoint"]


@FILES
def test_every_container_is_locked_down_and_limited(file: Path) -> None:
    found = services(file)
    for name, service in found.items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["tmpfs"], name
        assert service["init"], name
        limits = service["deploy"]["resources"]["limits"]
        assert limits.keys() >= {"cpus", "memory", "pids"}, name
        root = service["user"].startswith("0:")
        assert root == (name == "volumes"), "only what gives volumes away is root"
        assert {port["host_ip"] for port in service.get("ports", ())} <= {"127.0.0.1"}, name
    assert found["volumes"]["network_mode"] == "none"
    assert found["volumes"]["cap_add"] == ["CHOWN", "DAC_READ_SEARCH"]


@FILES
def test_what_runs_all_day_comes_back_and_says_whether_it_is_well(file: Path) -> None:
    for name, service in services(file).items():
        if name in ("pipeline", "request"):
            assert service.get("restart", "no") == "no"
        elif name not in ONCE:
            assert service["restart"] == "unless-stopped", name
            assert service["healthcheck"]["test"], name


@FILES
def test_nobody_waits_for_less_than_readiness(file: Path) -> None:
    for service in services(file).values():
        for other, waits in service.get("depends_on", {}).items():
            done = other in ONCE
            assert waits["condition"] == ("service_completed_successfully" if done else "service_healthy")


@FILES
def test_images_are_pinned_and_those_of_others_are_what_the_tests_run_on(file: Path) -> None:
    for name, service in services(file).items():
        assert re.fullmatch(r"[\w./-]+:(?!latest)[\w.-]+", service["image"]), name
    for service, package in (("minio", "seaweedfs"), ("mlflow", "mlflow")):
        lock = (DEPLOY / "dev" / package / "lock.txt").read_text()
        version = re.findall(rf"^{package}(?:-bin)?==(\S+)", lock, re.MULTILINE)[0]
        tag = services(file)[service]["image"].partition(":")[2]
        assert tag.removeprefix("v").removesuffix("-full") == version


def test_images_can_be_chosen(tmp_path: Path) -> None:
    chosen = {name: f"example.com/{name.lower()}:1" for name in variables() if name.endswith("_IMAGE")}
    env = {"FLTS_REGISTRY": "example.com/team", "FLTS_TAG": "v9", **chosen}
    (tmp_path / "env").write_text((DEPLOY / ".env.example").read_text() + lines(env))

    images = set(config((KFP, KAFKA, BOOSTED), tmp_path / "env", "--images").stdout.split())

    own = {f"example.com/team/flts-{name}:v9" for name in ("gateway", "pipeline", *STAGES)}
    assert images == own | set(chosen.values())


@FILES
def test_one_identifier_can_be_served(tmp_path: Path, file: Path) -> None:
    (tmp_path / "env").write_text((DEPLOY / ".env.example").read_text() + lines({"SERVED_IDENTIFIER": "production"}))

    chosen = json.loads(config((file,), tmp_path / "env", "--format", "json").stdout)["services"]

    assert chosen["inference"]["environment"]["IDENTIFIER"] == "production"
    assert services(file)["inference"]["environment"]["IDENTIFIER"] == "", "the example leaves the choice to its reader"


@FILES
def test_the_store_is_probed_without_starting_its_shell(file: Path) -> None:
    assert "weed" not in " ".join(services(file)["minio"]["healthcheck"]["test"])


def texts() -> str:
    return "".join(file.read_text() for file in (KFP, KAFKA, COMMON_FILE))


def variables() -> set[str]:
    return set(re.findall(r"(?<!\$)\$\{(\w+)", texts())) - {"COMPOSE_PROJECT_NAME"}


def lines(values: dict[str, str]) -> str:
    return "".join(f"\n{name}={value}" for name, value in values.items())


def test_the_example_names_every_variable_and_no_other() -> None:
    named = set(re.findall(r"^#?([A-Z][A-Z_]+)=", (DEPLOY / ".env.example").read_text(), re.MULTILINE))

    assert named == variables()


def test_defaults_in_the_example_are_those_of_the_files() -> None:
    files = texts()
    commented = re.findall(r"^#([A-Z][A-Z_]+)=(.*)$", (DEPLOY / ".env.example").read_text(), re.MULTILINE)
    given = {name: value for name, value in commented if value and name != "FLTS_REGISTRY"}

    assert given
    for name, value in given.items():
        assert f"${{{name}:-{value}}}" in files


@pytest.mark.parametrize("missing", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "GRAFANA_PASSWORD"])
@FILES
def test_without_a_secret_it_says_what_to_do(tmp_path: Path, file: Path, missing: str) -> None:
    example = (DEPLOY / ".env.example").read_text()
    (tmp_path / "env").write_text(re.sub(rf"^{missing}=.*$", "", example, flags=re.MULTILINE))

    done = config((file,), tmp_path / "env")

    assert done.returncode != 0
    assert f"{missing} is missing a value: is not set; copy deploy/.env.example to deploy/.env" in done.stderr


def test_secrets_are_in_no_file_that_git_keeps() -> None:
    ignored = subprocess.run(["git", "check-ignore", "deploy/.env"], cwd=ROOT, capture_output=True, check=False)

    assert ignored.returncode == 0
    for line in (DEPLOY / ".env.example").read_text().splitlines():
        if re.match(r"\w*(SECRET|PASSWORD)\w*=", line):
            assert re.search(r"=<.+>$", line), "the example asks for a choice, and makes none"
