"""The behaviour of every object store. A store's test module subclasses `StoreSuite` and provides the fixture `url`."""

import hashlib
import json
import multiprocessing
from multiprocessing.pool import Pool
from pathlib import Path

import pytest

from flts.errors import BadInputError, ChecksumMismatchError, ObjectNotFoundError, PreconditionFailedError
from flts.store import ObjectStore, open_store

BUCKET = "suite-bucket"
PROCESSES = 8


def _add_by_compare_and_swap(url: str, rounds: int) -> None:
    """Add 1 to a shared counter ``rounds`` times, retrying whenever somebody else was faster."""
    store = open_store(url)
    for _ in range(rounds):
        while True:
            data, info = store.get(BUCKET, "counter")
            try:
                store.put(BUCKET, "counter", str(int(data) + 1).encode(), if_match=info.etag)
            except PreconditionFailedError:
                continue
            break


def _claim(url: str, key: str, owner: int) -> bool:
    try:
        open_store(url).put(BUCKET, key, str(owner).encode(), if_none_match=True)
    except PreconditionFailedError:
        return False
    return True


def _rewrite(url: str, rounds: int, letter: str) -> None:
    store = open_store(url)
    for _ in range(rounds):
        store.put(BUCKET, "torn", letter.encode() * 300_000)


def _pool() -> Pool:
    return multiprocessing.get_context("spawn").Pool(PROCESSES)


