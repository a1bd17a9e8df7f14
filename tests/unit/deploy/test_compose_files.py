"""The compose file as Compose reads it: locked down, limited, pinned, and with the names that everybody knows."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from flts.params import GATEWAY_URL, MLFLOW_TRACKING_URI

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
FILE = DEPLOY / "docker-compose.kfp.yaml"
CLIENT = Path(sys.executable).parent / "docker-compose"
ONCE = {"volumes", "init", "pipeline"}


def config(env_file: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What Compose makes of the file; it needs no engine for that."""
    command = [CLIENT, "--file", FILE, "--env-file", env_file, "--profile", "*", "config", *arguments]
    return subprocess.run(command, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    """The services, with the values of the example."""
    done = config(DEPLOY / ".env.example", "--format", "json")
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)["services"]
    return found


def test_it_has_the_services_that_users_know(services: dict[str, dict[str, Any]]) -> None:
    usual = {name for name, service in services.items() if not service.get("profiles")}

    assert usual == {"volumes", "minio", "init", "mlflow", "fastapi-app", "inference"}
    assert services["pipeline"]["profiles"] == ["pipeline"]
    assert services["prometheus"]["profiles"] == services["grafana"]["profiles"] == ["observability"]
    assert set(services["minio"]["networks"]["default"]["aliases"]) == {"seaweedfs", "store"}
    assert "kafka" not in FILE.read_text().lower()


@pytest.mark.parametrize("default", [GATEWAY_URL, MLFLOW_TRACKING_URI])
def test_the_pipeline_defaults_are_addresses_of_its_services(services: dict[str, dict[str, Any]], default: str) -> None:
    address = urlsplit(default)
    (port,) = services[str(address.hostname)]["ports"]

    assert port["target"] == address.port
    assert default in {*services["inference"]["environment"].values()} & {*services["pipeline"]["entrypoint"]}


def test_every_container_is_locked_down_and_limited(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
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
    assert services["volumes"]["network_mode"] == "none"
    assert services["volumes"]["cap_add"] == ["CHOWN", "DAC_READ_SEARCH"]


def test_what_runs_all_day_comes_back_and_says_whether_it_is_well(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        if name in ONCE:
            continue
        assert service["restart"] == "unless-stopped", name
        assert service["healthcheck"]["test"], name
    assert services["pipeline"].get("restart", "no") == "no"


def test_nobody_waits_for_less_than_readiness(services: dict[str, dict[str, Any]]) -> None:
    for service in services.values():
        for other, waits in service.get("depends_on", {}).items():
            done = other in ONCE
            assert waits["condition"] == ("service_completed_successfully" if done else "service_healthy")


def test_images_are_pinned_and_those_of_others_are_what_the_tests_run_on(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert re.fullmatch(r"[\w./-]+:(?!latest)[\w.-]+", service["image"]), name
    for service, package in (("minio", "seaweedfs"), ("mlflow", "mlflow")):
        lock = (DEPLOY / "dev" / package / "lock.txt").read_text()
        version = re.findall(rf"^{package}(?:-bin)?==(\S+)", lock, re.MULTILINE)[0]
        tag = services[service]["image"].partition(":")[2]
        assert tag.removeprefix("v").removesuffix("-full") == version


def test_images_can_be_chosen(tmp_path: Path) -> None:
    chosen = {name: f"example.com/{name.lower()}:1" for name in variables() if name.endswith("_IMAGE")}
    env = {"FLTS_REGISTRY": "example.com/team", "FLTS_TAG": "v9", **chosen}
    (tmp_path / "env").write_text((DEPLOY / ".env.example").read_text() + lines(env))

    images = set(config(tmp_path / "env", "--images").stdout.split())

    own = {f"example.com/team/flts-{name}:v9" for name in ("gateway", "inference", "pipeline")}
    assert images == own | set(chosen.values())


def variables() -> set[str]:
    files = FILE.read_text() + (DEPLOY / "common.yaml").read_text()
    return set(re.findall(r"(?<!\$)\$\{(\w+)", files)) - {"COMPOSE_PROJECT_NAME"}


def lines(values: dict[str, str]) -> str:
    return "".join(f"\n{name}={value}" for name, value in values.items())


def test_the_example_names_every_variable_and_no_other() -> None:
    named = set(re.findall(r"^#?([A-Z][A-Z_]+)=", (DEPLOY / ".env.example").read_text(), re.MULTILINE))

    assert named == variables()


def test_defaults_in_the_example_are_those_of_the_files() -> None:
    files = FILE.read_text() + (DEPLOY / "common.yaml").read_text()
    commented = re.findall(r"^#([A-Z][A-Z_]+)=(.*)$", (DEPLOY / ".env.example").read_text(), re.MULTILINE)
    given = {name: value for name, value in commented if value and name != "FLTS_REGISTRY"}

    assert given
    for name, value in given.items():
        assert f"${{{name}:-{value}}}" in files


@pytest.mark.parametrize("missing", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "GRAFANA_PASSWORD"])
def test_without_a_secret_it_says_what_to_do(tmp_path: Path, missing: str) -> None:
    example = (DEPLOY / ".env.example").read_text()
    (tmp_path / "env").write_text(re.sub(rf"^{missing}=.*$", "", example, flags=re.MULTILINE))

    done = config(tmp_path / "env")

    assert done.returncode != 0
    assert f"{missing} is missing a value: is not set; copy deploy/.env.example to deploy/.env" in done.stderr


def test_secrets_are_in_no_file_that_git_keeps() -> None:
    ignored = subprocess.run(["git", "check-ignore", "deploy/.env"], cwd=ROOT, capture_output=True, check=False)

    assert ignored.returncode == 0
    for line in (DEPLOY / ".env.example").read_text().splitlines():
        if re.match(r"\w*(SECRET|PASSWORD)\w*=", line):
            assert re.search(r"=<.+>$", line), "the example asks for a choice, and makes none"
