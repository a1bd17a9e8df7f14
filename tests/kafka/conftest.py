"""A broker of each test process, and a crew: one worker of each stage, which the tests of several modules share."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import kafka


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker that keeps everything in memory, or the one that the environment names."""
    if found := os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        yield found
        return
    with kafka.broker(tmp_path_factory.mktemp("broker")) as broker:
        yield broker.servers


@pytest.fixture(scope="session")
def crew(servers: str, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[kafka.Place]:
    """A worker of each stage, and three short datasets."""
    with kafka.place(tmp_path_factory.mktemp("crew"), servers) as place:
        kafka.put_slices(place, root)
        for stage in kafka.STAGES:
            place.start(stage)
        place.start("preprocess", "--listen")
        yield place
        assert all(worker.process.poll() is None for worker in place.workers), place.logs()


@pytest.fixture
def place(servers: str, root: Path, tmp_path: Path) -> Iterator[kafka.Place]:
    """Topics and a store of the test's own, with three short datasets; no worker is started."""
    with kafka.place(tmp_path / "place", servers) as made:
        kafka.put_slices(made, root)
        yield made
