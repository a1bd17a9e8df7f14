"""Work folders: private, and gone whatever ends their owner."""

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from flts.errors import BadInputError
from flts.runtime import work_folders


def listing(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_failure_leaves_nothing_not_even_the_folders_made_for_it(tmp_path):
    def half_done() -> None:
        with work_folders.output_folder(tmp_path / "a" / "b") as work:
            (work / "half").write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half_done()
    assert listing(tmp_path) == []


def test_a_failure_keeps_what_was_there(tmp_path):
    (tmp_path / "kept").write_text("kept")
    with pytest.raises(ZeroDivisionError), work_folders.output_folder(tmp_path):
        raise ZeroDivisionError
    assert listing(tmp_path) == ["kept"]


def test_a_file_as_output_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(BadInputError, match="is a file, expected a folder"),
        work_folders.output_folder(tmp_path / "file"),
    ):
        pass
    with pytest.raises(BadInputError, match="cannot be written: not a directory"):  # noqa: SIM117 - one statement each
        with work_folders.output_folder(tmp_path / "file" / "below"):
            pass


def test_temporary_files_of_libraries_go_to_the_work_folder(tmp_path):
    before = tempfile.gettempdir()
    with work_folders.work_folder(tmp_path) as work:
        assert Path(tempfile.mkdtemp()).parent == work
        command = [sys.executable, "-c", "import tempfile; print(tempfile.gettempdir())"]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == str(work)
    assert tempfile.gettempdir() == before
    assert listing(tmp_path) == []


def test_the_folder_of_a_killed_process_is_removed_by_the_next_and_that_of_a_living_one_is_not(tmp_path):
    script = (
        "import sys, time; from pathlib import Path; from flts.runtime.work_folders import work_folder\n"
        "with work_folder(Path(sys.argv[1])) as work:\n    print(work, flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        theirs = Path(owner.stdout.readline().strip())
        (theirs / "file").write_text("x")
        with work_folders.work_folder(tmp_path):
            assert theirs.is_dir()
        owner.kill()
        owner.wait()
    assert theirs.is_dir()
    with work_folders.work_folder(tmp_path) as ours:
        assert listing(tmp_path) == [ours.name]
