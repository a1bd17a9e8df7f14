"""A project of Docker Compose on free ports, for tests: its services, and what they leave, which is nothing."""

import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from scripts.services import free_ports
from tests.support import engine
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
FILE = ROOT / "deploy" / "docker-compose.kfp.yaml"
KAFKA_FILE = ROOT / "deploy" / "docker-compose.yaml"
PORTS = ("MINIO_PORT", "MLFLOW_PORT", "GATEWAY_PORT", "INFERENCE_PORT", "PROMETHEUS_PORT", "GRAFANA_PORT")
CLIENT = Path(sys.executable).parent / "docker-compose"


@dataclass(frozen=True)
class Project:
    """A project that is up: ``environ`` is what its .env file says."""

    environ: dict[str, str]
    env_file: Path
    file: Path = FILE

    @property
    def name(self) -> str:
        return self.environ["COMPOSE_PROJECT_NAME"]

    @property
    def gateway(self) -> str:
        return f"http://127.0.0.1:{self.environ['GATEWAY_PORT']}"

    @property
    def mlflow(self) -> str:
        return f"http://127.0.0.1:{self.environ['MLFLOW_PORT']}"

    @property
    def inference(self) -> str:
        return f"http://127.0.0.1:{self.environ['INFERENCE_PORT']}"

    def compose(self, *arguments: str, check: bool = True, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a command of Compose on the project, with nothing of this machine's environment but the engine."""
        done = subprocess.run(
            [CLIENT, "--file", self.file, "--env-file", self.env_file, *arguments],
            env={name: os.environ[name] for name in ("PATH", "HOME", "DOCKER_HOST") if name in os.environ},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0 or not check, f"{arguments}: {done.stderr[-3000:]}{done.stdout[-3000:]}"
        return done

    def containers(self) -> dict[str, dict[str, Any]]:
        """Return the engine's view of the containers, by service."""
        ids = self.compose("ps", "--all", "--quiet").stdout.split()
        found = json.loads(engine.docker("inspect", *ids).stdout)
        return {one["Config"]["Labels"]["com.docker.compose.service"]: one for one in found}

    def forecast(self, seconds: float, **request: Any) -> dict[str, Any]:
        """Ask for a forecast until there is one."""

        def forecast() -> dict[str, Any]:
            answer = httpx.post(f"{self.inference}/predict", json=request, timeout=10)
            document: dict[str, Any] = answer.raise_for_status().json()
            return document

        logs = ("logs", "--tail", "30", "inference")
        return wait_until(
            forecast, seconds, pause=0.2, ignoring=(httpx.HTTPError,), state=lambda: self.compose(*logs).stdout
        )


def stand_ins(*names: str) -> dict[str, str]:
    """Build stand-ins for the images of others, and return the variables that name them."""
    base = ("--base", os.environ["BASE_IMAGE"]) if os.environ.get("BASE_IMAGE") else ()
    done = subprocess.run(
        [ROOT / "scripts" / "dev_images.sh", *base, *names],
        env=os.environ | {"DOCKER": engine.CLIENT},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(line.split("=") for line in done.stdout.split())


def put_demo(folder: Path, name: str) -> Path:
    """Copy the demo's dataset into a folder of datasets, under a name, and return that folder."""
    datasets = folder / "datasets"
    datasets.mkdir(exist_ok=True)
    for suffix in (".csv", "_test.csv", ".toml"):
        shutil.copy(ROOT / "examples" / "data" / f"jfk_weather{suffix}", datasets / f"{name}{suffix}")
    return datasets


def locked_down(name: str, container: dict[str, Any]) -> None:
    """Check that a container of a project has no more rights than it needs, and is open to this machine alone."""
    host = container["HostConfig"]
    assert host["ReadonlyRootfs"], name
    assert host["CapDrop"] == ["ALL"], name
    assert "no-new-privileges:true" in host["SecurityOpt"], name
    assert host["Memory"] > 0, name
    assert host["NanoCpus"] > 0, name
    assert container["Config"]["User"] == ("0:0" if name == "volumes" else "10001:10001"), name
    assert {port["HostIp"] for ports in host["PortBindings"].values() for port in ports} <= {"127.0.0.1"}, name


@contextmanager
def project(folder: Path, images: dict[str, str], file: Path = FILE, **settings: str) -> Iterator[Project]:
    """Bring the services of a file up until the block ends; nothing of them stays, whatever happens."""
    ports = dict(zip(PORTS, map(str, free_ports(len(PORTS))), strict=True))
    environ = {
        "COMPOSE_PROJECT_NAME": f"flts-test-{os.getpid()}-{secrets.token_hex(3)}",
        "AWS_ACCESS_KEY_ID": "flts-test",
        "AWS_SECRET_ACCESS_KEY": secrets.token_hex(16),
        "GRAFANA_PASSWORD": secrets.token_hex(16),
        "FLTS_TAG": os.environ.get("FLTS_TAG", "kfp"),
        **ports,
        **images,
        **settings,
    }
    env_file = folder / "test.env"
    env_file.write_text("".join(f"{name}={value}\n" for name, value in environ.items()))
    made = Project(environ, env_file, file)
    try:
        started = made.compose("up", "--detach", "--wait", check=False, timeout=240)
        assert started.returncode == 0, f"{started.stderr[-2000:]}\n{made.compose('logs', '--tail', '20').stdout}"
        yield made
    finally:
        made.compose("--profile", "*", "down", "--volumes", "--remove-orphans", "--timeout", "2", check=False)
    for kind in ("container", "volume", "network"):
        label = f"label=com.docker.compose.project={made.name}"
        everything = ("--all",) if kind == "container" else ()
        assert not engine.docker(kind, "ls", *everything, "--quiet", "--filter", label).stdout, f"a {kind} was left"
