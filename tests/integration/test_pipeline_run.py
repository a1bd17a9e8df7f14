"""The whole pipeline on one machine: stopped by Ctrl-C, run, and run again, on a slice of the demo data."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest

from flts.models.registry import REQUIRED_MODELS, TRAINED_MODELS
from pipeline.runner.summary import Summary
from tests.support.pipelines import PARAMETERS, Ended, command, run
from tests.support.stages import OPTIONAL_TRAINERS, STAGES_OF

TITLES = [f"Train {model.title}" for model in REQUIRED_MODELS.values()]
TRAINERS = [f"train-{model.slot}" for model in REQUIRED_MODELS.values()]
AT_ONCE = min(len(TRAINERS), len(os.sched_getaffinity(0)))

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Place:
    """Where the runs of this module happen."""

    root: Path
    home: Path
    dataset: Path

    def run(self) -> Ended:
        return run(self.root, self.home, self.dataset)


@pytest.fixture(scope="module")
def place(root: Path, demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(root, tmp_path_factory.mktemp("pipeline") / "home", demo)


@pytest.fixture(scope="module")
def interrupted(place: Place) -> Ended:
    """A run that got Ctrl-C while it trained."""
    with subprocess.Popen(
        command(place.home, place.dataset),
        cwd=place.root,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line == f"{TRAINERS[AT_ONCE - 1]}: started\n":
                break
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    assert len(children) >= AT_ONCE
    assert not [child for child in children if child.is_running()]
    return Ended("".join(lines) + stdout, stderr, process.returncode, (place.home / "latest").resolve())


@pytest.fixture(scope="module")
def first(place: Place, interrupted: Ended) -> Ended:
    return place.run()


@pytest.fixture(scope="module")
def second(place: Place, first: Ended) -> Ended:
    return place.run()


def test_ctrl_c_ends_the_run_and_says_what_did_not_run(interrupted: Ended) -> None:
    assert interrupted.code == 130
    titles = [*TITLES, "Evaluate and promote", "Forecast"]
    assert f"Stopped: {', '.join(titles[:AT_ONCE])}\n" in interrupted.stderr
    assert f"Not run: {', '.join(titles[AT_ONCE:])}\n" in interrupted.stderr
    assert interrupted.summary["status"] == "stopped"
    assert interrupted.summary["models"] == {}


def test_a_run_promotes_a_model_and_says_where_everything_lies(place: Place, first: Ended) -> None:
    assert first.code == 0, first.stdout + first.stderr
    places = first.places()

    assert places.keys() == {"Report", "Summary", "Promotion", "Forecasts", "MLflow"}
    assert "<html" in Path(places["Report"]).read_text()
    assert json.loads(Path(places["Promotion"]).read_text())["identifier"] == "slice"
    assert pq.read_table(places["Forecasts"]).num_rows == 10
    assert Path(places["Summary"]).resolve() == first.folder / "summary.json"
    assert f"mlflow ui --backend-store-uri sqlite:///{place.home / 'mlflow.db'}" in first.stdout
    assert f"Parameters from {place.dataset.with_suffix('.toml')}" in first.stdout


def test_what_the_stopped_run_had_finished_is_reused(first: Ended) -> None:
    assert "Reused from earlier runs: Preprocess" in first.stdout


def test_the_summary_is_whole(first: Ended) -> None:
    summary = Summary.model_validate(first.summary)

    assert summary.status == "done"
    assert {stage.exit_code for stage in summary.stages.values()} == {0}
    assert list(summary.stages) == ["preprocess", *TRAINERS, "eval", "inference"]
    assert summary.run_ids.keys() == summary.models.keys() == set(REQUIRED_MODELS)
    for model in summary.models.values():
        assert model.composite_score is not None
        assert None not in (model.test.rmse, model.test_original.rmse, model.persistence.rmse, model.linear.rmse)
    assert summary.promotion is not None
    scores = {name: model.composite_score for name, model in summary.models.items()}
    assert summary.promotion.composite_score == min(scores.values())
    assert summary.promotion.run_id == summary.run_ids[summary.promotion.model_type]
    assert summary.forecast is not None
    assert summary.forecast["backtest_rmse"] > 0
    assert summary.config_hash is not None
    assert summary.parameters["epochs"] == PARAMETERS["epochs"]
    assert summary.parameters["sample_train_rows"] == 0


def test_as_many_trainers_as_cores_ran_at_once(first: Ended) -> None:
    stages = [first.summary["stages"][name] for name in TRAINERS]
    rounding = 0.01
    spans = [(stage["started_after"], stage["started_after"] + stage["seconds"] - rounding) for stage in stages]

    running = [sum(start <= moment < end for start, end in spans) for moment, _ in spans]

    assert max(running) == AT_ONCE


def test_every_stage_left_a_report_and_the_index_links_to_them(first: Ended) -> None:
    index = (first.folder / "index.html").read_text()

    for stage in first.summary["stages"]:
        assert (first.folder / stage / "report.html").is_file()
        assert f'href="{stage}/report.html"' in index
    for address in re.findall(r'href="([^"#]+)"', index):
        assert (first.folder / address).exists(), address


def test_a_second_run_reuses_everything_with_the_same_results(first: Ended, second: Ended) -> None:
    def results(run: Ended) -> Mapping[str, Any]:
        return {name: run.summary[name] for name in ("config_hash", "run_ids", "models", "promotion", "forecast")}

    assert second.code == 0, second.stdout + second.stderr
    assert {name: stage["status"] for name, stage in second.summary["stages"].items()} == dict.fromkeys(
        second.summary["stages"], "cached"
    )
    assert results(second) == results(first)
    assert second.folder != first.folder
    assert f"Reused from earlier runs: Preprocess, {', '.join(TITLES)}, Evaluate and promote, Forecast" in second.stdout


def test_nothing_half_written_is_left(place: Place, second: Ended) -> None:
    assert not list((place.home / "store" / ".tmp").iterdir())
    assert not list(place.home.rglob(".flts-*"))


def test_a_run_with_the_fourth_trainer_leaves_the_other_models_as_they_are(place: Place, second: Ended) -> None:
    boosted = run(place.root, place.home, place.dataset, "--pipeline", "boosted")
    summary = Summary.model_validate(boosted.summary)

    assert boosted.code == 0, boosted.stdout + boosted.stderr
    assert summary.stages.keys() == set(STAGES_OF["boosted"])
    cached = {name for name, stage in summary.stages.items() if stage.cached}
    assert cached == {"preprocess", *TRAINERS}
    assert summary.models.keys() == set(TRAINED_MODELS)
    assert {name: boosted.summary["models"][name] for name in REQUIRED_MODELS} == second.summary["models"]
    assert summary.promotion is not None
    assert summary.promotion.composite_score == min(model.composite_score for model in summary.models.values())
    index = (boosted.folder / "index.html").read_text()
    for stage in OPTIONAL_TRAINERS:
        assert f'href="{stage}/report.html"' in index
    assert re.search(r"^Promoted .*\bLIGHTGBM\b", boosted.stdout, re.MULTILINE)


@pytest.fixture(scope="module")
def too_short(place: Place, second: Ended) -> Ended:
    """A run on ten rows of a dataset of the same name, without a test file: enough for preprocess alone."""
    alone = place.dataset.parent / "alone" / place.dataset.name
    alone.parent.mkdir()
    alone.write_text("".join(place.dataset.read_text().splitlines(keepends=True)[:11]))
    return Place(place.root, place.home, alone).run()


def test_without_a_test_file_the_end_of_the_data_is_the_test_part(too_short: Ended) -> None:
    assert "There is no slice_test.csv next to it: the last 20 % of its rows become the test data" in too_short.stdout
    assert "8 training and 2 test rows" in too_short.summary["stages"]["preprocess"]["message"]


def test_failed_stages_are_named_with_their_sentence(too_short: Ended) -> None:
    summary = Summary.model_validate(too_short.summary)

    assert too_short.code == summary.exit_code == 2
    for title in TITLES:
        assert re.search(rf"^{title} failed: the training data has 8 rows", too_short.stderr, re.MULTILINE)
    assert "Not run: Evaluate and promote, Forecast" in too_short.stderr
    assert "Traceback" not in too_short.stderr
    assert summary.status == "failed"
    assert "has 8 rows" in str(summary.stages["train-gru"].error)
    assert summary.stages["eval"].status == "not run"
    assert "Train GRU" not in too_short.stdout.partition("Report")[2]
    assert "train-gru failed" in (too_short.folder / "index.html").read_text()
