"""Brokers of the kind that the environment chooses, and a crew: a worker of each stage, which several modules share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import brokers, kafka, suites
from tests.support.acls import Users, users_of
from tests.support.services import S3


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests that need brokers of another kind than the environment names; each says why it does."""
    unfit = {
        "own_broker": bool(brokers.GIVEN) and not brokers.COMMAND,
        "apache_kafka": not brokers.COMMAND,
    }

    def other(item: pytest.Item) -> str | None:
        if any(unfit.get(marker.name) for marker in item.iter_markers()):
            return "that need another broker (make test-kafka KAFKA_START=command)"
        return None

    suites.leave_out(config, items, other)


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[brokers.Given | brokers.Started | brokers.Tansu]:
    """The broker that the tests of this process share."""
    with brokers.shared(tmp_path_factory.mktemp("broker")) as broker:
        yield broker


@pytest.fixture(scope="session")
def servers(broker: brokers.Given | brokers.Started | brokers.Tansu) -> str:
    """The address at which it lets everybody in."""
    return broker.servers


@pytest.fixture(scope="session")
def users(broker: brokers.Given | brokers.Started | brokers.Tansu) -> Users | None:
    """A user for each worker and command, where the shared broker looks at ACLs."""
    return users_of(broker) if isinstance(broker, brokers.Started) else None


@pytest.fixture
def own_broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[brokers.Brokers]:
    """A broker that the test may kill, and which then still has what it had; ``parametrize`` it for another number."""
    s3: S3 | None = None if brokers.COMMAND else request.getfixturevalue("s3")
    with brokers.lasting(tmp_path / "broker", s3, getattr(request, "param", 1)) as started:
        yield started


@pytest.fixture(scope="session")
def crew(
    servers: str, users: Users | None, root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[kafka.Place]:
    """A worker of each stage, and three short datasets."""
    with kafka.place(tmp_path_factory.mktemp("crew"), servers, users) as place:
        kafka.put_slices(place, root)
        for stage in kafka.STAGES:
            place.start(stage)
        place.start("preprocess", "--listen")
        yield place
        assert all(worker.process.poll() is None for worker in place.workers), place.logs()


@pytest.fixture
def place(servers: str, users: Users | None, root: Path, tmp_path: Path) -> Iterator[kafka.Place]:
    """Topics and a store of the test's own, with three short datasets; no worker is started."""
    with kafka.place(tmp_path / "place", servers, users) as made:
        kafka.put_slices(made, root)
        yield made


@pytest.fixture
def own_place(own_broker: brokers.Brokers, root: Path, tmp_path: Path) -> Iterator[kafka.Place]:
    """As ``place``, on the brokers that the test may kill."""
    with kafka.place(tmp_path / "place", own_broker.servers) as made:
        kafka.put_slices(made, root)
        yield made
