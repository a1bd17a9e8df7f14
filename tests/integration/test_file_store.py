"""The folder store passes the suite, and keeps its promises about files."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flts.errors import BadInputError
from flts.store import open_store
from flts.store.file import FileStore
from tests.support.store_suite import BUCKET, StoreSuite
from tests.support.waiting import wait_until

WRITE_FOREVER = """
import sys
from flts.store import open_store
store = open_store(sys.argv[1])
print("ready", flush=True)
while True:
    store.put("suite-bucket", "key", b"x" * 5_000_000)
"""


class TestFileStore(StoreSuite):
    @pytest.fixture
    def url(self, tmp_path_factory: pytest.TempPathFactory) -> str:
        return (tmp_path_factory.mktemp("store") / "with space").as_uri()


def test_objects_are_plain_files(tmp_path: Path):
    open_store(tmp_path.as_uri()).put(BUCKET, "a/b.json", b"{}")
    assert (tmp_path / BUCKET / "a" / "b.json").read_bytes() == b"{}"


@pytest.mark.parametrize("url", ["file://", "file:///", "file://host/dir", "file:relative", "ftp://host", "", "/dir"])
def test_address_that_names_no_store_is_refused(url: str):
    with pytest.raises(BadInputError, match="gateway_url"):
        open_store(url)


def test_key_below_an_object_is_one_sentence(tmp_path: Path):
    store = FileStore(tmp_path)
    store.put(BUCKET, "a", b"1")
    with pytest.raises(BadInputError, match="suite-bucket/a/b"):
        store.put(BUCKET, "a/b", b"2")
    assert store.get(BUCKET, "a")[0] == b"1"


def test_root_that_is_a_file_is_one_sentence(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInputError, match="cannot write"):
        FileStore(tmp_path / "file").put(BUCKET, "key", b"1")


def test_killed_writer_leaves_the_old_object_and_blocks_nobody(tmp_path: Path):
    store = FileStore(tmp_path)
    store.put(BUCKET, "key", b"x" * 5_000_000)
    writer = subprocess.Popen([sys.executable, "-c", WRITE_FOREVER, tmp_path.as_uri()], stdout=subprocess.PIPE)
    with writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        wait_until(lambda: list((tmp_path / ".tmp").iterdir()))  # it is in the middle of one
        writer.send_signal(signal.SIGKILL)
    assert store.get(BUCKET, "key")[0] == b"x" * 5_000_000
    store.put(BUCKET, "key", b"next")
    assert [info.key for info in store.list(BUCKET)] == ["key"]


def test_folders_of_removed_objects_are_in_nobodys_way(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    store.put(BUCKET, "a/b/c", b"1")
    store.put(BUCKET, "a/d/e", b"1")
    with pytest.raises(BadInputError, match="not empty"):
        store.put(BUCKET, "a", b"2")
    store.delete(BUCKET, "a/b/c")
    store.delete(BUCKET, "a/d/e")
    store.put(BUCKET, "a", b"2")
    assert store.get(BUCKET, "a")[0] == b"2"


def test_what_a_killed_writer_left_is_swept_later_but_not_the_file_of_a_living_one(tmp_path: Path):
    FileStore(tmp_path).put(BUCKET, "key", b"1")
    left, young = tmp_path / ".tmp" / "left", tmp_path / ".tmp" / "young"
    left.write_bytes(b"part")
    young.write_bytes(b"part")
    os.utime(left, (0, 0))
    FileStore(tmp_path).put(BUCKET, "key", b"2")
    assert not left.exists()
    assert young.exists()
