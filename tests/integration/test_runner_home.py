"""A ``--home`` that cannot be written: named, and what else went wrong is said all the same."""

import subprocess
from pathlib import Path

import pytest

from tests.support.pipelines import command

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def mounts() -> None:
    probe = subprocess.run(["unshare", "--mount", "--map-root-user", "true"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("this machine lets nobody mount a file system of one's own: a full disk cannot be made")


def run_on_mount(
    root: Path, demo: Path, folder: Path, options: str, before: str = "true"
) -> subprocess.CompletedProcess[str]:
    """Run the pipeline with a home on a file system of its own."""
    home = folder / "mounted"
    home.mkdir()
    script = f'mount -t tmpfs -o {options} tmpfs {home} && {before} && exec "$@"'
    return subprocess.run(
        ["unshare", "--mount", "--map-root-user", "sh", "-c", script, "sh", *command(home, demo)],
        cwd=root,
        text=True,
        capture_output=True,
        check=False,
    )


def test_a_read_only_home_is_named_before_anything_else(root: Path, demo: Path, tmp_path: Path) -> None:
    ended = run_on_mount(root, demo, tmp_path, "ro")

    assert ended.returncode == 2
    assert ended.stderr == f"run: --home {tmp_path / 'mounted'} cannot be written: read-only file system\n"
    assert ended.stdout == ""


def test_a_home_that_is_full_is_named_before_anything_else(root: Path, demo: Path, tmp_path: Path) -> None:
    fill = f"head --bytes 64K /dev/zero >{tmp_path / 'mounted' / 'filling'}"
    ended = run_on_mount(root, demo, tmp_path, "size=64k", fill)

    assert ended.returncode == 2
    assert ended.stderr == f"run: --home {tmp_path / 'mounted'} cannot be written: no space left on device\n"
    assert ended.stdout == ""


def test_a_home_that_fills_up_hides_neither_which_stages_failed_nor_why(root: Path, demo: Path, tmp_path: Path) -> None:
    ended = run_on_mount(root, demo, tmp_path, "size=700k")
    *failures, home = ended.stderr.splitlines()

    assert ended.returncode == 2
    assert "preprocess: done" in ended.stdout
    assert failures[0].startswith("Train GRU failed: ")
    assert "no space left on device" in failures[0]
    assert failures[-1] == "Not run: Evaluate and promote, Forecast"
    assert home.startswith(f"run: --home {tmp_path / 'mounted'}: ")
    assert home.endswith(" cannot be written: no space left on device")
    assert "Report" not in ended.stdout
