"""Files: their digests and names."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flts.boundary.files import sha256_file, split_dataset_name


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
    deadline = time.monotonic() + 60
    while b"reading the dataset" not in stderr.read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(1)
    process.send_signal(signal.SIGTERM)
    start = time.monotonic()
    assert process.wait(timeout=30) == 143
    # Hashing would take minutes; a second is the aim, and the rest is for machines that are busy.
    assert time.monotonic() - start < 5
    assert not (tmp_path / "out").exists()
