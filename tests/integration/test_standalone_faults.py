"""Disks that are full or read-only, and signals: nothing half-written is left."""

import json
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.commands import Ended, listing, run, start

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("standalone")]

ENDLESS = (
    "flts-train-gru --training-data preprocess/processed_data.parquet --hidden-size 4 --num-layers 1"
    " --epochs 100000 --no-early-stopping --output-dir"
)


def run_on_mount(folder: Path, options: str, command: str) -> tuple[Ended, str]:
    """Run a command while ``folder/mounted`` is a file system of its own; return what it said and left there."""
    (folder / "mounted").mkdir(exist_ok=True)
    script = f"mount -t tmpfs -o {options} tmpfs mounted && {{ {command}; code=$?; ls -A mounted >left; exit $code; }}"
    ended = run(folder, "unshare", "--mount", "--map-root-user", "sh", "-c", script)
    left = (folder / "left").read_text()
    (folder / "left").unlink()
    return ended, left


@pytest.fixture(scope="module")
def folder(standalone) -> Path:
    probe = subprocess.run(["unshare", "--mount", "--map-root-user", "true"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip("this machine lets nobody mount a file system of one's own: a full disk cannot be made")
    return standalone.folder


def test_a_read_only_folder(folder):
    ended, left = run_on_mount(folder, "ro", "flts-preprocess --input jfk_weather.csv --output-dir mounted/out")
    assert ended.code == 2, ended.stderr
    assert ended.error() == "--output-dir mounted/out cannot be written: read-only file system"
    assert left == ""


@pytest.mark.parametrize("size", ["4k", "64k", "400k"])
def test_a_full_disk(folder, size):
    """As sizes grow, the disk is full while the stage writes its data, and while its results get their names."""
    command = "flts-preprocess --input jfk_weather.csv --output-dir mounted/out"
    ended, left = run_on_mount(folder, f"size={size}", command)
    assert ended.code == 2, ended.stderr
    assert ended.error() == "--output-dir mounted/out cannot be written: no space left on device"
    assert left == ""


def test_a_full_disk_while_a_model_is_saved(folder):
    command = (
        "flts-train-gru --training-data preprocess/processed_data.parquet --epochs 1 --hidden-size 64"
        " --output-dir mounted/out"
    )
    ended, left = run_on_mount(folder, "size=64k", command)
    assert ended.code == 2, ended.stderr
    assert ended.error() == "--output-dir mounted/out cannot be written: no space left on device"
    assert left == ""


def wait_for_progress(process: "subprocess.Popen[str]", about: str) -> None:
    for line in process.stderr:
        if json.loads(line)["event"] == "progress" and about in line:
            return
    raise AssertionError(f"the stage ended before it told of {about}")


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "stopped by SIGTERM")],
)
def test_ctrl_c_and_sigterm_end_a_stage_in_one_line_and_leave_nothing(number, code, said, standalone):
    before = listing(standalone.folder)
    with start(standalone.folder, *ENDLESS.split(), "new/out", environ={"FLTS_LOG": "json"}) as process:
        wait_for_progress(process, "epoch")
        process.send_signal(number)
        _, stderr = process.communicate(timeout=20)
    assert process.returncode == code, stderr
    assert json.loads(stderr.splitlines()[-1])["message"] == said
    assert listing(standalone.folder) == before


STOPPED = {
    "a file that is hashed": "flts-preprocess --input big.csv --output-dir out",
    "a file that is read": "flts-preprocess --input long.csv --output-dir out",
    "big products": "flts-train-lstm --training-data preprocess/processed_data.parquet --hidden-size 3000"
    " --num-layers 3 --batch-size 4096 --epochs 1 --output-dir out",
    "Prophet": "flts-train-prophet --training-data preprocess/processed_data.parquet --n-changepoints 1000"
    " --weekly-seasonality 900 --output-dir out",
    "a store that does not answer": "flts-preprocess --dataset-name x --gateway-url s3:// --output-dir out",
    "MLflow that does not answer": "flts-train-gru --training-data preprocess/processed_data.parquet"
    " --mlflow-tracking-uri http://127.0.0.1:{port} --output-dir out",
}


@pytest.fixture(scope="module")
def busy(standalone) -> Iterator[dict[str, str]]:
    """Files that take long in the folder, and an address that takes connections and never answers."""
    with (standalone.folder / "big.csv").open("wb") as file:
        file.truncate(40 << 30)
    days = (
        f"{year}-{month:02d}-{day:02d}" for year in range(2000, 2012) for month in range(1, 13) for day in range(1, 29)
    )
    minutes = [f"{minute // 60:02d}:{minute % 60:02d},1\n" for minute in range(1440)]
    with (standalone.folder / "long.csv").open("w") as file:
        file.write("time,a\n")
        file.writelines(f"{day} {minute}" for day in days for minute in minutes)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        yield {
            "port": str(port),
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
            "AWS_ACCESS_KEY_ID": "a",
            "AWS_SECRET_ACCESS_KEY": "b",
        }
    (standalone.folder / "big.csv").unlink()
    (standalone.folder / "long.csv").unlink()


@pytest.mark.parametrize("seconds", [0.7, 1.3, 2.0])
@pytest.mark.parametrize("at", STOPPED)
def test_sigterm_ends_a_stage_wherever_it_is(at, seconds, standalone, busy):
    before = listing(standalone.folder)
    command = STOPPED[at].format(port=busy["port"])
    with start(standalone.folder, *command.split(), environ=busy) as process:
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=seconds)
        process.terminate()
        process.communicate(timeout=20)  # each would go on for longer than that
    # Before Python has started, nothing is there yet to say it, and nothing to clean up.
    assert process.returncode in (143, -signal.SIGTERM)
    assert listing(standalone.folder) == before


def test_what_a_killed_stage_leaves_is_hidden_and_goes_at_the_next_start(standalone, tmp_path):
    with start(standalone.folder, *ENDLESS.split(), str(tmp_path), environ={"FLTS_LOG": "json"}) as process:
        wait_for_progress(process, "loading")
        process.kill()
        process.communicate()
    assert [path.name[:6] for path in tmp_path.iterdir()] == [".flts-"]
    ended = run(standalone.folder, "flts-preprocess", "--input", "jfk_weather.csv", "--output-dir", str(tmp_path))
    assert ended.code == 0, ended.stderr
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
