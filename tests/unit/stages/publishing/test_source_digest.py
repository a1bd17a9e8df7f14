"""The source digest of a training covers the code that shapes its result, and nothing else about that code."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flts.models.registry import TRAINED_MODELS
from flts.stages.publishing.source_digest import PACKAGE, SOURCES, source_digest, source_files

# Loaded by every training and covered by nothing: the values of parameters are in the fingerprint themselves, and
# declarations shape no result.
DECLARATIONS = {
    *("__init__.py", "version.py", "params.py", "stage_interface.py", "stages/__init__.py"),
    "stages/topics.py",
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
SMALL = {
    "GRU": {"hidden_size": 4, "epochs": 1},
    "LSTM": {"hidden_size": 4, "epochs": 1},
    "PROPHET": {"growth": "flat"},
    "LIGHTGBM": {"num_boost_round": 5},
}

MODULE = '''"""Seasons."""

import math

from flts.timeseries.more import level

PERIODS = 7


def value(row: int, *, phase: float = 0.5) -> float:
    """Evaluate."""
    return level * math.sin(row / PERIODS + phase)  # of a row
'''
LEVEL = "level = 1.0\n"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package with three modules, one of which imports from another."""
    folder = tmp_path / "flts"
    for name, text in {
        "models/season.py": MODULE,
        "timeseries/more.py": LEVEL,
        "timeseries/other.py": "k = 2\n",
    }.items():
        write(folder / name, text)
    return folder


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def covered() -> set[str]:
    return {path.relative_to(PACKAGE).as_posix() for path in source_files(PACKAGE)}


def digest(package: Path) -> str:
    source_digest.cache_clear()
    return source_digest(package)


@pytest.mark.parametrize("model_type", TRAINED_MODELS)
def test_everything_that_a_training_loads_is_covered(model_type: str, root: Path, tmp_path: Path):
    command = [sys.executable, "-c", TRAIN, model_type, str(tmp_path / "bundle"), json.dumps(SMALL.get(model_type, {}))]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    loaded = {Path(file).relative_to(PACKAGE).as_posix() for file in json.loads(done.stdout.splitlines()[-1])}
    assert loaded - DECLARATIONS <= covered()


def test_what_is_covered():
    assert {name.split("/")[0] for name in covered()} == {name.split("/")[0] for name in SOURCES}
    assert not [name for name in SOURCES if not (PACKAGE / name).exists()]


def test_a_copy_of_the_package_elsewhere_has_the_same_digest(tmp_path: Path):
    for path in source_files(PACKAGE):
        write(tmp_path / "flts" / path.relative_to(PACKAGE), path.read_text())
    assert digest(tmp_path / "flts") == digest(PACKAGE)


REWRITTEN = {
    "a docstring": lambda text: text.replace("Evaluate.", "Return the value of a row."),
    "no docstring": lambda text: text.replace('    """Evaluate."""\n', ""),
    "a comment": lambda text: text.replace("# of a row", "# in radians"),
    "the order of imports": lambda text: text.replace("import math\n", "").replace(
        "level\n", "level\nimport math\n", 1
    ),
    "formatting": lambda text: text.replace("row: int, *, phase", "\n    row: int,\n    *,\n    phase").replace(
        "'", '"'
    ),
}


@pytest.mark.parametrize("rewrite", REWRITTEN.values(), ids=REWRITTEN)
def test_what_changes_no_result_leaves_the_digest(rewrite: Callable[[str], str], package: Path):
    before, text = digest(package), rewrite(MODULE)
    assert text != MODULE
    write(package / "models/season.py", text)
    assert digest(package) == before


@pytest.mark.parametrize("place", ["timeseries/level.py", "models/deeper/more.py", "contracts.py"])
def test_a_module_that_is_moved_or_renamed_leaves_the_digest(place: str, package: Path):
    before = digest(package)
    (package / "timeseries/more.py").unlink()
    write(package / place, LEVEL)
    name = place.removesuffix(".py").replace("/", ".")
    write(package / "models/season.py", MODULE.replace("flts.timeseries.more", f"flts.{name}"))
    write(package / "models/deeper/__init__.py", '"""A package."""\n')
    assert digest(package) == before


def test_a_trainer_that_a_text_names_may_move_and_must_not_change(package: Path):
    write(package / "models/registry.py", 'trainer = "flts.timeseries.more:level"\n')
    before = digest(package)
    (package / "timeseries/more.py").rename(package / "timeseries/level.py")
    write(package / "models/season.py", MODULE.replace("timeseries.more", "timeseries.level"))
    write(package / "models/registry.py", 'trainer = "flts.timeseries.level:level"\n')
    assert digest(package) == before
    write(package / "models/registry.py", 'trainer = "flts.timeseries.other:level"\n')
    assert digest(package) != before


CHANGED = {
    "a constant": ("PERIODS = 7", "PERIODS = 8"),
    "a formula": ("math.sin", "math.cos"),
    "a default": ("phase: float = 0.5", "phase: float = 0.25"),
    "the module that a name is imported from": ("flts.timeseries.more", "flts.timeseries.other"),
    "the name that is imported": ("import level", "import k as level"),
    "another library's function": ("import math", "import cmath as math"),
}


@pytest.mark.parametrize("change", CHANGED.values(), ids=CHANGED)
def test_code_that_changed_is_another_digest(change: tuple[str, str], package: Path):
    before = digest(package)
    write(package / "models/season.py", MODULE.replace(*change))
    assert digest(package) != before


def test_a_file_more_is_another_digest(package: Path):
    before = digest(package)
    write(package / "models/nhits.py", LEVEL)
    assert digest(package) != before


def test_a_change_in_what_trains_no_model_leaves_the_digest(package: Path):
    before = digest(package)
    for name in ("report/pages.py", "store/s3.py", "serving/app.py", "params.py"):
        write(package / name, "changed = True\n")
    assert digest(package) == before
