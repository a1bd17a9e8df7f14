"""Fixtures that all tests share."""

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
