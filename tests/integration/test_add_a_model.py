"""A model is added in the places that CONTRIBUTING.md names and in no other, and the whole pipeline knows it."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.pipelines import command

MODEL = '''"""Seasonal naive as a model: the value of ``input_seq_len`` rows before."""

from pathlib import Path
from typing import Any, Self

import numpy as np

from flts.contracts import ModelType, canonical_json
from flts.models.base import Fit
from flts.models.config import BundleConfig
from flts.params import TrainerParams
from flts.progress import Progress
from flts.timeseries.arrays import Floats, Indices
from flts.timeseries.frame import Frame
from flts.timeseries.processed import ProcessedData
from flts.timeseries.scaling import Scaler


class SeasonalForecaster:
    model_type: ModelType = "SEASONAL"

    def __init__(self, targets: tuple[str, ...], input_seq_len: int, output_seq_len: int) -> None:
        self.targets = self.features = targets
        self.input_seq_len = self.history_rows = input_seq_len
        self.output_seq_len = output_seq_len

    def forecast(self, frame: Frame, origins: Indices) -> Floats:
        steps = np.arange(self.output_seq_len) % self.input_seq_len
        return frame.matrix(self.targets)[origins[:, None] - self.input_seq_len + steps]

    def config(self) -> dict[str, Any]:
        return {}

    def save(self, directory: Path) -> None:
        (directory / "seasonal.json").write_text(canonical_json({"season": self.input_seq_len}))

    @classmethod
    def load(cls, directory: Path, config: BundleConfig, scaler: Scaler) -> Self:
        return cls(config.targets, config.input_seq_len, config.output_seq_len)


def fit_seasonal(data: ProcessedData, params: TrainerParams, progress: Progress) -> Fit:
    model = SeasonalForecaster(data.targets, params.input_seq_len, params.output_seq_len)
    return Fit(model, refit=lambda progress: model)
'''
ENTRY = """            ModelEntry(
                model_type="SEASONAL",
                title="Seasonal",
                summary="Forecast what was measured a season before.",
                params=TrainerParams,
                trainer="flts.models.seasonal:fit_seasonal",
                forecaster="flts.models.seasonal:SeasonalForecaster",
                weights_file="seasonal.json",
                extra="numeric",
            ),
"""
# Written by the commands that the page names, not by hand.
GENERATED = ("component_specs/", "docs/stages/", "pipeline/pipeline.yaml")


@pytest.fixture
def clone(root: Path, tmp_path: Path) -> Path:
    """A copy of the repository's tracked files, as a repository of its own."""
    folder = tmp_path / "clone"
    for name in _git(root, "ls-files").splitlines():
        if (root / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, folder / name)
    _git(folder, "init", "--quiet")
    _git(folder, "add", "--all")
    _git(folder, "-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "--quiet", "--message", "before")
    return folder


def add_seasonal(clone: Path) -> None:
    (clone / "flts/models/seasonal.py").write_text(MODEL)
    registry = clone / "flts/models/registry.py"
    before = "        )\n    }\n)\n"
    assert registry.read_text().count(before) == 1
    registry.write_text(registry.read_text().replace(before, ENTRY + before))
    shutil.copytree(clone / "images/train-gru", clone / "images/train-seasonal")
    for path in (clone / "images/train-seasonal").iterdir():
        path.write_text(path.read_text().replace("train-gru", "train-seasonal").replace("train_gru", "train_seasonal"))
    pyproject = clone / "pyproject.toml"
    line = 'flts-train-gru = "flts.commands:train_gru"\n'
    pyproject.write_text(pyproject.read_text().replace(line, line + line.replace("gru", "seasonal")))


def places(clone: Path) -> set[str]:
    """What CONTRIBUTING.md names under "Add a model", with the name filled in."""
    section = (clone / "CONTRIBUTING.md").read_text().split("## Add a model\n")[1].split("\n## ")[0]
    steps = [line for line in section.splitlines() if re.match(r"\d\. ", line)]
    named = {re.findall(r"`([^`]+)`", step)[0].replace("<name>", "seasonal") for step in steps}
    return {place for place in named if not place.startswith("make ")}


@pytest.mark.slow
def test_a_model_is_added_in_the_places_that_the_page_names(clone: Path, demo: Path, tmp_path: Path):
    add_seasonal(clone)
    environ = os.environ | {"PYTHONPATH": str(clone), "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    for module in ("scripts.compile_specs", "scripts.stage_docs"):
        subprocess.run([sys.executable, "-m", module], cwd=clone, env=environ, check=True)
    changed = _git(clone, "status", "--porcelain", "--untracked-files=all").splitlines()
    by_hand = {line[3:] for line in changed if not line[3:].startswith(GENERATED)}
    assert {next((place for place in places(clone) if name.startswith(place)), name) for name in by_hand} == places(
        clone
    )

    # As its image does: the command is its main.py.
    (tmp_path / "bin").mkdir()
    shutil.copy(clone / "images/train-seasonal/main.py", tmp_path / "bin" / "flts-train-seasonal")
    (tmp_path / "bin" / "flts-train-seasonal").chmod(0o755)
    done = subprocess.run(
        command(tmp_path / "home", demo), cwd=clone, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr

    latest = tmp_path / "home" / "latest"
    summary = json.loads((latest / "summary.json").read_text())
    assert list(summary["models"]) == ["GRU", "LSTM", "PROPHET", "SEASONAL"]
    assert summary["stages"]["train-seasonal"]["status"] == "done"
    assert "SEASONAL" in (latest / "eval" / "report.html").read_text()
    assert "Seasonal" in (latest / "index.html").read_text()
    forecast = subprocess.run(
        [
            *(shutil.which("flts-inference", path=f"{Path(sys.executable).parent}"),),
            *("--inference-data", _processed(tmp_path / "home", summary["config_hash"])),
            *("--selected-model", str(latest / "train-seasonal" / "model")),
            *("--mlflow-tracking-uri", summary["parameters"]["mlflow_tracking_uri"]),
            *("--output-dir", str(tmp_path / "forecast")),
        ],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert forecast.returncode == 0, forecast.stderr
    assert json.loads((tmp_path / "forecast" / "predictions.json").read_text())["model_type"] == "SEASONAL"


def _processed(home: Path, config_hash: str) -> str:
    return str(home / "store" / "processed-data" / config_hash / "test_processed_data.parquet")


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True).stdout
