"""Work folders, atomic writes and publishing."""

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from flts import os_errors
from flts.errors import BadInputError
from flts.runtime import folders, output
from flts.stage import Artifact, Input, Result, Stage
from flts.stages import STAGES

TRAIN_GRU = STAGES["train-gru"]

ARTIFACTS = {"model": Artifact('{"v":1}'), "metrics": Artifact("{}"), "report": Artifact("<html>")}


def result(**files: Path) -> Result:
    return Result(artifacts=ARTIFACTS, parameters={"run_id": "r"}, message="Done.", files=files)


def listing(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def publish(stage: Stage, folder: Path, content: str) -> list[str]:
    with folders.output_folder(folder) as work:
        bundle = work / "made"
        bundle.mkdir()
        (bundle / content).write_text(content)
        return output.publish(stage, result(bundle=bundle), work, folder)


def test_results_get_their_names_in_a_folder_made_for_them(tmp_path):
    names = publish(TRAIN_GRU, tmp_path / "a" / "b", "one")
    assert names == ["bundle/", "metrics.json", "model.json", "report.html"]
    assert listing(tmp_path / "a" / "b") == ["bundle", "bundle/one", "metrics.json", "model.json", "report.html"]


def test_a_second_result_replaces_the_first_folders_too(tmp_path):
    publish(TRAIN_GRU, tmp_path, "one")
    publish(TRAIN_GRU, tmp_path, "two")
    assert listing(tmp_path) == ["bundle", "bundle/two", "metrics.json", "model.json", "report.html"]


def test_a_file_where_a_folder_goes_is_replaced(tmp_path):
    (tmp_path / "bundle").write_text("a file")
    publish(TRAIN_GRU, tmp_path, "one")
    assert (tmp_path / "bundle" / "one").is_file()


def test_a_replaced_folder_comes_back_when_its_successor_is_missing(tmp_path):
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "old").write_text("old")
    with (
        pytest.raises(BadInputError, match="cannot be written: no such file or directory"),
        folders.output_folder(tmp_path) as work,
    ):
        output.publish(TRAIN_GRU, result(bundle=work / "never made"), work, tmp_path)
    assert listing(tmp_path) == ["bundle", "bundle/old"]


def test_a_failure_leaves_nothing_not_even_the_folders_made_for_it(tmp_path):
    def half_done() -> None:
        with folders.output_folder(tmp_path / "a" / "b") as work:
            (work / "half").write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half_done()
    assert listing(tmp_path) == []


def test_a_failure_keeps_what_was_there(tmp_path):
    (tmp_path / "kept").write_text("kept")
    with pytest.raises(ZeroDivisionError), folders.output_folder(tmp_path):
        raise ZeroDivisionError
    assert listing(tmp_path) == ["kept"]


def test_a_file_as_output_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInputError, match="is a file, expected a folder"), folders.output_folder(tmp_path / "file"):
        pass
    with pytest.raises(BadInputError, match="cannot be written: not a directory"):  # noqa: SIM117 - one statement each
        with folders.output_folder(tmp_path / "file" / "below"):
            pass


def test_temporary_files_of_libraries_go_to_the_work_folder(tmp_path):
    before = tempfile.gettempdir()
    with folders.work_folder(tmp_path) as work:
        assert Path(tempfile.mkdtemp()).parent == work
        command = [sys.executable, "-c", "import tempfile; print(tempfile.gettempdir())"]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == str(work)
    assert tempfile.gettempdir() == before
    assert listing(tmp_path) == []


def test_the_folder_of_a_killed_process_is_removed_by_the_next_and_that_of_a_living_one_is_not(tmp_path):
    script = (
        "import sys, time; from pathlib import Path; from flts.runtime.output import work_folder\n"
        "with work_folder(Path(sys.argv[1])) as work:\n    print(work, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        theirs = Path(owner.stdout.readline().strip())
        (theirs / "file").write_text("x")
        with folders.work_folder(tmp_path):
            assert theirs.is_dir()
        owner.kill()
        owner.wait()
    assert theirs.is_dir()
    with folders.work_folder(tmp_path) as ours:
        assert listing(tmp_path) == [ours.name]


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


def test_a_full_disk_is_told_from_a_bug_through_the_chain_of_causes():
    wrapped = RuntimeError("saving failed")
    wrapped.__cause__ = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "out/model")
    assert os_errors.environment_trouble(wrapped) == "out/model: no space left on device"
    assert os_errors.environment_trouble(wrapped, Path("out")) == (
        "--output-dir out cannot be written: no space left on device"
    )
    assert os_errors.environment_trouble(wrapped, Path("other")) == "out/model: no space left on device"
    assert os_errors.environment_trouble(RuntimeError("I/O error: No space left on device (os error 28)"))
    assert os_errors.environment_trouble(FileNotFoundError(errno.ENOENT, "No such file")) is None
    assert os_errors.environment_trouble(ValueError("a bug")) is None
