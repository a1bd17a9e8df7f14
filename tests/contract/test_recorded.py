"""Every stage, started with what the driver and launcher of KFP 2.17 really sent to it."""

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from flts.models.registry import REQUIRED_MODELS
from flts.stages import STAGES
from tests.support.commands import BIN, PYTHONPATH
from tests.support.stages import STAGES_OF

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("recorded")]

RECORDED = Path(__file__).parent / "kfp-2.17"
LOGS = "what the launcher has written so far\n"
# What MLMD adds to the metadata of an artifact on its way to the next task.
ADDED = {"display_name", "store_session_info"}


@dataclass(frozen=True)
class Recorded:
    """A task that has ended."""

    sent: Mapping[str, Any]
    code: int
    stderr: str

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stderr.splitlines()]

    def output_file(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(Path(self.sent["outputs"]["outputFile"]).read_text())
        return document

    def artifact(self, name: str) -> dict[str, Any]:
        (artifact,) = self.sent["outputs"]["artifacts"][name]["artifacts"]
        return artifact


def recorded_text(stage: str) -> str:
    """What the launcher sent to a stage; a model that was not recorded is given what Prophet was."""
    path = RECORDED / f"{stage}.json"
    if not path.exists():
        return (RECORDED / "train-prophet.json").read_text().replace("train-prophet", stage)
    sent = json.loads(path.read_text())
    artifacts = sent["inputs"].get("artifacts", {})
    for model in REQUIRED_MODELS.values():
        trainer = f"train-{model.slot}"
        if "prophet_model" in artifacts and not (RECORDED / f"{trainer}.json").exists():
            for name in ("model", "metrics"):
                text = json.dumps(artifacts[f"prophet_{name}"]).replace("train-prophet", trainer)
                artifacts[f"{model.slot}_{name}"] = json.loads(text)
    return json.dumps(sent)


class Replay:
    """Starts the commands with their recorded inputs, in folders and with services of the test's own."""

    def __init__(self, folder: Path, store: Path) -> None:
        self.folder = folder
        self.services = {"gateway_url": f"file://{store}", "mlflow_tracking_uri": f"sqlite:///{store}/mlflow.db"}
        self.done: dict[str, Recorded] = {}

    def run(self, stage: str) -> Recorded:
        sent = self._sent(stage)
        (logs,) = sent["outputs"]["artifacts"]["executor-logs"]["artifacts"]
        Path(logs["uri"]).parent.mkdir(parents=True)
        Path(logs["uri"]).write_text(LOGS)
        ended = subprocess.run(
            [f"flts-{stage}", "--executor-input", json.dumps(sent)],
            cwd=self.folder,
            env={"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "HOME": str(self.folder), "USE_KFP": "1"}
            | PYTHONPATH,
            capture_output=True,
            text=True,
            check=False,
        )
        self.done[stage] = Recorded(sent, ended.returncode, ended.stderr)
        return self.done[stage]

    def _sent(self, stage: str) -> dict[str, Any]:
        """Return what the launcher sent, but for where things lie and what the tasks before made this time."""
        text = recorded_text(stage)
        for prefix in ("s3://kfp-artifacts/", "/s3/kfp-artifacts/"):
            text = text.replace(f'"{prefix}', f'"{self.folder}/kfp-artifacts/')
        text = text.replace('"/tmp/kfp/outputs/', f'"{self.folder}/outputs/{stage}/')
        sent: dict[str, Any] = json.loads(text)
        fields = STAGES[stage].params.model_fields
        given = sent["inputs"]["parameterValues"]
        if not (RECORDED / f"{stage}.json").exists():
            given = sent["inputs"]["parameterValues"] = {name: given[name] for name in given if name in fields}
        given |= {name: value for name, value in self.services.items() if name in given}
        made = {
            artifact["uri"]: artifact["metadata"]
            for task in self.done.values()
            for entry in task.output_file()["artifacts"].values()
            for artifact in entry["artifacts"]
        }
        for entry in sent["inputs"].get("artifacts", {}).values():
            (artifact,) = entry["artifacts"]
            recorded = artifact["metadata"]
            passed = {name: _as_mlmd_keeps(value) for name, value in made[artifact["uri"]].items()}
            assert recorded.keys() - ADDED <= passed.keys()
            artifact["metadata"] = passed | {name: recorded[name] for name in ADDED}
        return sent


def _as_mlmd_keeps(value: Any) -> Any:
    return round(value, 6) if isinstance(value, float) else value


@pytest.fixture(scope="module")
def replayed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Recorded]:
    store = tmp_path_factory.mktemp("store")
    (store / "dataset").mkdir()
    for name in ("jfk_weather.csv", "jfk_weather_test.csv"):
        (store / "dataset" / name).write_bytes((root / "examples" / "data" / name).read_bytes())
    replay = Replay(tmp_path_factory.mktemp("replay"), store)
    for stage in STAGES_OF["pipeline"]:
        task = replay.run(stage)
        assert task.code == 0, task.stderr
    return replay.done


@pytest.fixture(params=sorted(path.stem for path in RECORDED.iterdir()))
def task(replayed: dict[str, Recorded], request: pytest.FixtureRequest) -> Recorded:
    return replayed[request.param]


def test_executor_logs_is_the_launchers_and_is_left_as_it_is(task: Recorded) -> None:
    logs = Path(task.artifact("executor-logs")["uri"])

    assert logs.read_text() == LOGS
    beside = {path.name for path in logs.parent.iterdir()}
    assert beside == {*task.sent["outputs"]["artifacts"]} - {"executor-logs"} | {logs.name, "output_metadata.json"}
    (told,) = (event for event in task.events() if event["level"] == "debug")
    assert told["message"] == "outputs that KFP adds are left alone: executor-logs"


def test_the_output_file_has_the_strict_schema_and_the_stages_own_outputs(task: Recorded) -> None:
    document = task.output_file()

    json_format.ParseDict(document, pipeline_spec_pb2.ExecutorOutput())
    assert document["artifacts"].keys() == task.sent["outputs"]["artifacts"].keys() - {"executor-logs"}
    assert document["parameterValues"].keys() == task.sent["outputs"].get("parameters", {}).keys()


def test_every_output_is_where_the_launcher_uploads_it_from(task: Recorded) -> None:
    for name, entry in task.output_file()["artifacts"].items():
        (written,) = entry["artifacts"]
        assert written["uri"] == task.artifact(name)["uri"]
        assert Path(written["uri"]).stat().st_size > 0
    for name, parameter in task.sent["outputs"].get("parameters", {}).items():
        assert Path(parameter["outputFile"]).read_text() == task.output_file()["parameterValues"][name]


def test_the_configuration_is_that_of_the_recorded_run(replayed: dict[str, Recorded]) -> None:
    metadata = replayed["preprocess"].output_file()["artifacts"]["training_data"]["artifacts"][0]["metadata"]
    recorded = json.loads((RECORDED / "train-gru.json").read_text())["inputs"]["artifacts"]["training_data"]

    for name in ("config_hash", "config_json", "rows", "identifier"):
        assert metadata[name] == recorded["artifacts"][0]["metadata"][name]
