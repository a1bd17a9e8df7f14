"""Files: their digests and names."""

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from flts.boundary.files import sha256_file, split_dataset_name
from tests.support.waiting import wait_until


def test_a_file_is_hashed_by_its_content(tmp_path):
    content = b"abc" * 1_000_000
    (tmp_path / "a").write_bytes(content)
    assert sha256_file(tmp_path / "a") == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("X.csv", ("X", ".csv")),
        ("X.csv.gz", ("X", ".csv.gz")),
        ("my.data.CSV.GZ", ("my.data", ".CSV.GZ")),
        ("a.b.parquet", ("a.b", ".parquet")),
        ("X", ("X", "")),
        ("X.gz", ("X", ".gz")),
    ],
)
def test_a_dataset_is_named_without_its_suffix(name, parts):
    assert split_dataset_name(Path("folder") / name) == parts


@pytest.mark.slow
def test_sigterm_ends_the_hashing_of_a_huge_dataset_within_seconds(tmp_path):
    for name in ("big.csv", "big_test.csv"):
        (tmp_path / name).touch()
        os.truncate(tmp_path / name, 40 << 30)
    command = [Path(sys.executable).with_name("flts-preprocess"), "--input", tmp_path / "big.csv"]
    stderr = tmp_path / "stderr"
    with stderr.open("wb") as sink:
        process = subprocess.Popen(
            [*command, "--output-dir", tmp_path / "out"], stderr=sink, env=os.environ | {"FLTS_LOG": "json"}
        )
    wait_until(lambda: b"reading the dataset" in stderr.read_bytes())
    computed = psutil.Process(process.pid).cpu_times
    before = computed().user
    wait_until(lambda: computed().user > before + 0.5)  # it hashes
    process.send_signal(signal.SIGTERM)
    # Hashing would take minutes; a second is the aim, and the rest is for machines that are busy.
    assert process.wait(timeout=30) == 143
    assert not (tmp_path / "out").exists()
