"""Fixtures that all tests share."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def poblesec() -> Path:
    """The folder of PobleSec.csv and PobleSec_test.csv, which lie beside the repository."""
    folder = ROOT.parent / "shared" / "data"
    if not (folder / "PobleSec.csv").is_file():
        pytest.skip(f"PobleSec.csv is not in {folder}")
    return folder


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run in which a test was skipped, where CI says that all must run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("FLTS_ALLOW_SKIPS") == "0" and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
