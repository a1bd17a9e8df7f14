"""The engine, the images and a registry for the tests marked ``images``; ``make test-images`` builds what they test."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from flts.stages import STAGES
from tests.support import engine


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder, and keep all on one worker: they share an engine, and some move tags."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.images)
            item.add_marker(pytest.mark.xdist_group("images"))


@pytest.fixture(scope="session", autouse=True)
def built() -> None:
    """All seven images; that they are there and of this commit is what `make test-images` sees to."""
    for stage in STAGES:
        found = engine.docker("image", "inspect", f"flts-{stage}:kfp", check=False)
        assert found.returncode == 0, f"flts-{stage}:kfp: {found.stderr} (scripts/build_push.sh builds the images)"


@pytest.fixture(scope="session", autouse=True)
def no_container_left_behind() -> Iterator[None]:
    """What the tests started is gone when they end."""
    yield
    assert not engine.docker("ps", "--all", "--quiet", "--filter", f"label={engine.LABEL}").stdout


@pytest.fixture
def data(root: Path, tmp_path: Path) -> Path:
    """A folder with the demo dataset, for containers of any user."""
    folder = tmp_path / "data"
    shutil.copytree(root / "examples" / "data", folder)
    folder.chmod(0o777)
    return folder


@pytest.fixture(scope="session")
def registry() -> Iterator[str]:
    """The address of a registry on this machine."""
    with engine.registry() as host:
        yield host
