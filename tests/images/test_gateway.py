"""The gateway's container: it serves, locked down and as any user, is healthy, and ends in peace."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from tests.support import engine
from tests.support.services import free_ports
from tests.support.waiting import wait_until

IMAGE = "flts-gateway:kfp"
LOCKED_DOWN = ("--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--user=123456:0")


@contextmanager
def container(*options: str) -> Iterator[tuple[str, str]]:
    """Run the gateway in the background; gives the container and its address."""
    port = free_ports(1)[0]
    flags = ("--detach", "--label", engine.LABEL, "--publish", f"127.0.0.1:{port}:8000", *LOCKED_DOWN)
    name = engine.docker("run", *flags, *options, IMAGE).stdout.strip()
    try:
        yield name, f"http://127.0.0.1:{port}"
    finally:
        engine.docker("rm", "--force", name)


def state(name: str, field: str) -> str:
    return engine.docker("inspect", "--format", f"{{{{.State.{field}}}}}", name).stdout.strip()


def until_healthy(name: str) -> None:
    wait_until(
        lambda: state(name, "Health.Status") == "healthy",
        pause=0.5,
        state=lambda: engine.docker("logs", name).stderr,
    )


@pytest.mark.slow
def test_it_serves_is_healthy_and_ends_with_exit_code_0() -> None:
    with container("--env=FLTS_STORE=file:///tmp/store", "--env=FLTS_AUTH=off") as (name, url):
        until_healthy(name)
        assert httpx.post(f"{url}/upload/dataset/a.csv", content=b"time,x\n").status_code == 200
        assert httpx.get(f"{url}/download/dataset/a.csv").content == b"time,x\n"
        begin = time.monotonic()
        engine.docker("stop", name)
        assert time.monotonic() - begin < 5
        assert state(name, "ExitCode") == "0"


def test_it_does_not_let_everybody_in_unless_told_so() -> None:
    done = engine.run(IMAGE, check=False)
    assert done.returncode == 2
    assert "--tokens-file" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_it_runs_as_a_numbered_user_and_explains_itself() -> None:
    assert engine.run(IMAGE, "sh", "-c", "id -u").stdout.strip() == "10001"
    assert engine.run(IMAGE, "--help").stdout.startswith("usage: flts-gateway")


def test_its_lowest_layers_are_those_of_the_stages() -> None:
    stage, own = engine.layers("flts-preprocess:kfp"), engine.layers(IMAGE)
    shared = [one for one, other in zip(stage, own, strict=False) if one == other]
    assert len(shared) == len(own) - 2, "all but its libraries and its code"
