"""The same inputs, seed and thread count give the same results, byte for byte, whatever the machine."""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import listing, run
from tests.support.results import undated

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("standalone")]

ELSEWHERE = {
    "OMP_NUM_THREADS": "4",
    "OPENBLAS_NUM_THREADS": "4",
    "MKL_NUM_THREADS": "4",
    "PYTHONHASHSEED": "7",
    "TZ": "Asia/Kathmandu",
    "LC_ALL": "C",
}
# Does what a command does, and tells at its end how many threads the numeric libraries were to use.
COMMAND = """
import json, os, sys
from flts.runtime.start import run
from flts.stages import STAGES
code = run(STAGES[sys.argv[1]], sys.argv[2:])
threads = {name: value for name, value in os.environ.items() if name.endswith("_NUM_THREADS")}
if "torch" in sys.modules:
    threads["torch"] = str(sys.modules["torch"].get_num_threads())
print(json.dumps(threads))
sys.exit(code)
"""
TRAINED = ("metrics.json", "bundle/checksums.json", "bundle/config.json", "bundle/scaler.json")
RESULTS = [
    "preprocess/processed_data.parquet",
    "preprocess/test_processed_data.parquet",
    "preprocess/training_data.json",
    *(f"{model}/{name}" for model in ("gru", "lstm", "prophet") for name in TRAINED),
    "gru/bundle/model.safetensors",
    "lstm/bundle/model.safetensors",
    "prophet/bundle/prophet.json",
    "inference/predictions.parquet",
]


@dataclass(frozen=True)
class Repeated:
    """The six commands once more: where, and what threads each said it had."""

    folder: Path
    threads: dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def repeated(standalone, tmp_path_factory) -> Repeated:
    """What the other tests ran, on one core, in another environment."""
    folder = tmp_path_factory.mktemp("repeated")
    for path in standalone.folder.glob("*.csv"):
        (folder / path.name).write_bytes(path.read_bytes())
    threads, cores = {}, os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        for stage, command in standalone.commands.items():
            ended = run(folder, sys.executable, "-c", COMMAND, stage, *command.split()[1:], **ELSEWHERE)
            assert ended.code == 0, ended.stderr
            threads[stage] = json.loads(ended.stdout.splitlines()[-1])
    finally:
        os.sched_setaffinity(0, cores)
    return Repeated(folder, threads)


@pytest.mark.parametrize("name", RESULTS)
def test_results_are_the_same_byte_for_byte(standalone, repeated, name):
    assert (repeated.folder / name).read_bytes() == (standalone.folder / name).read_bytes()


def test_everything_else_differs_by_the_moment_it_was_made_alone(standalone, repeated):
    assert listing(repeated.folder) == listing(standalone.folder)
    files = [name for name in listing(repeated.folder) if (repeated.folder / name).is_file()]
    differing = [
        name
        for name in files
        if undated((repeated.folder / name).read_bytes()) != undated((standalone.folder / name).read_bytes())
    ]
    assert not differing


def test_the_same_model_is_promoted_with_the_same_score(standalone, repeated):
    first, second = (promotion(folder) for folder in (standalone.folder, repeated.folder))
    for field in ("config_hash", "model_type", "run_id", "model_uri", "composite_score", "rmse", "mae", "mse"):
        assert second[field] == first[field]


def promotion(folder: Path) -> Any:
    return json.loads((folder / "eval" / "selected_model.json").read_text())


def test_every_stage_computes_with_one_thread_where_nobody_asks_for_more(repeated):
    for stage, threads in repeated.threads.items():
        assert set(threads.values()) == {"1"}, stage
    for stage in ("train-gru", "train-lstm"):
        assert "torch" in repeated.threads[stage]
