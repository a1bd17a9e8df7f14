"""``make model`` adds a model that trains at once: by its command, in the pipeline and over Kafka."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import brokers, kafka
from tests.support.commands import BIN
from tests.support.pipelines import command

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("add_a_model")]
# What compares lists with the models, and what belongs to the new one.
QUICK_TESTS = (
    "tests/unit/models/test_nhits.py",
    "tests/unit/test_glossary.py",
    "tests/unit/workers/test_docs.py",
    "tests/unit/workers/test_settings.py",
    "tests/unit/deploy/test_compose_files.py",
    "tests/unit/deploy/test_kubernetes.py",
    "tests/unit/deploy/test_observability.py",
    "tests/unit/scripts/test_stage_docs.py",
    "tests/contract/test_pipeline.py",
    "tests/integration/test_standalone.py::test_a_command_writes_its_files_and_says_where",
)


@dataclass(frozen=True)
class Clone:
    """A copy of the repository with one more model, and where its command is."""

    folder: Path
    bin: Path
    told: str

    @property
    def environ(self) -> dict[str, str]:
        return os.environ | {
            "PYTHONPATH": str(self.folder),
            "PATH": f"{self.bin}{os.pathsep}{BIN}{os.pathsep}{os.environ['PATH']}",
        }

    def run(self, *words: str | Path) -> str:
        done = subprocess.run(words, cwd=self.folder, env=self.environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def clone(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A copy of the repository's tracked files, as a repository of its own, in which a model was made."""
    folder, bin_folder = tmp_path_factory.mktemp("clone"), tmp_path_factory.mktemp("bin")
    for name in _git(root, "ls-files").splitlines():
        if (root / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, folder / name)
    _git(folder, "init", "--quiet")
    _git(folder, "add", "--all")
    _git(folder, "-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "--quiet", "--message", "before")
    told = Clone(folder, bin_folder, "").run(sys.executable, "-m", "scripts.new_model", "nhits")
    # As an image does: the command is its main.py.
    shutil.copy(folder / "images" / "train-nhits" / "main.py", bin_folder / "flts-train-nhits")
    return Clone(folder, bin_folder, told)


def test_it_names_what_it_wrote_and_ends_with_what_remains(clone: Clone) -> None:
    wrote, _, remains = clone.told.partition("flts-train-nhits trains")
    changed = {line[3:] for line in _git(clone.folder, "status", "--porcelain", "-uall").splitlines()}
    assert all(name in wrote for name in changed), changed
    assert "flts/models/nhits.py: replace the bodies of fit_nhits" in remains


def test_code_and_documents_are_in_the_style_of_the_house(clone: Clone) -> None:
    clone.run(BIN / "ruff", "check", ".")
    clone.run(BIN / "ruff", "format", "--check", ".")
    clone.run(BIN / "mypy", "flts/models/nhits.py", "flts/models/registry.py")
    clone.run(BIN / "lint-imports", "--no-logo", "--no-cache")
    clone.run(BIN / "hadolint", "images/train-nhits/Dockerfile")
    for module in ("scripts.compile_specs", "scripts.stage_docs", "scripts.architecture"):
        clone.run(sys.executable, "-m", module, "--check")


def test_tests_that_list_the_models_are_green_and_its_command_runs_by_itself(clone: Clone) -> None:
    clone.run(sys.executable, "-m", "pytest", "--suite", "all", "-q", "-n", "0", "-p", "no:cacheprovider", *QUICK_TESTS)


def test_the_pipeline_trains_it_and_its_model_forecasts(clone: Clone, demo: Path, tmp_path: Path) -> None:
    clone.run(*command(tmp_path / "home", demo))

    latest = tmp_path / "home" / "latest"
    summary = json.loads((latest / "summary.json").read_text())
    assert set(summary["models"]) == {"GRU", "LSTM", "PROPHET", "NHITS"}
    assert summary["stages"]["train-nhits"]["status"] == "done"
    assert "NHITS" in (latest / "eval" / "report.html").read_text()
    assert "NHITS" in (latest / "index.html").read_text()
    processed = tmp_path / "home" / "store" / "processed-data" / summary["config_hash"]
    clone.run(
        *("flts-inference", "--inference-data", processed / "test_processed_data.parquet"),
        *("--selected-model", latest / "train-nhits" / "model"),
        *("--mlflow-tracking-uri", summary["parameters"]["mlflow_tracking_uri"]),
        *("--output-dir", tmp_path / "forecast"),
    )
    assert json.loads((tmp_path / "forecast" / "predictions.json").read_text())["model_type"] == "NHITS"


def test_its_worker_trains_over_kafka_and_its_model_is_promoted(clone: Clone, root: Path, tmp_path: Path) -> None:
    variables = {name: clone.environ[name] for name in ("PATH", "PYTHONPATH")} | {"EXPECTED_MODEL_TYPES": "NHITS"}
    with (
        brokers.shared(tmp_path / "broker") as broker,
        kafka.place(tmp_path / "place", broker.servers, **variables) as place,
    ):
        kafka.put_slices(place, root)
        for stage in ("train-nhits", "eval", "inference"):
            place.start(stage)
        place.preprocess("slice-0", "one")

        place.until(lambda: kafka.finished(place, "one"))

        (promotion,) = place.documents("model-selected")
        assert promotion["model_type"] == "NHITS"
        assert "eval waits for NHITS\n" in place.run("flts-status").stdout


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("N-HiTS", "NAME must be at most 32 lower-case letters and digits, the first one a letter, got 'N-HiTS'"),
        ("", "NAME must be at most 32 lower-case letters and digits, the first one a letter, got ''"),
        ("gru", "there is already a model type GRU"),
        ("registry", "flts/models/registry.py exists already: choose another name"),
        ("recurrent", "flts/models/recurrent exists already: choose another name"),
    ],
)
def test_a_name_that_cannot_be_taken_is_one_sentence_and_writes_nothing(
    root: Path, tmp_path: Path, name: str, sentence: str
) -> None:
    before = _git(root, "status", "--porcelain")
    done = subprocess.run(
        [sys.executable, "-m", "scripts.new_model", name], cwd=root, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (2, f"make model: {sentence}\n")
    assert _git(root, "status", "--porcelain") == before


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True).stdout
