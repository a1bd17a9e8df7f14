"""What goes wrong for an engineer: exit code 2, one sentence, nothing written."""

import json
import os
import shutil
from pathlib import Path

import pytest

from flts.models.registry import TRAINED_MODELS
from tests.support.commands import listing, run

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("standalone")]

HEADER = "time,a,b\n"
SLOTS = [model.slot for model in TRAINED_MODELS.values()]
ROWS = "".join(f"2024-01-{day:02d},{day},{day * 2}\n" for day in range(1, 29))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "--input: bad.csv does not exist"),
        ("", "bad.csv is empty"),
        (HEADER, "bad.csv"),
        ("a,b\n1,2\n", "time"),
        (HEADER + ROWS + "yesterday,1,2\n", "row 29"),
        (HEADER + ROWS + ",1,2\n", "row 29"),
        (HEADER + ROWS + "2024-01-28,1,2\n", "row 29"),
        (HEADER + ROWS + "2024-02-01,much,2\n", "row 29"),
        (HEADER + ROWS + "2024-02-01,inf,2\n", "row 29"),
        (HEADER + "".join(f"2024-01-{day:02d},,1\n" for day in range(1, 29)), "column 'a'"),
        ((HEADER + ROWS).encode("utf-16"), "UTF-8"),
    ],
)
def test_a_bad_dataset(content, said, tmp_path):
    if content is not None:
        (tmp_path / "bad.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    before = listing(tmp_path)
    ended = run(tmp_path, "flts-preprocess", "--input", "bad.csv", "--output-dir", "new/out")
    assert ended.code == 2, ended.stderr
    assert said in ended.error()
    assert listing(tmp_path) == before


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (b"current.json.csv", "the name of a dataset is that of its file, and 'current.json' of current.json.csv must "
         "not be current.json, global, trainings, trained or index, which keys use: rename the file, or give "
         "--dataset-name"),
        (b"\xff.csv", "--input \\udcff.csv is not UTF-8 text without NUL: rename it"),
    ],
)  # fmt: skip
def test_a_dataset_by_a_name_that_nothing_can_be_called(name, said, tmp_path):
    (tmp_path / os.fsdecode(name)).write_text(HEADER + ROWS)
    before = listing(tmp_path)
    ended = run(tmp_path, "flts-preprocess", "--input", os.fsdecode(name), "--output-dir", "new/out")
    assert (ended.code, ended.error()) == (2, said)
    assert listing(tmp_path) == before


def test_what_a_terminal_would_act_on_in_a_column_s_name_is_escaped(tmp_path):
    (tmp_path / "good.csv").write_text((HEADER + ROWS).replace("a", "\x1b[31ma\x1b[0m", 1))
    ended = run(tmp_path, "flts-preprocess", "--input", "good.csv", "--output-dir", "out", "--target-columns", "*")
    assert ended.code == 0, ended.stderr
    assert r"\x1b[31ma\x1b[0m" in ended.stdout
    assert "\x1b" not in ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def damaged(standalone, tmp_path_factory) -> Path:
    """A copy of the good results, with damaged data, bundles that were tampered with, and metrics that are NaN."""
    folder = tmp_path_factory.mktemp("damaged")
    shutil.copytree(standalone.folder, folder, dirs_exist_ok=True)
    data = (folder / "preprocess" / "processed_data.parquet").read_bytes()
    (folder / "cut.parquet").write_bytes(data[: len(data) // 2])
    claim = json.loads((folder / "preprocess" / "training_data.json").read_text())
    (folder / "preprocess" / "claim.json").write_text(json.dumps(claim | {"sha256": "0" * 64}))
    (folder / "text.json").write_text("not JSON")
    for name in ("changed", "pickled"):
        shutil.copytree(folder / "gru" / "bundle", folder / name)
    weights = folder / "changed" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + bytes([weights.read_bytes()[-1] ^ 1]))
    (folder / "pickled" / "model.pkl").write_bytes(b"\x80\x04N.")
    metrics = json.loads((folder / "gru" / "metrics.json").read_text())
    (folder / "nan.json").write_text(json.dumps(metrics | {"test_rmse": None}))
    return folder


INFER = "flts-inference --inference-data preprocess/test_processed_data.parquet --output-dir out --selected-model"
TRAIN = "flts-train-gru --output-dir out --training-data"
PREPROCESS = "flts-preprocess --input jfk_weather.csv"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("flts-preprocess --output-dir out", "--input"),
        (f"{PREPROCESS} --output-dir out --nans-threshold 1.5", "--nans-threshold must be at most 1, got 1.5"),
        (f"{PREPROCESS} --output-dir out --identifier a/b", "--identifier must not contain"),
        (f"{PREPROCESS} --output-dir out --target-columns snow", "snow"),
        (PREPROCESS, "--output-dir is required"),
        (f"{PREPROCESS} --output-dir jfk_weather.csv", "--output-dir jfk_weather.csv is a file, expected a folder"),
        ("flts-preprocess --inputs jfk_weather.csv --output-dir out", "did you mean --input?"),
        (f"{TRAIN} cut.parquet", "cut.parquet"),
        (f"{TRAIN} text.json", "text.json"),
        (f"{TRAIN} preprocess/claim.json", "SHA-256"),
        (f"{TRAIN} preprocess/processed_data.parquet --epochs 0", "--epochs must be at least 1, got 0"),
        (f"{TRAIN} preprocess/processed_data.parquet --input-seq-len 290", "rows"),
        (f"{INFER} changed", "model.safetensors"),
        (f"{INFER} pickled", "model.pkl"),
        (f"{INFER} eval/selected_model.json --sample-idx 1000000", "sample_idx"),
        ("flts-eval --output-dir out" + "".join(f" --{m}-model {m}/model.json --{m}-metrics nan.json"
                                                for m in SLOTS), "nan.json"),
    ],
)  # fmt: skip
def test_wrong_arguments_and_damaged_files(command, said, damaged):
    before = listing(damaged)
    ended = run(damaged, *command.split())
    assert ended.code == 2, ended.stderr
    assert said in ended.error()
    assert listing(damaged) == before


def test_a_model_without_metrics_cannot_win(damaged, standalone, tmp_path):
    command = standalone.commands["eval"].replace("gru/metrics.json", "nan.json")
    ended = run(damaged, *command.replace("--output-dir eval", f"--output-dir {tmp_path}").split())
    assert ended.code == 0, ended.stderr
    assert json.loads((tmp_path / "selected_model.json").read_text())["model_type"] != "GRU"
    assert any(line.startswith("note: ") and "GRU cannot win" in line for line in ended.stderr.splitlines())


@pytest.mark.parametrize("content", [HEADER.replace(",", ";") + ROWS.replace(",", ";"), "\ufeff" + HEADER + ROWS])
def test_semicolons_and_a_byte_order_mark_are_read_right(content, tmp_path):
    (tmp_path / "good.csv").write_text(content, encoding="utf-8")
    ended = run(tmp_path, "flts-preprocess", "--input", "good.csv", "--output-dir", "out")
    assert ended.code == 0, ended.stderr
    assert json.loads((tmp_path / "out" / "training_data.json").read_text())["rows"] == 22
