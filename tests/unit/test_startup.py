"""Starting a command loads nothing heavy. What may import what is declared in pyproject.toml; `make lint` checks it."""

import subprocess
import sys

import pytest

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
