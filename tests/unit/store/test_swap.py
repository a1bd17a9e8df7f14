"""Compare-and-swap: every change counts, and an object that never settles is an error of the service."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from flts.errors import PreconditionFailedError, ServiceUnavailableError
from flts.store import ObjectInfo
from flts.store.file import FileStore
from flts.store.swap import ATTEMPTS, Found, get_or_none, put_if_unchanged, put_once, swap

PLACE = ("bucket", "key")


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path)


class ContendedStore(FileStore):
    """A store in which another process is always faster."""

    writes = 0

    def put(self, *_args: Any, **_options: Any) -> ObjectInfo:
        self.writes += 1
        raise PreconditionFailedError("changed")


@pytest.fixture
def contended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ContendedStore:
    monkeypatch.setattr("flts.store.swap.time.sleep", lambda _: None)
    return ContendedStore(tmp_path)


def increment(found: Found) -> bytes:
    return str(int(found[0]) + 1 if found else 1).encode()


def test_a_missing_object_is_none(store: FileStore) -> None:
    assert get_or_none(store, *PLACE) is None
    store.put(*PLACE, b"1")
    found = get_or_none(store, *PLACE)
    assert found is not None
    assert found[0] == b"1"


def test_an_object_is_written_while_it_has_the_etag(store: FileStore) -> None:
    first = put_if_unchanged(store, *PLACE, b"1", None)
    assert first
    assert put_if_unchanged(store, *PLACE, b"other", None) is None
    second = put_if_unchanged(store, *PLACE, b"2", first)
    assert second
    assert second != first
    assert put_if_unchanged(store, *PLACE, b"other", first) is None
    assert store.get(*PLACE)[0] == b"2"


def test_an_object_that_exists_is_not_written_again(store: FileStore) -> None:
    assert put_once(store, *PLACE, b"first") == (b"first", False)
    assert put_once(store, *PLACE, b"second") == (b"first", True)


def test_an_object_that_is_deleted_meanwhile_is_written(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put(*PLACE, b"first")
    get = FileStore.get

    def get_late(self: FileStore, bucket: str, key: str) -> tuple[bytes, ObjectInfo]:
        self.delete(bucket, key)
        return get(self, bucket, key)

    monkeypatch.setattr(FileStore, "get", get_late)
    assert put_once(store, *PLACE, b"second") == (b"second", False)


def test_no_change_of_many_threads_is_lost(store: FileStore) -> None:
    threads, each = 8, 10
    with ThreadPoolExecutor(threads) as pool:
        for done in [
            pool.submit(lambda: [swap(store, *PLACE, increment) for _ in range(each)]) for _ in range(threads)
        ]:
            done.result()
    assert store.get(*PLACE)[0] == str(threads * each).encode()


def test_none_leaves_the_object_as_it_is(store: FileStore) -> None:
    info = store.put(*PLACE, json.dumps({"a": 1}).encode())
    swap(store, *PLACE, lambda _: None)
    assert store.head(*PLACE) == info


def test_a_change_is_asked_again_with_the_new_content(store: FileStore) -> None:
    seen = []

    def change(found: Found) -> bytes:
        seen.append(found[0] if found else None)
        if len(seen) == 1:  # another process is faster
            store.put(*PLACE, b"theirs")
        return b"ours"

    swap(store, *PLACE, change)
    assert seen == [None, b"theirs"]
    assert store.get(*PLACE)[0] == b"ours"


@pytest.mark.parametrize(
    "write", [lambda store: swap(store, *PLACE, increment), lambda store: put_once(store, *PLACE, b"1")]
)
def test_an_object_that_never_settles_is_an_error_of_the_service(
    contended: ContendedStore, write: Callable[[FileStore], object]
) -> None:
    with pytest.raises(ServiceUnavailableError, match=r"^bucket/key changed during each of 100 attempts to write it$"):
        write(contended)
    assert contended.writes == ATTEMPTS


def test_pauses_grow_and_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("flts.store.swap.time.sleep", pauses.append)
    with pytest.raises(ServiceUnavailableError):
        swap(ContendedStore(tmp_path), *PLACE, increment)
    assert pauses[0] <= 0.005
    assert 0.2 < sum(pauses[10:]) / len(pauses[10:]) < 0.8, "half of a second on average"
    assert max(pauses) <= 1
    assert len(set(pauses)) == len(pauses)
