"""The fingerprint of a training covers the code that shapes its result, and no other."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from flts.models.registry import MODELS
from flts.stages.training.spec import PACKAGE, SOURCES, TrainingSpec, source_digest, source_files

# Loaded by every training and covered by nothing: the values of parameters are in the fingerprint themselves, and
# declarations shape no result.
DECLARATIONS = {
    *("__init__.py", "version.py", "params.py", "stage_interface.py", "stages/__init__.py"),
    "stages/training/__init__.py",
}

TRAIN = """
import json, sys
from pathlib import Path
from flts.models.registry import MODELS
from flts.progress import no_progress
from flts.stages.training.fitting import train
from flts.stages.training.scoring import scored_origins
from tests.support.series import make_data

model = MODELS[sys.argv[1]]
params = model.params(config_hash="", config_json="", identifier="", refit=True, **json.loads(sys.argv[3]))
data = make_data(150)
train(model.model_type, data, params, scored_origins(data, params), Path(sys.argv[2]), no_progress)
print(json.dumps([module.__file__ for name, module in sys.modules.items() if name.split(".")[0] == "flts"]))
"""
SMALL = {"GRU": {"hidden_size": 4, "epochs": 1}, "LSTM": {"hidden_size": 4, "epochs": 1}, "PROPHET": {"growth": "flat"}}


def covered() -> set[str]:
    return {path.relative_to(PACKAGE).as_posix() for path in source_files(PACKAGE)}


def copied(folder: Path) -> Path:
    for path in PACKAGE.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            target = folder / path.relative_to(PACKAGE)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    return folder


@pytest.mark.parametrize("model_type", MODELS)
def test_everything_that_a_training_loads_is_covered(model_type: str, root: Path, tmp_path: Path):
    command = [sys.executable, "-c", TRAIN, model_type, str(tmp_path / "bundle"), json.dumps(SMALL[model_type])]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    loaded = {Path(file).relative_to(PACKAGE).as_posix() for file in json.loads(done.stdout.splitlines()[-1])}
    assert loaded - DECLARATIONS <= covered()


def test_what_is_covered():
    assert {name.split("/")[0] for name in covered()} == {name.split("/")[0] for name in SOURCES}
    assert not [name for name in SOURCES if not (PACKAGE / name).exists()]


@pytest.mark.parametrize("name", ["models/bptt.py", "timeseries/scaling.py", "stages/training/fitting.py"])
def test_a_change_in_what_trains_is_another_fingerprint(name: str, tmp_path: Path):
    package = copied(tmp_path / "flts")
    before = source_digest(package)
    with (package / name).open("a") as file:
        file.write("# changed\n")
    assert source_digest(package) != before


@pytest.mark.parametrize("name", ["report/pages.py", "store/s3.py", "runtime/start.py", "serving/app.py", "params.py"])
def test_a_change_elsewhere_is_the_same_fingerprint(name: str, tmp_path: Path):
    package = copied(tmp_path / "flts")
    before = source_digest(package)
    (package / name).parent.mkdir(exist_ok=True)
    with (package / name).open("a") as file:
        file.write("# changed\n")
    assert source_digest(package) == before == source_digest(PACKAGE)


def test_another_parameter_is_another_fingerprint():
    first, second = (TrainingSpec("GRU", "", "c" * 64, "flts", {"seed": seed}).fingerprint() for seed in (1, 2))
    assert first != second
