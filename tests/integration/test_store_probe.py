"""The store of the manifests and compose files, by the real SeaweedFS: who waits for its probe can write at once."""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
import yaml
from botocore.config import Config

from tests.support.services import free_ports

DEPLOY = Path(__file__).parents[2] / "deploy"
KEYS = {"AWS_ACCESS_KEY_ID": "flts", "AWS_SECRET_ACCESS_KEY": "a-secret-of-this-test"}
PORT = "9000"


def _compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "docker-compose.common.yaml").read_text())["services"]["minio"]
    return found


def _manifest() -> dict[str, Any]:
    documents = yaml.safe_load_all((DEPLOY / "kubernetes" / "base" / "store.yaml").read_text())
    (workload,) = (each for each in documents if each["kind"] == "StatefulSet")
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    found: dict[str, Any] = container
    return found


def _command(folder: Path, ports: dict[str, int]) -> list[str]:
    """What the container is started with, in a folder and on ports of this test."""
    command = [str(Path(sys.executable).parent / _manifest()["command"][0]), *_manifest()["command"][1:]]
    own = {"-dir": str(folder), "-metricsIp": "127.0.0.1"} | {name: str(port) for name, port in ports.items()}
    kept = [word for word in command if word.partition("=")[0] not in own]
    return [*kept, *(f"{name}={value}" for name, value in own.items())]


@contextmanager
def _store(folder: Path) -> Iterator[int]:
    """Run it until the block ends, which kills it; gives the port of S3. Nobody has waited for it."""
    names = ("-s3.port", "-metricsPort", "-master.port", "-volume.port", "-filer.port")
    grpc = ("-s3.port.grpc", "-master.port.grpc", "-volume.port.grpc", "-filer.port.grpc")
    ports = dict(zip((*names, *grpc), free_ports(len(names) + len(grpc)), strict=True))
    environ = {"PATH": os.environ["PATH"], "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1", **KEYS}
    with (folder.parent / "weed.log").open("wb") as log:
        process = subprocess.Popen(_command(folder, ports), cwd=folder, env=environ, stdout=log, stderr=log)
    try:
        yield ports["-s3.port"]
    finally:
        process.kill()
        process.wait()
        for name in ("s3", "master", "volume", "filer"):
            Path(f"/tmp/seaweedfs-{name}-grpc-{ports[f'-{name}.port.grpc']}.sock").unlink(missing_ok=True)  # noqa: S108


def _kubelet_finds_it_ready(port: int) -> bool:
    probe = _manifest()["readinessProbe"]["httpGet"]
    assert probe["port"] == "s3"
    try:
        return httpx.get(f"http://127.0.0.1:{port}{probe['path']}", timeout=5).status_code < 400
    except httpx.TransportError:
        return False


def _docker_finds_it_ready(port: int) -> bool:
    """The check of Compose, with the stand-in's wget, which is to do what the real one does."""
    kind, command = _compose()["healthcheck"]["test"]
    assert kind == "CMD-SHELL"
    stand_in = shlex.quote(str(DEPLOY / "dev" / "seaweedfs" / "wget"))
    command = command.replace(PORT, str(port)).replace("wget", stand_in, 1)
    done = subprocess.run(["sh", "-c", command], capture_output=True, check=False)
    return done.returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("ready", [_kubelet_finds_it_ready, _docker_finds_it_ready])
def test_who_waits_for_the_probe_can_write_at_once(tmp_path: Path, ready: Any) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for start in ("on an empty volume", "after it was killed"):
        with _store(folder) as port:
            deadline = time.monotonic() + 120
            while not ready(port):
                assert time.monotonic() < deadline, (tmp_path / "weed.log").read_text()[-3000:]
                time.sleep(0.01)
            s3 = boto3.client(
                "s3",
                endpoint_url=f"http://127.0.0.1:{port}",
                region_name="us-east-1",
                aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
                config=Config(retries={"total_max_attempts": 1}),
            )
            if start == "on an empty volume":
                s3.create_bucket(Bucket="bucket")
            s3.put_object(Bucket="bucket", Key=start, Body=b"content")
            assert s3.get_object(Bucket="bucket", Key=start)["Body"].read() == b"content"


def test_compose_and_kubernetes_ask_the_same() -> None:
    path = _manifest()["readinessProbe"]["httpGet"]["path"]
    port = next(each["containerPort"] for each in _manifest()["ports"] if each["name"] == "s3")

    assert _compose()["healthcheck"]["test"] == ["CMD-SHELL", f"wget -q -O /dev/null http://127.0.0.1:{port}{path}"]
