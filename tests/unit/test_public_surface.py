"""What others hold of FLTS: a name that goes, or a new one, is a change of the public API."""

import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import flts

NAMES = ["Model", "__version__", "load_model", "read_processed"]
COMMANDS = {
    "flts-acls",
    "flts-dlq",
    "flts-eval",
    "flts-gateway",
    "flts-inference",
    "flts-prepare-store",
    "flts-preprocess",
    "flts-promotions",
    "flts-status",
    "flts-topics",
    "flts-train-gru",
    "flts-train-lstm",
    "flts-train-prophet",
    "flts-train-lightgbm",
}
# Logged models import the first two, programs of others the next two, and probes on clusters run the last.
MODULES = {
    "flts.models.bundle": {"load"},
    "flts.models.pyfunc": {"forecast_table"},
    "flts.errors": {"FltsError", "BadInputError", "ServiceUnavailableError"},
    "flts.contracts": {"ClaimCheck", "TrainedModel", "Promotion", "ForecastBatch", "Performance"},
    "flts.workers.liveness": {"is_alive"},
}


def test_flts_exports_these_names_and_no_others() -> None:
    assert flts.__all__ == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_exported_name_is_there(name: str) -> None:
    assert getattr(flts, name)


def test_a_name_that_is_not_exported_is_not_there() -> None:
    with pytest.raises(AttributeError, match="module 'flts' has no attribute 'train'"):
        flts.train  # noqa: B018


def test_star_brings_the_exported_names_alone() -> None:
    listing = "before = set(dir()); from flts import *; print(*sorted(set(dir()) - before - {'before'}))"
    done = subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True)

    assert done.stdout.split() == NAMES


def test_the_commands_are_these_and_each_starts_a_function(root: Path) -> None:
    scripts = tomllib.loads((root / "pyproject.toml").read_text())["project"]["scripts"]

    assert set(scripts) == COMMANDS
    for entry in scripts.values():
        module, function = entry.split(":")
        assert callable(getattr(importlib.import_module(module), function)), entry


@pytest.mark.parametrize("module", MODULES)
def test_modules_that_others_import_keep_their_paths_and_names(module: str) -> None:
    assert MODULES[module] <= set(dir(importlib.import_module(module)))
