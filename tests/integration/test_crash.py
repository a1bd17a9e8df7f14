"""A stage that is killed, at whatever moment, and started again ends as if nothing had happened.

Each trial has a home of its own: the store, MLflow and the folder of the task as the stages before left them.
"""

import shutil
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flts.contracts import TrainedModel
from flts.models.registry import REQUIRED_MODELS
from flts.store import open_store
from flts.tracking import Tracking, prepare
from tests.support.launcher import Launched, Launcher, Task
from tests.support.results import plain, tree

pytestmark = pytest.mark.slow

TRAINERS = {f"train-{model.slot}": model.model_type for model in REQUIRED_MODELS.values()}
BEFORE = {
    "preprocess": (),
    **dict.fromkeys(TRAINERS, ("preprocess",)),
    "eval": ("preprocess", *TRAINERS),
    "inference": ("preprocess", "eval"),
}
# Two groups of about the same length, for two workers; only the second one trains all models.
TRIALS = {"preprocess": 7, "train-gru": 3, "train-prophet": 2, "eval": 9, "inference": 9}
GROUPS = {stage: "crash-first" if stage in ("preprocess", "train-gru") else "crash-second" for stage in TRIALS}
SMALL = {
    "dataset_name": "slice",
    "identifier": "crash",
    "sample_train_rows": 0,
    "sample_test_rows": 0,
    "hidden_size": 8,
    "num_layers": 1,
    "epochs": 1,
    "n_changepoints": 5,
    "yearly_seasonality": "false",
}
ROWS, TEST_ROWS = 300, 60


@dataclass(frozen=True)
class Home:
    """A folder with everything that a run of one stage reads and writes."""

    path: Path

    @property
    def store(self) -> str:
        return f"file://{self.path / 'store'}"

    @property
    def tracking(self) -> str:
        return f"sqlite:///{self.path / 'mlflow.db'}"

    def copy(self, path: Path) -> "Home":
        shutil.copytree(self.path / "store", path / "store", ignore=shutil.ignore_patterns(".*"))
        shutil.copy(self.path / "mlflow.db", path)
        # MLflow keeps the absolute path of its artifacts.
        with closing(sqlite3.connect(path / "mlflow.db")) as database, database:
            database.execute(
                "UPDATE experiments SET artifact_location = replace(artifact_location, ?, ?)",
                (self.path.as_uri(), path.as_uri()),
            )
        return Home(path)

    def left(self) -> list[str]:
        """Every file in buckets, in the task's folder and among MLflow's artifacts; none may lie beside them.

        A kill in the middle of a transaction leaves SQLite's journal, which whoever opens the database next rolls back.
        """
        journal = "mlflow.db-journal"
        known = {"store", "run", "mlartifacts", "mlflow.db", "mlflow.db.lock", journal}
        strangers = {path.name for path in self.path.iterdir()} - known
        strangers |= {path.name for path in (self.path / "store").iterdir() if path.name.startswith(".")}
        assert strangers <= {".locks", ".tmp"}  # no bucket has such a name
        buckets = [f"store/{path.name}" for path in (self.path / "store").iterdir() if path.name not in strangers]
        return tree(self.path, *buckets, "run", "mlartifacts") + [journal] * (self.path / journal).exists()

    def visible(self) -> set[str]:
        """What a reader finds of it who looks at objects and outputs."""
        return {file for file in self.left() if file.startswith(("store/", "run/")) and "/." not in file}

    def tracked(self) -> list[dict[str, Any]]:
        """Every run of MLflow, deleted ones too, with its models."""
        from mlflow.entities import ViewType

        client = Tracking(self.tracking)._client
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        return [
            {
                "status": run.info.status,
                "stage": run.info.lifecycle_stage,
                "params": run.data.params,
                "metrics": {
                    name: [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, name)]
                    for name in run.data.metrics
                },
                "tags": {name: plain(value.encode(), self.path) for name, value in run.data.tags.items()},
                "datasets": [entry.dataset.digest for entry in run.inputs.dataset_inputs],
                "outputs": len(run.outputs.model_outputs),
                "models": [
                    model.status
                    for model in client.search_logged_models(experiments, f"source_run_id = '{run.info.run_id}'")
                ],
            }
            for run in client.search_runs(experiments, run_view_type=ViewType.ALL)
        ]


@dataclass(frozen=True)
class Undisturbed:
    """A stage that ran in peace."""

    home: Home
    launched: Launched
    left: list[str]
    tracked: list[dict[str, Any]]


