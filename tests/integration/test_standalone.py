"""The seven commands by themselves, on plain files, as an engineer types them."""

import json
import re
import sys
from pathlib import Path

import pytest

from flts.models.registry import TRAINED_MODELS
from flts.stages import STAGES, TRAINERS
from tests.support.commands import BIN, run

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("standalone")]

_TRAINED = {"model.json", "metrics.json", "scores.json", "report.html", "selection.json", "bundle"}
FILES = {
    "preprocess": {
        "training_data.json",
        "inference_data.json",
        "report.html",
        "processed_data.parquet",
        "processed_data.parquet.meta.json",
        "test_processed_data.parquet",
        "test_processed_data.parquet.meta.json",
    },
    **dict.fromkeys(TRAINERS, _TRAINED),
    "eval": {"selected_model.json", "promotion_metadata.json", "scores.json", "report.html"},
    "inference": {
        *("predictions.json", "metrics.json", "scores.json", "report.html"),
        *("results.jsonl", "predictions.parquet", "leaderboard.parquet"),
    },
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_command_writes_its_files_and_says_where(stage, standalone):
    output_dir = stage.removeprefix("train-")
    assert {path.name for path in (standalone.folder / output_dir).iterdir()} == FILES[stage]
    (closing,) = standalone.ended[stage].stdout.splitlines()
    names = sorted(f"{name}/" if name == "bundle" else name for name in FILES[stage])
    assert closing.endswith(f". Wrote {', '.join(names)} to {output_dir}")


@pytest.mark.parametrize("stage", STAGES)
def test_stderr_has_notes_for_people_and_what_takes_long(stage, standalone):
    said = standalone.ended[stage].stderr.splitlines()
    assert all(re.match(r"note: |\d+% ", line) for line in said)


def test_stderr_is_json_lines_that_end_with_done_where_they_are_asked_for(standalone, tmp_path):
    command = standalone.commands["preprocess"].replace("--output-dir preprocess", f"--output-dir {tmp_path}")
    events = run(standalone.folder, *command.split(), FLTS_LOG="json").events()
    assert {event["stage"] for event in events} == {"preprocess"}
    assert {event["event"] for event in events[:-1]} == {"progress", "note"}
    assert events[-1]["event"] == "done"


def test_the_winner_is_one_of_the_trained_and_its_forecast_is_in_original_units(standalone):
    selected = json.loads((standalone.folder / "eval" / "selected_model.json").read_text())
    trained = [
        json.loads((standalone.folder / each.slot / "model.json").read_text()) for each in TRAINED_MODELS.values()
    ]
    assert selected["run_id"] in {model["run_id"] for model in trained}
    forecast = json.loads((standalone.folder / "inference" / "predictions.json").read_text())
    assert len(forecast["samples"]) == 5
    assert all(0 < sample["pred"]["temp"] < 120 for sample in forecast["samples"])


def test_the_same_command_again_gives_the_same_bytes(standalone):
    def contents(name: str) -> dict[str, bytes]:
        return {
            str(path): path.read_bytes()
            for path in (standalone.folder / name).rglob("*")
            if path.suffix in {".parquet", ".safetensors"} or path.name in {"config.json", "checksums.json"}
        }

    for stage, name in (("preprocess", "preprocess"), ("train-gru", "gru")):
        before = contents(name)
        assert len(before) >= 2
        assert run(standalone.folder, *standalone.commands[stage].split()).code == 0
        assert contents(name) == before


def test_the_last_fifth_becomes_the_test_part_where_no_test_file_is(standalone, tmp_path):
    rows = (standalone.folder / "jfk_weather.csv").read_text().splitlines()[:501]
    (tmp_path / "alone.csv").write_text("\n".join(rows) + "\n")
    ended = run(tmp_path, "flts-preprocess", "--input", "alone.csv", "--output-dir", "out")
    assert ended.code == 0, ended.stderr
    parts = [json.loads((tmp_path / "out" / f"{name}_data.json").read_text()) for name in ("training", "inference")]
    assert [part["rows"] for part in parts] == [400, 100]
    assert "the last 100 of 500 rows are the test part" in ended.stderr


def test_a_store_alone_is_enough_when_standalone_is_asked_for(standalone, tmp_path):
    (tmp_path / "store" / "dataset").mkdir(parents=True)
    (tmp_path / "store" / "dataset" / "jfk.csv").write_bytes((standalone.folder / "jfk_weather.csv").read_bytes())
    (tmp_path / "store" / "dataset" / "jfk_test.csv").write_bytes(
        (standalone.folder / "jfk_weather_test.csv").read_bytes()
    )
    ended = run(tmp_path, "flts-preprocess", USE_KFP="2", GATEWAY_URL=f"file://{tmp_path}/store", DATASET_NAME="jfk")
    assert ended.code == 0, ended.stderr
    assert (tmp_path / "store" / "processed-data" / "processed_data.parquet").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


@pytest.mark.parametrize("stage", STAGES)
def test_help_and_version_need_nothing(stage, tmp_path):
    shown = run(tmp_path, f"flts-{stage}", "--help", USE_KFP="1")
    assert (shown.code, shown.stderr) == (0, "")
    assert shown.stdout.startswith(f"usage: flts-{stage} ")
    version = run(tmp_path, f"flts-{stage}", "--version")
    assert (version.code, version.stdout.split()[0]) == (0, f"flts-{stage}")


@pytest.mark.parametrize("stage", STAGES)
def test_help_imports_nothing_heavy(stage, tmp_path):
    command = [str(BIN / "python"), "-X", "importtime", str(BIN / f"flts-{stage}"), "--help"]
    shown = run(tmp_path, *command)
    imported = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in shown.stderr.splitlines()}
    assert "pydantic" in imported
    assert not imported & {"numpy", "torch", "pandas", "pyarrow", "mlflow", "prophet", "matplotlib", "rich", "jinja2"}


def test_every_stage_is_a_command_that_the_installation_and_the_images_run_alike(root, tmp_path):
    for stage in STAGES:
        installed = run(tmp_path, str(BIN / f"flts-{stage}"), "--help")
        image = run(tmp_path, sys.executable, str(root / "images" / stage / "main.py"), "--help", PYTHONPATH=str(root))
        assert (installed.code, installed.stdout) == (image.code, image.stdout)
        assert installed.stdout.startswith(f"usage: flts-{stage} ")


def test_every_main_is_a_few_lines(root):
    assert all(len(Path(root / "images" / stage / "main.py").read_text().splitlines()) < 10 for stage in STAGES)
