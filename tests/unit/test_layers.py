"""Arrows point down only, and starting a command loads nothing heavy."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

# What everything may use; these know each other at most.
GROUND = {
    *("boundary", "contracts", "diagnostics", "errors", "lazy", "observability", "params", "progress", "version"),
}
ALLOWED = dict.fromkeys(GROUND, GROUND) | {
    "stage_interface": GROUND | {"store"},
    "store": GROUND,
    "timeseries": GROUND,
    "datafiles": GROUND | {"timeseries"},
    "models": GROUND | {"timeseries"},
    "tracking": GROUND | {"store", "models"},
    "promotion": GROUND | {"store"},
    "report": GROUND | {"timeseries", "datafiles"},
    "stages": GROUND
    | {"stage_interface", "store", "timeseries", "datafiles", "models", "tracking", "promotion", "report"},
    "runtime": GROUND | {"stage_interface", "store"},
    "web": GROUND | {"runtime"},
    "gateway": GROUND | {"store", "web"},
    "serving": GROUND
    | {"report", "store", "timeseries", "datafiles", "models", "tracking", "promotion", "stages", "runtime", "web"},
    "workers": GROUND
    | {"store", "models", "datafiles", "tracking", "promotion", "stage_interface", "stages", "runtime", "web"},
    "commands": {"runtime", "stage_interface", "stages", "serving", "workers"},
    "administration": GROUND | {"store", "tracking", "models", "promotion", "stages"},
    "api": GROUND | {"stage_interface", "stages", "models", "timeseries", "datafiles", "tracking"},
}
HEAVY = (
    "numpy",
    "pandas",
    "pyarrow",
    "torch",
    "prophet",
    "mlflow",
    "matplotlib",
    "jinja2",
    "kfp",
    "rich",
    "boto3",
    "stamina",
    "confluent_kafka",
)
ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "flts").rglob("*.py"))


def _layer_path(path: Path) -> str:
    return path.relative_to(ROOT / "flts").with_suffix("").as_posix()


def _layer(path: Path) -> str:
    return _layer_path(path).split("/")[0]


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize(
    "path", [path for path in MODULES if path.stem != "__init__" or path.parent.name != "flts"], ids=str
)
def test_a_module_imports_only_layers_below_it(path: Path):
    layer = _layer(path)
    inner = {name.split(".")[1] for name in _imports(path) if name.startswith("flts.")}
    assert inner - {layer} <= ALLOWED[layer]


def _imported_modules(path: Path) -> set[str]:
    """Return the modules of flts whose files a file imports, also late or for its types alone."""
    known = {_module(other) for other in MODULES}
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (names & known) or {node.module}
    return found & known


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_no_files_import_each_other_in_a_circle():
    imported = {_module(path): _imported_modules(path) for path in MODULES}
    TopologicalSorter(imported).prepare()  # raises CycleError with the files of the circle


@pytest.mark.parametrize("path", MODULES, ids=_layer_path)
def test_nothing_in_flts_imports_kfp_or_the_pipeline(path: Path):
    assert not {name.split(".")[0] for name in _imports(path)} & {"kfp", "pipeline", "images", "kafka"}


@pytest.mark.parametrize("path", MODULES, ids=_layer_path)
def test_only_workers_import_kafka(path: Path):
    assert _layer(path) == "workers" or not {name.split(".")[0] for name in _imports(path)} & {"confluent_kafka"}


@pytest.mark.parametrize(
    "module",
    [
        "flts.stages",
        "flts.runtime",
        "flts.administration.promotions",
        "flts.serving.command",
        "flts.commands",
        "flts.workers.command",
    ],
)
def test_starting_a_command_loads_nothing_heavy(module: str):
    code = f"import sys, {module}; print(*(name for name in {HEAVY!r} if name in sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []
