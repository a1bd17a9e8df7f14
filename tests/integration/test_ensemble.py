"""A promoted ensemble of real trainings: its run in MLflow, its forecasts wherever they are made, and as champion."""

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest

from flts.administration.verification import model_problem
from flts.boundary.files import sha256_file
from flts.contracts import ClaimCheck, Promotion, TrainedModel
from flts.datafiles.processed_parquet import read_processed
from flts.models import bundle
from flts.models.table import forecast_table
from flts.runtime.reporters import LineReporter
from flts.stage_interface import Context, InputArtifact, Result
from flts.stages import STAGES
from flts.stages.preprocessing.objects import TRAIN_FILE
from flts.tracking import Tracking, download_bundle
from flts.workers.handlers.evaluation import handle
from flts.workers.messages import ReceivedMessage
from flts.workers.settings import read_topics
from flts.workers.stage_runner import StageRunner
from tests.support import training
from tests.support.serving import IDENTIFIER, Place, make_place, serving

SLOTS = ("lstm", "prophet")
ROWS, TEST_ROWS = 1000, 150
# Two steps at once are direct, so that the mean of the members is that of their own forecasts.
SMALL = {"output_seq_len": 2, "identifier": IDENTIFIER, "refit": False}
LEARNING = {"lstm": {"hidden_size": 16, "epochs": 10, "learning_rate": 5e-3}, "prophet": {"n_changepoints": 25}}
POOR = {"lstm": {"linear_skip": False}, "prophet": {"residual_ar": False}}
OUTSIDER = """
import sys
import mlflow, pandas
history, uri = sys.argv[1:]
model = mlflow.pyfunc.load_model(uri)
print(model.predict(pandas.read_csv(history, parse_dates=["time"]), params={"inference_length": 2}).to_json())
"""


@dataclass(frozen=True)
class Evaluated:
    """What the trainers and eval left."""

    place: Place
    tracking_uri: str
    trained: dict[str, Result]
    result: Result

    @property
    def promotion(self) -> Promotion:
        return Promotion.parse(self.result.artifacts["promotion_metadata"].content, source="promotion")

    def load(self, message: Promotion | TrainedModel, folder: Path) -> bundle.Bundle:
        fetched = download_bundle(self.tracking_uri, message, folder / message.model_type)
        return bundle.load(fetched, sha256=message.bundle_sha256)

    def members(self, folder: Path) -> list[bundle.Bundle]:
        names = self.load(self.promotion, folder).config.hyperparameters["members"]
        messages = [
            TrainedModel.parse(result.artifacts["model"].content, source="model") for result in self.trained.values()
        ]
        return [self.load(message, folder) for message in messages if message.model_type in names]


def inputs_of(trained: dict[str, Result], training_data: Path, folder: Path) -> dict[str, InputArtifact]:
    inputs = {"training_data": InputArtifact(training_data)}
    for slot, result in trained.items():
        for output in ("model", "metrics"):
            (folder / f"{slot}_{output}.json").write_text(str(result.artifacts[output].content))
            inputs[f"{slot}_{output}"] = InputArtifact(folder / f"{slot}_{output}.json")
    return inputs


def evaluate(place: Place, tracking_uri: str, trained: dict[str, Result], folder: Path, **given: object) -> Result:
    folder.mkdir(parents=True)
    params = STAGES["eval"].params.model_validate(
        {"config_hash": "", "identifier": IDENTIFIER, "ensemble": True} | given
    )
    inputs = inputs_of(trained, place.data(TRAIN_FILE), folder)
    stage = replace(STAGES["eval"], arguments={"model_types": "LSTM,PROPHET"})
    return stage.run(params, Context(inputs, folder, store=place.store, tracking_uri=tracking_uri))


def train_both(place: Place, tracking_uri: str, settings: dict[str, dict[str, object]]) -> dict[str, Result]:
    trainers = training.Place(place.data(TRAIN_FILE), tracking_uri, place.url)
    return {slot: trainers.train(f"train-{slot}", **SMALL | settings[slot]) for slot in SLOTS}


@pytest.fixture(scope="module")
def lines(root: Path) -> list[str]:
    """Hourly weather, in which the two models err apart."""
    return (
        (root / "examples" / "data" / "jfk_weather.csv").read_text().splitlines(keepends=True)[: ROWS + TEST_ROWS + 1]
    )


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> Evaluated:
    folder = tmp_path_factory.mktemp("ensemble")
    dataset = "".join(lines[: ROWS + 1]), "".join([lines[0], *lines[ROWS + 1 :]])
    place, tracking_uri = make_place(folder / "place", dataset, target="temp"), f"sqlite:///{folder}/mlflow.db"
    trained = train_both(place, tracking_uri, LEARNING)
    return Evaluated(place, tracking_uri, trained, evaluate(place, tracking_uri, trained, folder / "eval"))


@pytest.fixture(scope="module")
def table(lines: list[str]) -> pd.DataFrame:
    return pd.read_csv(StringIO("".join([lines[0], *lines[-TEST_ROWS:]])), parse_dates=["time"]).interpolate().bfill()


def mean_of(members: list[bundle.Bundle], table: pd.DataFrame) -> np.ndarray:
    return np.mean([forecast_table(member, table, 2)["temp"].to_numpy() for member in members], axis=0)


def test_it_is_a_run_and_a_model_in_mlflow_made_once(evaluated: Evaluated, tmp_path: Path):
    told, tracking = evaluated.promotion, Tracking(evaluated.tracking_uri)
    assert (told.model_type, told.status) == ("ENSEMBLE", "PROMOTED")
    assert told.model_uri == f"runs:/{told.run_id}/ENSEMBLE"
    assert tracking.status(told.run_id) == "FINISHED"
    texts = tracking.read_artifacts(told.run_id, ("metrics.json", "selection.json", "report.html"))
    metrics = json.loads(texts["metrics.json"])
    assert (metrics["test_rmse"], metrics["composite_score"]) == (told.test_rmse, told.composite_score)
    assert metrics["interval_coverage"] == told.interval_coverage
    assert {"persistence_test_rmse", "linear_test_mse_original", "test_mae_original", "scored_rows"} <= set(metrics)
    assert model_problem(told, evaluated.tracking_uri) == ""
    run = tracking._client.get_run(told.run_id)
    members = evaluated.load(told, tmp_path).config.hyperparameters["members"]
    assert run.data.params["members"] == ", ".join(members)
    assert len(members) >= 2

    again = evaluate(evaluated.place, evaluated.tracking_uri, evaluated.trained, tmp_path / "again")
    assert again.cached
    assert Promotion.parse(again.artifacts["selected_model"].content, source="again") == told
    found = tracking._client.search_runs([run.info.experiment_id], "tags.model_type = 'ENSEMBLE'")
    assert [each.info.run_id for each in found] == [told.run_id]


def test_the_mean_is_that_of_its_members_by_inference_and_over_http(
    evaluated: Evaluated, table: pd.DataFrame, tmp_path: Path
):
    told = evaluated.promotion
    members, ensemble = evaluated.members(tmp_path), evaluated.load(told, tmp_path / "whole")
    expected = mean_of(members, table)
    assert forecast_table(ensemble, table, 2)["temp"].to_numpy() == pytest.approx(expected, rel=1e-9)

    (tmp_path / "selected.json").write_text(told.to_json())
    params = STAGES["inference"].params.model_validate(
        {"config_hash": "", "identifier": IDENTIFIER, "inference_length": 6}
    )
    inputs = {
        "inference_data": InputArtifact(evaluated.place.data()),
        "selected_model": InputArtifact(tmp_path / "selected.json"),
    }
    context = Context(inputs, tmp_path, store=evaluated.place.store, tracking_uri=evaluated.tracking_uri)
    result = STAGES["inference"].run(params, context)
    samples = json.loads(result.artifacts["predictions"].content)["samples"]
    data = read_processed(evaluated.place.data())
    start = ensemble.forecaster.input_seq_len
    origins = np.arange(start, start + 6, 2)
    blocks = np.mean([member.forecaster.forecast(data.frame, origins) for member in members], axis=0).reshape(-1)
    assert [sample["pred"]["temp"] for sample in samples] == pytest.approx(blocks.tolist(), rel=1e-6)

    body = table.assign(time=table["time"].astype(str)).to_dict(orient="list")
    arguments = ("--identifier", IDENTIFIER, "--mlflow-tracking-uri", evaluated.tracking_uri)
    with serving(evaluated.place.url, *arguments) as server:
        ready = server.wait_until_ready()
        assert ready["model_type"] == "ENSEMBLE"
        answer = httpx.post(f"{server.url}/predict", json={"inference_length": 2, "data": body}, timeout=60)
        shown = httpx.get(f"{server.url}/model", timeout=60).json()
    predicted = [row["temp"] for row in answer.raise_for_status().json()["predictions"]]
    assert predicted == pytest.approx(expected.tolist(), rel=1e-6)
    assert shown["model_type"] == "ENSEMBLE"


def test_over_kafka_the_last_model_starts_the_same_evaluation(evaluated: Evaluated, tmp_path: Path):
    params = STAGES["eval"].params.model_validate(
        {"config_hash": "", "identifier": "", "ensemble": True, "mlflow_tracking_uri": evaluated.tracking_uri}
    )
    store, reporter = evaluated.place.store, LineReporter(STAGES["eval"], StringIO())
    topics = read_topics("eval", {})
    runner = StageRunner(STAGES["eval"], params, topics, store, reporter, lambda _: None, ("LSTM", "PROPHET"))
    path = evaluated.place.data(TRAIN_FILE)
    claim = ClaimCheck(
        bucket="processed-data",
        object=f"{evaluated.place.config_hash}/{TRAIN_FILE}",
        size=path.stat().st_size,
        identifier=IDENTIFIER,
        config_hash=evaluated.place.config_hash,
        sha256=sha256_file(path),
        rows=len(read_processed(path)),
    )
    sent = []
    for result in evaluated.trained.values():
        fields = json.loads(result.artifacts["model"].content)
        fields |= {
            "metrics": json.loads(result.artifacts["metrics"].content),
            "training_data": json.loads(claim.to_json()),
        }
        sent += handle(ReceivedMessage("model-training", 0, 0, None, None, json.dumps(fields).encode()), runner)
    (selected,) = sent
    assert Promotion.parse(selected.value or b"", source="selected") == evaluated.promotion


@pytest.mark.slow
def test_a_fresh_process_forecasts_the_mean_by_pyfunc(evaluated: Evaluated, table: pd.DataFrame, tmp_path: Path):
    table.to_csv(tmp_path / "history.csv", index=False)
    (tmp_path / "elsewhere").mkdir()
    outsider = subprocess.run(
        [sys.executable, "-c", OUTSIDER, "../history.csv", evaluated.promotion.model_uri],
        cwd=tmp_path / "elsewhere",
        env={
            "HOME": str(tmp_path),
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": "",
            "MLFLOW_TRACKING_URI": evaluated.tracking_uri,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert outsider.returncode == 0, outsider.stderr
    predicted = list(json.loads(outsider.stdout.splitlines()[-1])["temp"].values())
    assert predicted == pytest.approx(mean_of(evaluated.members(tmp_path), table).tolist(), rel=1e-6)


def test_it_defends_its_place_as_any_champion(evaluated: Evaluated, tmp_path: Path):
    """The challenger of the same data is worse: a mean of poorer models."""
    trained = train_both(evaluated.place, evaluated.tracking_uri, POOR)
    result = evaluate(evaluated.place, evaluated.tracking_uri, trained, tmp_path / "eval", gate="champion")
    told = Promotion.parse(result.artifacts["promotion_metadata"].content, source="promotion")
    assert (told.status, told.champion_run_id) == ("HELD", evaluated.promotion.run_id)
    assert f"the champion ENSEMBLE (run {evaluated.promotion.run_id}) on the same" in str(told.reason)
    selected = Promotion.parse(result.artifacts["selected_model"].content, source="selected")
    compared = {name: getattr(selected, name) for name in ("candidates", "leaderboard")}
    assert selected == evaluated.promotion.model_copy(update=compared)
    assert [one.run_id for one in selected.candidates or []] != [
        one.run_id for one in evaluated.promotion.candidates or []
    ]
