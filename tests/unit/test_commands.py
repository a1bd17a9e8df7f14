"""Which mode a command line chooses, what it says where Kafka is not named, and what a run under KFP never loads."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flts.runtime.start import run
from flts.stages import STAGES
from tests.support.commands import run as run_command
from tests.support.serving import ROWS, make_place

PREPROCESS, TRAIN_GRU = STAGES["preprocess"], STAGES["train-gru"]
NO_SERVERS = "environment variable KAFKA_BOOTSTRAP_SERVERS is required: host:port of some brokers, separated by commas"
SERVERS = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9"}
KAFKA, ALONE, HELP = "Kafka", "alone", "help"


@pytest.mark.parametrize(
    ("use_kfp", "servers", "argv", "mode"),
    [
        (None, False, [], KAFKA),
        (None, True, [], KAFKA),
        (None, False, ["--epochs", "3"], ALONE),
        (None, True, ["--epochs", "3"], KAFKA),
        ("0", False, [], KAFKA),
        ("0", True, [], KAFKA),
        ("0", False, ["--epochs", "3"], KAFKA),
        ("0", True, ["--epochs", "3"], KAFKA),
        ("1", True, [], HELP),
        ("1", True, ["--epochs", "3"], HELP),
        ("2", True, [], ALONE),
        ("2", True, ["--epochs", "3"], ALONE),
        *((use_kfp, True, ["--output-dir", "out"], ALONE) for use_kfp in (None, "0", "1", "2")),
        *((use_kfp, True, ["--training-data", "x.csv"], ALONE) for use_kfp in (None, "0", "1", "2")),
        *((use_kfp, True, ["--executor-input", "{"], ALONE) for use_kfp in (None, "0", "1", "2")),
    ],
)
def test_use_kfp_chooses_unless_the_command_line_does(use_kfp, servers, argv, mode, tmp_path, monkeypatch, capsys):
    assert _mode(TRAIN_GRU, use_kfp, servers, argv, tmp_path, monkeypatch, capsys) == mode


@pytest.mark.parametrize("use_kfp", [None, "0", "1", "2"])
def test_preprocess_is_a_worker_when_it_is_to_listen(use_kfp, tmp_path, monkeypatch, capsys):
    assert _mode(PREPROCESS, use_kfp, True, ["--listen"], tmp_path, monkeypatch, capsys) == KAFKA


def _mode(stage, use_kfp, servers, argv, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    for name in ("USE_KFP", *SERVERS, "GATEWAY_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in (SERVERS if servers else {}).items():
        monkeypatch.setenv(name, value)
    if use_kfp is not None:
        monkeypatch.setenv("USE_KFP", use_kfp)
    begun = []

    def work(*given):
        begun.append(given)
        return 0

    code = run(stage, argv, work)
    if begun:
        ((worked, line, _),) = begun
        assert (code, worked, line.listen) == (0, stage, "--listen" in argv)
        return KAFKA
    assert code == 2  # there is too little to run by itself
    return HELP if "usage: " in capsys.readouterr().err else ALONE


def test_only_preprocess_can_be_told_to_listen(tmp_path):
    ended = run_command(tmp_path, "flts-eval", "--listen")
    assert ended.code == 2
    assert ended.error().startswith("--listen is not an option")


@pytest.mark.parametrize("stage", STAGES)
def test_every_worker_says_in_a_sentence_that_it_needs_brokers(stage, tmp_path):
    ended = run_command(tmp_path, f"flts-{stage}", USE_KFP="0")
    assert (ended.code, ended.error()) == (2, NO_SERVERS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["flts-topics", "flts-status"])
def test_so_do_the_commands_around_them(command, tmp_path):
    ended = run_command(tmp_path, command)
    assert (ended.code, ended.error()) == (2, NO_SERVERS)


def test_a_run_under_kfp_loads_nothing_of_kafka(tmp_path):
    place = make_place(tmp_path / "place")
    outputs = {
        "parameters": {name: {"outputFile": str(tmp_path / name)} for name in ("config_hash", "config_json")},
        "artifacts": {
            name: {"artifacts": [{"name": name, "uri": str(tmp_path / name), "metadata": {}}]}
            for name in ("training_data", "inference_data", "report")
        },
        "outputFile": str(tmp_path / "output_file"),
    }
    values = {"dataset_name": "station", "identifier": "run-001", "gateway_url": place.url, "target_columns": "down"}
    asked = json.dumps({"inputs": {"parameterValues": values}, "outputs": outputs})
    script = (
        "import sys\n"
        "from flts.commands import main\n"
        "try:\n"
        "    main('preprocess')\n"
        "finally:\n"
        "    print(*(name for name in sys.modules if 'kafka' in name or name.startswith('flts.workers')))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, "--executor-input", asked],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), **SERVERS},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (0, "\n"), ended.stderr
    assert json.loads(Path(tmp_path / "training_data").read_text())["rows"] == ROWS
