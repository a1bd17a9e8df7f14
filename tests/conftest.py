"""Fixtures that all tests share."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import s3_servers
from tests.support import services as servers
from tests.support.pipelines import demo_slice

ROOT = Path(__file__).parents[1]
pytest_plugins = ["tests.support.suites", "pytester"]


@pytest.fixture(autouse=True)
def _root_logger() -> Iterator[None]:
    """Give the root logger back as it was: a stage that a test runs in this process takes it over."""
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    yield
    logger.handlers = handlers
    logger.setLevel(level)


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def whole_dataset() -> Path:
    """The training file of a dataset of thousands of rows: PobleSec of the folder FLTS_TEST_DATA, else the demo's."""
    if folder := os.environ.get("FLTS_TEST_DATA"):
        path = Path(folder) / "PobleSec.csv"
        assert path.is_file(), f"FLTS_TEST_DATA: {folder} has no PobleSec.csv"
        return path
    return ROOT / "examples" / "data" / "jfk_weather.csv"


@pytest.fixture(scope="session")
def s3(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.S3]:
    """An S3 server for the tests of this process."""
    start = s3_servers.SERVERS[getattr(request, "param", s3_servers.FIRST)]
    with start(tmp_path_factory.mktemp("s3")) as s3:
        yield s3


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests that are marked so on each S3 server; those on a second one are slow."""
    if "s3" in metafunc.fixturenames and metafunc.definition.get_closest_marker("every_s3_server"):
        first, *others = s3_servers.EVERY
        slow = [pytest.param(name, marks=pytest.mark.slow) for name in others]
        metafunc.parametrize("s3", [first, *slow], indirect=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Expect of each S3 server what is known to fail on it."""
    for item in items:
        s3_servers.mark_known_limits(item)


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[servers.Services]:
    """S3 and MLflow, started once for all processes of the test run."""
    folder = tmp_path_factory.getbasetemp()
    if worker_id != "master":
        folder = folder.parent  # of all workers
    with servers.shared(folder) as services:
        yield services


@pytest.fixture(scope="module")
def s3_environ(s3: servers.S3) -> Iterator[servers.S3]:
    """The S3 server, which ``s3://`` names in tests of the module and what they start."""
    with _environ(s3.environ):
        yield s3


@pytest.fixture(scope="module")
def services_environ(services: servers.Services) -> Iterator[servers.Services]:
    """S3 and MLflow, which the environment names in tests of the module and what they start."""
    with _environ(services.environ):
        yield services


@contextmanager
def _environ(variables: dict[str, str]) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("AWS_", "FLTS_S3_"))]:
            patch.delenv(name)
        for name, value in variables.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def demo(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A part of the demo dataset, with parameters that train in a second."""
    return demo_slice(root, tmp_path_factory.mktemp("demo"))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run in which a test was skipped, where CI says that all must run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("FLTS_ALLOW_SKIPS") == "0" and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
