"""Every parameter of the pipeline is checked by its first task, before anything is read."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import json_format
from kfp import dsl
from kfp.compiler import Compiler
from kfp.local import io
from kfp.local.orchestrator.orchestrator_utils import OrchestratorUtils

from flts.stages import STAGES
from tests.support.launcher import Launched, Launcher
from tests.support.stages import STAGES_OF

DIFFICULT = """it's "quoted", \\ {{$}} {{$.inputs.parameters['dataset_name']}} ${HOME} %s äöü 漢 \U0001f600 }}"""
LATER = {name: stage.params for name, stage in STAGES.items() if name != "preprocess"}

Start = Callable[..., Launched]


@pytest.fixture
def start(root: Path, tmp_path: Path) -> Start:
    """Start preprocess as the pipeline's first task; its store is out of reach."""
    (tmp_path / "runs").mkdir()

    def start(**parameters: Any) -> Launched:
        services = {"gateway_url": "http://127.0.0.1:9", "mlflow_tracking_uri": "http://127.0.0.1:9"}
        launcher = Launcher(root / "pipeline" / "boosted.yaml", tmp_path / "runs", tmp_path, services | parameters)
        return launcher.run("preprocess")

    return start


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"gate": "bogus"}, "parameter gate of eval must be none, baseline, champion or both, got bogus"),
        ({"epochs": 2.5}, "parameter epochs of train-gru must be a whole number, got 2.5"),
        ({"growth": 'log"istic'}, "parameter growth of train-prophet must be linear or flat, got 'log\"istic'"),
        ({"daily_seasonality": "often"}, "parameter daily_seasonality of train-prophet must be auto, true, false"),
        ({"inference_length": 0}, "parameter inference_length of inference must be at least 1, got 0"),
        ({"experiment_name": ""}, "parameter experiment_name of train-gru must not be empty, got ''"),
        ({"identifier": "a/b"}, "parameter identifier must not contain"),
    ],
)
def test_a_wrong_parameter_of_a_later_stage_ends_the_first_task_before_it_reads(
    start: Start, wrong: dict[str, Any], said: str
) -> None:
    task = start(**wrong)

    assert task.code == 2, task.stderr
    (event,) = task.events()
    assert event["message"].startswith(said)
    assert not task.folder.exists()


def test_difficult_texts_and_whole_numbers_written_as_floats_are_right(start: Start) -> None:
    task = start(experiment_name=DIFFICULT, epochs=3.0, learning_rate=1, dataset_name="x" * 200)

    assert task.events()[-1]["message"].startswith("parameter dataset_name must be at most 128 bytes")

    task = start(experiment_name=DIFFICULT, epochs=3.0, learning_rate=1, gateway_url="ftp://nowhere")

    assert "gateway_url" in task.events()[-1]["message"], "all parameters are right: the store is what comes next"


def test_kfps_launcher_puts_nothing_but_quantities_into_the_text(root: Path, tmp_path: Path) -> None:
    """It replaces placeholders in the executor input's JSON by values as they are, whatever that does to the JSON."""
    launcher = Launcher(root / "pipeline" / "pipeline.yaml", tmp_path, tmp_path, {"experiment_name": 'a "b"'})
    text = json.dumps(json_format.MessageToDict(launcher.task("preprocess").executor_input))

    assert "pipelinechannel--check--experiment_name" in text
    put_in = set(re.findall(r"\{\{\$\.inputs\.parameters\['pipelinechannel--(\w+)'\]\}\}", text))
    assert put_in == {"cpu_request", "cpu_limit", "memory_request", "preprocess_memory_limit"}, (
        "quantities have no quotes"
    )
    assert text.count("{{$.inputs") == len(put_in)


@pytest.mark.parametrize("pipeline", STAGES_OF)
def test_the_first_task_gets_every_parameter_that_a_later_stage_has(root: Path, pipeline: str) -> None:
    document = next(yaml.safe_load_all((root / "pipeline" / f"{pipeline}.yaml").read_text()))
    handed = document["root"]["dag"]["tasks"]["preprocess"]["inputs"]["parameters"]
    later = [model for stage, model in LATER.items() if stage in STAGES_OF[pipeline]]
    expected = {name for model in later for name in model.model_fields} - {"config_hash", "config_json"}
    own = STAGES["preprocess"].params.model_fields.keys()

    assert STAGES["preprocess"].checks == LATER
    assert {name for name in handed if name.startswith("pipelinechannel--check--")} == {
        f"pipelinechannel--check--{name}" for name in expected - own
    }
    for name in expected - own:
        assert handed[f"pipelinechannel--check--{name}"] == {"componentInputParameter": name}


def test_kfps_own_local_runner_hands_them_over_with_their_types(root: Path, tmp_path: Path) -> None:
    launcher = Launcher(root / "pipeline" / "pipeline.yaml", tmp_path, tmp_path, {})
    store = io.IOStore()
    for name, value in (launcher.arguments | {"experiment_name": DIFFICULT, "epochs": 2.5, "refit": False}).items():
        store.put_parent_input(name, value)

    arguments = OrchestratorUtils.make_task_arguments(launcher.spec.root.dag.tasks["preprocess"].inputs, store)

    assert arguments["pipelinechannel--check--experiment_name"] == DIFFICULT
    assert arguments["pipelinechannel--check--epochs"] == 2.5
    assert arguments["pipelinechannel--check--refit"] is False


def test_a_pipeline_inside_another_checks_what_it_is_given(tmp_path: Path) -> None:
    from pipeline.pipeline import flts_pipeline

    @dsl.pipeline(name="outer")
    def outer(rounds: int = 7) -> None:
        flts_pipeline(epochs=rounds)

    Compiler().compile(outer, str(tmp_path / "outer.yaml"))
    document = next(yaml.safe_load_all((tmp_path / "outer.yaml").read_text()))
    (inner,) = (component for component in document["components"].values() if "dag" in component)
    source = inner["dag"]["tasks"]["preprocess"]["inputs"]["parameters"]["pipelinechannel--check--epochs"]
    (task,) = document["root"]["dag"]["tasks"].values()

    assert source == {"componentInputParameter": "epochs"}
    assert task["inputs"]["parameters"]["epochs"] == {"componentInputParameter": "rounds"}


def test_the_component_itself_says_nothing_of_it(root: Path) -> None:
    for text in ((root / "component_specs" / "preprocess.yaml"), (root / "docs" / "stages" / "preprocess.md")):
        assert "check--" not in text.read_text()