class Runs:
    """Undisturbed runs, each made when it is first asked for, and homes to try the same in."""

    def __init__(self, root: Path, folder: Path) -> None:
        self._pipeline = root / "pipeline" / "pipeline.yaml"
        self._folder = folder
        self._undisturbed: dict[str, Undisturbed] = {}
        self.seconds: dict[str, float] = {}
        self._seed = Home(folder / "seed")
        dataset = folder / "seed" / "store" / "dataset"
        dataset.mkdir(parents=True)
        for name, part, rows in (("jfk_weather", "slice", ROWS), ("jfk_weather_test", "slice_test", TEST_ROWS)):
            lines = (root / "examples" / "data" / f"{name}.csv").read_text().splitlines(keepends=True)
            (dataset / f"{part}.csv").write_text("".join(lines[: rows + 1]))
        prepare(self._seed.tracking, "flts")

    def undisturbed(self, stage: str) -> Undisturbed:
        if stage not in self._undisturbed:
            home, task = self.prepared(stage, self._folder / stage)
            started = time.monotonic()
            launched = task.run()
            self.seconds[stage] = time.monotonic() - started
            assert launched.code == 0, launched.stderr
            self._undisturbed[stage] = Undisturbed(home, launched, home.left(), home.tracked())
        return self._undisturbed[stage]

    def prepared(self, stage: str, folder: Path) -> tuple[Home, Task]:
        """Make a home in a new folder, and the task that runs a stage there."""
        before = {name: self.undisturbed(name) for name in BEFORE[stage]}
        (folder / "run").mkdir(parents=True)
        home = (before["preprocess"].home if before else self._seed).copy(folder)
        services = {"gateway_url": home.store, "mlflow_tracking_uri": home.tracking}
        launcher = Launcher(self._pipeline, folder / "run", self._folder / "user", SMALL | services)
        launcher.launched |= {name: run.launched for name, run in before.items()}
        return home, launcher.task(stage)

    def killed(self, stage: str, share: float, folder: Path) -> tuple[Home, Task]:
        """Start a stage in a new home and kill it after a share of its time."""
        self.undisturbed(stage)
        for attempt in range(10):
            home, task = self.prepared(stage, folder / str(attempt))
            started = time.monotonic()
            with task.start() as process:
                try:
                    process.wait(timeout=share * self.seconds[stage])
                except subprocess.TimeoutExpired:
                    process.kill()
            if process.returncode == -signal.SIGKILL:
                return home, task
            # It was faster this time.
            assert process.returncode == 0
            self.seconds[stage] = time.monotonic() - started
        raise AssertionError(f"{stage} always ends before {share:.0%} of the time that it took last")


@pytest.fixture(scope="module")
def runs(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(root, tmp_path_factory.mktemp("crash"))


def trials() -> list[Any]:
    """Random moments over the whole of every stage, denser towards its end, where it publishes."""
    chance = np.random.default_rng(3)
    return [
        pytest.param(stage, share, marks=pytest.mark.xdist_group(GROUPS[stage]), id=f"{stage}-{share:.3f}")
        for stage, number in TRIALS.items()
        for share in np.sqrt((np.arange(number) + chance.random(number)) / number)
    ]


@pytest.mark.parametrize(("stage", "share"), trials())
def test_a_killed_stage_that_is_started_again_ends_as_if_nothing_had_happened(runs, stage, share, tmp_path):
    undisturbed = runs.undisturbed(stage)
    home, task = runs.killed(stage, share, tmp_path)
    # Until it is started again, a reader finds whole results or none; a claim says itself that it is not finished.
    assert {file for file in home.visible() if "/trainings/" not in file} <= set(undisturbed.left)
    again = task.run()
    assert again.code == 0, again.stderr
    assert home.left() == undisturbed.left
    assert home.tracked() == undisturbed.tracked


@pytest.mark.xdist_group("crash-second")
@pytest.mark.parametrize("stage", TRAINERS)
def test_an_undisturbed_training_leaves_one_run_with_one_model(runs, stage):
    undisturbed = runs.undisturbed(stage)
    (run,) = undisturbed.tracked
    assert (run["status"], run["stage"], run["outputs"]) == ("FINISHED", "active", 1)
    assert [str(status) for status in run["models"]] == ["READY"]
    store = open_store(undisturbed.home.store)
    (claim,) = store.list("model-promotion")
    message = TrainedModel.parse(store.get("model-promotion", claim.key)[0], source=claim.key)
    assert (message.status, message.model_type) == ("SUCCESS", TRAINERS[stage])
    assert claim.key == f"crash/trainings/{run['tags']['flts.fingerprint'].decode()}.json"


@pytest.mark.xdist_group("crash-second")
def test_an_undisturbed_evaluation_leaves_one_promotion_and_pointers_to_it(runs):
    store = open_store(runs.undisturbed("eval").home.store)
    objects = {found.key: store.get("model-promotion", found.key)[0] for found in store.list("model-promotion")}
    (config_hash,) = {key.split("/")[1] for key in objects if key.count("/") == 2}
    (history,) = [key for key in objects if "/promotion-" in key]
    assert set(objects) == {history, "current.json", "crash/current.json", f"crash/{config_hash}/current.json"}
    assert len(set(objects.values())) == 1


@pytest.mark.xdist_group("crash-second")
def test_an_undisturbed_inference_leaves_one_folder_and_its_index(runs):
    store = open_store(runs.undisturbed("inference").home.store)
    index, *files = sorted((found.key for found in store.list("inference-logs")), key=lambda key: "/index/" not in key)
    assert index.startswith("crash/index/")
    assert {Path(key).name for key in files} == {"results.jsonl", "predictions.parquet", "leaderboard.parquet"}
    assert len({Path(key).parent for key in files}) == 1
