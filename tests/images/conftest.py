"""The engine, the images and a registry for the tests marked ``images``; ``make test-images`` builds what they test."""

import os
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from socket import socket
from time import sleep

import pytest

from flts.stages import STAGES
from tests.images import engine


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder, and keep all on one worker: they share an engine, and some move tags."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.images)
            item.add_marker(pytest.mark.xdist_group("images"))


@pytest.fixture(scope="session", autouse=True)
def built() -> None:
    """All six images; that they are there and of this commit is what `make test-images` sees to."""
    for stage in STAGES:
        found = engine.docker("image", "inspect", f"flts-{stage}:kfp", check=False)
        assert found.returncode == 0, f"flts-{stage}:kfp: {found.stderr} (scripts/build_push.sh builds the images)"


@pytest.fixture(scope="session", autouse=True)
def no_container_left_behind() -> Iterator[None]:
    """What the tests started is gone when they end."""
    before = set(engine.docker("ps", "--all", "--quiet").stdout.split())
    yield
    assert set(engine.docker("ps", "--all", "--quiet").stdout.split()) <= before


@pytest.fixture
def data(root: Path, tmp_path: Path) -> Path:
    """A folder with the demo dataset, for containers of any user."""
    folder = tmp_path / "data"
    shutil.copytree(root / "examples" / "data", folder)
    folder.chmod(0o777)
    return folder


@dataclass(frozen=True)
class Registry:
    """A registry on this machine: where it listens, and what its folder is."""

    host: str
    url: str


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry (Debian's ``docker-registry``) on a free port of 127.0.0.1."""
    program = shutil.which("docker-registry")
    assert program, "docker-registry is not installed: on Debian, apt-get install docker-registry"
    with closing(socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("registry")
    config = folder / "config.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {folder}}}}}\n"
        f"http: {{addr: '127.0.0.1:{port}'}}\n"
    )
    with subprocess.Popen(
        [program, "serve", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=dict(os.environ)
    ) as process:
        try:
            url = f"http://127.0.0.1:{port}/v2/"
            for _ in range(100):
                with suppress(OSError):
                    urllib.request.urlopen(url).close()
                    break
                sleep(0.1)
            yield Registry(f"127.0.0.1:{port}", url)
        finally:
            process.terminate()
    shutil.rmtree(folder)
