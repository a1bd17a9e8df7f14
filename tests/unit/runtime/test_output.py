"""Inputs that can be read, outputs whole or not at all."""

from pathlib import Path

import pytest

from flts.errors import BadInputError
from flts.runtime import output, work_folders
from flts.stage_interface import Artifact, Input, Result, Stage
from flts.stages import STAGES

TRAIN_GRU = STAGES["train-gru"]

ARTIFACTS = {
    "model": Artifact('{"v":1}'),
    "metrics": Artifact("{}"),
    "scores": Artifact("{}"),
    "report": Artifact("<html>"),
}


def result(**files: Path) -> Result:
    return Result(artifacts=ARTIFACTS, parameters={"run_id": "r"}, message="Done.", files=files)


def listing(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def publish(stage: Stage, folder: Path, content: str) -> list[str]:
    with work_folders.output_folder(folder) as work:
        bundle = work / "made"
        bundle.mkdir()
        (bundle / content).write_text(content)
        return output.publish(stage, result(bundle=bundle), work, folder)


def test_results_get_their_names_in_a_folder_made_for_them(tmp_path):
    names = publish(TRAIN_GRU, tmp_path / "a" / "b", "one")
    assert names == ["bundle/", "metrics.json", "model.json", "report.html", "scores.json"]
    assert listing(tmp_path / "a" / "b") == [
        "bundle",
        "bundle/one",
        "metrics.json",
        "model.json",
        "report.html",
        "scores.json",
    ]


def test_a_second_result_replaces_the_first_folders_too(tmp_path):
    publish(TRAIN_GRU, tmp_path, "one")
    publish(TRAIN_GRU, tmp_path, "two")
    assert listing(tmp_path) == ["bundle", "bundle/two", "metrics.json", "model.json", "report.html", "scores.json"]


def test_a_file_where_a_folder_goes_is_replaced(tmp_path):
    (tmp_path / "bundle").write_text("a file")
    publish(TRAIN_GRU, tmp_path, "one")
    assert (tmp_path / "bundle" / "one").is_file()


def test_a_replaced_folder_comes_back_when_its_successor_is_missing(tmp_path):
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "old").write_text("old")
    with (
        pytest.raises(BadInputError, match="cannot be written: no such file or directory"),
        work_folders.output_folder(tmp_path) as work,
    ):
        output.publish(TRAIN_GRU, result(bundle=work / "never made"), work, tmp_path)
    assert listing(tmp_path) == ["bundle", "bundle/old"]


def test_a_write_makes_parents_and_replaces_at_once(tmp_path):
    target = tmp_path / "a" / "b"
    output.write_whole(target, "old")
    held = target.open()
    output.write_whole(target, b"new")
    with held:
        assert held.read() == "old"
    assert target.read_text() == "new"
    assert listing(tmp_path) == ["a", "a/b"]


def test_a_write_that_cannot_happen_is_a_sentence():
    with pytest.raises(BadInputError, match=r"^/proc/nothing/x cannot be written: no such file or directory$"):
        output.write_whole(Path("/proc/nothing/x"), "x")


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (Result(artifacts={}, message=""), "made"),
        (Result(artifacts=ARTIFACTS, message=""), "made"),
        (Result(artifacts=ARTIFACTS, parameters={"run_id": 3}, message=""), "must be text"),
        (Result(ARTIFACTS | {"model": Artifact("", {"a": float("nan")})}, "", {"run_id": ""}), "finite"),
        (Result(ARTIFACTS | {"model": Artifact("", {"a": True})}, "", {"run_id": ""}), "finite"),
        (Result(ARTIFACTS | {"model": Artifact("", {"a": [1]})}, "", {"run_id": ""}), "finite"),
        (Result(ARTIFACTS | {"scores": Artifact("", {"a": "1"})}, "", {"run_id": ""}), "must be a finite number"),
        (Result(ARTIFACTS | {"scores": Artifact("", {"a": True})}, "", {"run_id": ""}), "must be a finite number"),
    ],
)
def test_a_stage_that_breaks_its_declaration_is_a_bug(broken, said):
    with pytest.raises(TypeError, match=said):
        output.check_result(TRAIN_GRU, broken)


def test_inputs_must_exist_and_only_a_model_may_be_a_folder(tmp_path):
    data, model = Input("Dataset", "training data"), Input("Model", "a bundle")
    with pytest.raises(BadInputError, match=r"^--x: nope does not exist$"):
        output.check_input(Path("nope"), data, "--x")
    with pytest.raises(BadInputError, match="is a folder, expected a file: training data"):
        output.check_input(tmp_path, data, "--x")
    with pytest.raises(BadInputError, match="cannot be read: file name too long"):
        output.check_input(Path("n" * 300), data, "--x")
    output.check_input(tmp_path, model, "--x")