class StoreSuite:
    """Behaviour that callers rely on, whatever the store."""

    @pytest.fixture
    def store(self, url: str) -> ObjectStore:
        return open_store(url)

    def test_reads_back_what_was_put(self, store: ObjectStore) -> None:
        written = store.put(BUCKET, "a/b.json", b"\x00content\xff")
        data, info = store.get(BUCKET, "a/b.json")
        assert data == b"\x00content\xff"
        assert info == written == store.head(BUCKET, "a/b.json")
        assert (info.key, info.size) == ("a/b.json", 9)

    def test_empty_object_is_an_object(self, store: ObjectStore) -> None:
        store.put(BUCKET, "empty", b"")
        assert store.get(BUCKET, "empty")[0] == b""

    def test_missing_object_is_named(self, store: ObjectStore, tmp_path: Path) -> None:
        store.put(BUCKET, "there", b"1")
        for bucket, key in ((BUCKET, "absent"), ("absent-bucket", "key"), (BUCKET, "there/below")):
            with pytest.raises(ObjectNotFoundError, match=key):
                store.get(bucket, key)
            with pytest.raises(ObjectNotFoundError, match=key):
                store.download(bucket, key, tmp_path / "file")
            assert store.head(bucket, key) is None
        assert not list(tmp_path.glob("*file*"))

    def test_etag_changes_with_content_only(self, store: ObjectStore) -> None:
        first = store.put(BUCKET, "key", b"one").etag
        assert store.put(BUCKET, "key", b"two").etag != first
        assert store.put(BUCKET, "key", b"one").etag == first

    def test_put_if_absent_writes_once(self, store: ObjectStore, tmp_path: Path) -> None:
        store.put(BUCKET, "once", b"first", if_none_match=True)
        with pytest.raises(PreconditionFailedError):
            store.put(BUCKET, "once", b"second", if_none_match=True)
        (tmp_path / "file").write_bytes(b"third")
        with pytest.raises(PreconditionFailedError):
            store.upload(BUCKET, "once", tmp_path / "file", if_none_match=True)
        assert store.get(BUCKET, "once")[0] == b"first"

    def test_put_if_match_needs_the_current_etag(self, store: ObjectStore) -> None:
        first = store.put(BUCKET, "pointer", b"1")
        second = store.put(BUCKET, "pointer", b"2", if_match=first.etag)
        with pytest.raises(PreconditionFailedError):
            store.put(BUCKET, "pointer", b"3", if_match=first.etag)
        assert store.get(BUCKET, "pointer") == (b"2", second)

    def test_put_if_match_does_not_create(self, store: ObjectStore) -> None:
        etag = store.put(BUCKET, "other", b"1").etag
        with pytest.raises(PreconditionFailedError):
            store.put(BUCKET, "absent", b"1", if_match=etag)
        assert store.head(BUCKET, "absent") is None

    def test_files_travel_whole_and_verified(self, store: ObjectStore, tmp_path: Path) -> None:
        content = bytes(range(256)) * 20_000
        (tmp_path / "source").write_bytes(content)
        info = store.upload(BUCKET, "large", tmp_path / "source")
        assert info.size == len(content)
        assert store.head(BUCKET, "large") == info
        store.download(BUCKET, "large", tmp_path / "copy", sha256=hashlib.sha256(content).hexdigest())
        assert (tmp_path / "copy").read_bytes() == content

    def test_wrong_checksum_leaves_no_file(self, store: ObjectStore, tmp_path: Path) -> None:
        store.put(BUCKET, "data", b"changed")
        with pytest.raises(ChecksumMismatchError, match="data"):
            store.download(BUCKET, "data", tmp_path / "copy", sha256=hashlib.sha256(b"data").hexdigest())
        assert list(tmp_path.iterdir()) == []

    def test_failed_download_keeps_the_older_file(self, store: ObjectStore, tmp_path: Path) -> None:
        store.put(BUCKET, "data", b"new")
        (tmp_path / "copy").write_bytes(b"old")
        with pytest.raises(ChecksumMismatchError):
            store.download(BUCKET, "data", tmp_path / "copy", sha256="0" * 64)
        assert (tmp_path / "copy").read_bytes() == b"old"

    def test_upload_of_a_missing_file_names_it(self, store: ObjectStore, tmp_path: Path) -> None:
        with pytest.raises(BadInputError, match="absent"):
            store.upload(BUCKET, "key", tmp_path / "absent.csv")
        assert store.head(BUCKET, "key") is None

    def test_copy_replaces_the_target(self, store: ObjectStore) -> None:
        store.put(BUCKET, "hash/data", b"content")
        store.put(BUCKET, "data", b"older")
        assert store.copy(BUCKET, "hash/data", "data").size == 7
        assert store.get(BUCKET, "data")[0] == store.get(BUCKET, "hash/data")[0] == b"content"
        with pytest.raises(ObjectNotFoundError, match="absent"):
            store.copy(BUCKET, "absent", "data")

    def test_lists_keys_in_order_below_a_prefix(self, store: ObjectStore) -> None:
        for key in ("b/2", "b/1", "a", "b-x", "c/d/e"):
            store.put(BUCKET, key, key.encode())
        assert [info.key for info in store.list(BUCKET)] == ["a", "b-x", "b/1", "b/2", "c/d/e"]
        assert [info.key for info in store.list(BUCKET, "b/")] == ["b/1", "b/2"]
        assert next(store.list(BUCKET, "c/")) == store.head(BUCKET, "c/d/e")
        assert list(store.list("absent-bucket")) == []

    def test_pages_hold_every_object_once(self, store: ObjectStore) -> None:
        keys = {"b/2", "b/1", "b-x", "c/d/e", "other"}
        for key in keys:
            store.put(BUCKET, key, key.encode())
        page, after = store.page(BUCKET, limit=2)
        pages = [page]
        while after:
            page, after = store.page(BUCKET, after=after, limit=2)
            pages.append(page)
        assert [len(page) for page in pages] == [2, 2, 1]
        assert {info for page in pages for info in page} == set(store.list(BUCKET))
        assert [info.key for info in store.page(BUCKET, "b/", limit=1)[0]] == ["b/1"]
        assert store.page(BUCKET, "b/", limit=2)[1] == ""
        assert store.page("absent-bucket") == ([], "")

    def test_delete_is_repeatable(self, store: ObjectStore) -> None:
        store.put(BUCKET, "key", b"1")
        store.delete(BUCKET, "key")
        store.delete(BUCKET, "key")
        assert store.head(BUCKET, "key") is None
        assert list(store.list(BUCKET)) == []

    @pytest.mark.parametrize(
        "key", ["", "/", "/a", "a/", "a//b", "../a", "a/../b", ".", "a\nb", "a\x00b", "a\\b", "a" * 1025]
    )
    def test_keys_outside_the_rules_are_refused(self, store: ObjectStore, key: str) -> None:
        with pytest.raises(BadInputError, match="key"):
            store.put(BUCKET, key, b"1")
        with pytest.raises(BadInputError, match="key"):
            store.get(BUCKET, key)

    @pytest.mark.parametrize("bucket", ["", "ab", "Upper", "with/slash", "..", ".tmp", "under_score", "b" * 64])
    def test_buckets_outside_the_rules_are_refused(self, store: ObjectStore, bucket: str) -> None:
        with pytest.raises(BadInputError, match="bucket"):
            store.put(bucket, "key", b"1")

    def test_keys_may_hold_any_script_and_spaces(self, store: ObjectStore) -> None:
        key = "Poble Sec/größe+%20?#&=é/当前.json"
        store.put(BUCKET, key, b"1")
        assert [info.key for info in store.list(BUCKET, "Poble Sec/")] == [key]

    @pytest.mark.slow
    def test_eight_processes_lose_no_update(self, store: ObjectStore, url: str) -> None:
        store.put(BUCKET, "counter", b"0")
        with _pool() as pool:
            pool.starmap(_add_by_compare_and_swap, [(url, 10)] * PROCESSES)
        assert store.get(BUCKET, "counter")[0] == b"80"

    @pytest.mark.slow
    def test_one_of_eight_processes_claims_a_key(self, store: ObjectStore, url: str) -> None:
        keys = [f"claims/{number}" for number in range(20)]
        with _pool() as pool:
            won = pool.starmap(_claim, [(url, key, owner) for key in keys for owner in range(PROCESSES)], chunksize=1)
        assert sum(won) == len(keys)
        for index, key in enumerate(keys):
            owners = [owner for owner in range(PROCESSES) if won[index * PROCESSES + owner]]
            assert store.get(BUCKET, key)[0] == json.dumps(owners[0]).encode()

    @pytest.mark.slow
    def test_readers_never_see_a_torn_object(self, store: ObjectStore, url: str) -> None:
        store.put(BUCKET, "torn", b"x" * 300_000)
        with _pool() as pool:
            writers = pool.starmap_async(_rewrite, [(url, 30, letter) for letter in "abcd"])
            reads = 0
            while not writers.ready() or reads == 0:
                data, info = store.get(BUCKET, "torn")
                assert len(data) == info.size == 300_000
                assert len(set(data)) == 1
                reads += 1
            writers.get()
