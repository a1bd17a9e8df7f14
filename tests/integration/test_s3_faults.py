"""The S3 store ends right while the service fails: errors, resets, lost answers, silence, downloads cut short."""

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import boto3
import pytest

from flts.errors import BadInputError, ObjectNotFoundError, PreconditionFailedError, ServiceUnavailableError
from flts.store import open_store
from flts.store.s3 import S3Store
from tests.support import faults
from tests.support.services import S3
from tests.support.waiting import wait_until

BUCKET = "fault-bucket"
UPLOAD = """
import pathlib, signal, sys
from flts.store import open_store
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
print("begun", flush=True)
open_store("s3://").upload("fault-bucket", "stopped", pathlib.Path(sys.argv[1]))
"""

Spoil = Callable[[faults.Plan], faults.Proxy]


@pytest.fixture
def store(s3_environ: S3) -> S3Store:
    """A store that nothing spoils."""
    store = open_store("s3://")
    store.put(BUCKET, "there", b"content")
    assert isinstance(store, S3Store)
    return store


@pytest.fixture
def spoil(s3_environ: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[Spoil]:
    """Have stores that are opened from now on meet the faults of a plan, and wait for a second at most."""
    monkeypatch.setenv("FLTS_S3_TIMEOUT", "1")
    with ExitStack() as stack:

        def begin(plan: faults.Plan) -> faults.Proxy:
            proxy = stack.enter_context(faults.proxy(s3_environ.endpoint, plan))
            monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.url)
            return proxy

        yield begin


@pytest.fixture
def few_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up sooner, where all attempts fail alike."""
    monkeypatch.setattr("flts.boundary.retries._ATTEMPTS", 3)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A file of many parts."""
    path = tmp_path / "large"
    path.write_bytes(bytes(range(256)) * (40 << 12) + b"end")
    return path


@pytest.mark.slow
def test_every_operation_ends_right_while_a_fifth_of_the_requests_fail(
    store: S3Store, spoil: Spoil, large: Path, tmp_path: Path
):
    proxy = spoil(faults.at_random(0.2, seed=7))
    spoiled = open_store("s3://")
    sha256 = hashlib.sha256(large.read_bytes()).hexdigest()
    for round_ in range(5):
        key = f"round/{round_}"
        first = spoiled.put(BUCKET, key, b"first", if_none_match=True)
        assert spoiled.get(BUCKET, key) == (b"first", first)
        second = spoiled.put(BUCKET, key, b"second", if_match=first.etag)
        with pytest.raises(PreconditionFailedError):
            spoiled.put(BUCKET, key, b"third", if_match=first.etag)
        with pytest.raises(PreconditionFailedError):
            spoiled.put(BUCKET, key, b"third", if_none_match=True)
        assert spoiled.head(BUCKET, key) == second
        assert spoiled.copy(BUCKET, key, "copy").size == 6
        assert [info.key for info in spoiled.list(BUCKET, "round/")] == [f"round/{n}" for n in range(round_ + 1)]
    for number in range(2):
        info = spoiled.upload(BUCKET, f"large-{number}", large, if_none_match=True)
        copy = tmp_path / "copy"
        assert spoiled.download(BUCKET, f"large-{number}", copy, sha256=sha256) == info
        spoiled.delete(BUCKET, f"large-{number}")
        assert store.head(BUCKET, f"large-{number}") is None
    assert set(proxy.seen) == {*faults.KINDS, "none"}
    for info in store.list(BUCKET, "round/"):
        assert store.get(BUCKET, info.key)[0] == b"second"
        store.delete(BUCKET, info.key)


@pytest.mark.parametrize("fault", ["lost", "reset", "hang", "truncate", "500", "503"])
def test_claim_whose_answer_fails_is_not_reported_as_lost(store: S3Store, spoil: Spoil, fault: faults.Fault):
    proxy = spoil(faults.in_turn(fault, fault, method="PUT"))
    key = f"claims/{fault}"
    info = open_store("s3://").put(BUCKET, key, b"mine", if_none_match=True)
    assert sum(proxy.seen[kind] for kind in faults.KINDS) == 2
    assert store.get(BUCKET, key) == (b"mine", info)
    store.delete(BUCKET, key)


def test_claim_that_another_made_meanwhile_is_reported_as_lost(store: S3Store, spoil: Spoil):
    def another(method: str, path: str) -> faults.Fault | None:
        if method == "PUT" and store.head(BUCKET, "claims/race") is None:
            store.put(BUCKET, "claims/race", b"mine")  # of the same content, but not by the same writer
            return "500"
        return None

    spoil(another)
    with pytest.raises(PreconditionFailedError):
        open_store("s3://").put(BUCKET, "claims/race", b"mine", if_none_match=True)
    store.delete(BUCKET, "claims/race")


@pytest.mark.parametrize("fault", ["lost", "hang"])
def test_swap_whose_answer_is_lost_is_not_reported_as_lost(store: S3Store, spoil: Spoil, fault: faults.Fault):
    before = store.put(BUCKET, "pointer", b"before")
    spoil(faults.in_turn(fault, method="PUT"))
    after = open_store("s3://").put(BUCKET, "pointer", b"after", if_match=before.etag)
    assert store.get(BUCKET, "pointer") == (b"after", after)


@pytest.mark.parametrize("path", ["uploadId", "uploads"])
def test_claim_of_a_large_object_survives_lost_answers(store: S3Store, spoil: Spoil, large: Path, path: str):
    proxy = spoil(faults.in_turn("lost", method="POST", path=path))
    info = open_store("s3://").upload(BUCKET, "claims/large", large, if_none_match=True)
    assert proxy.seen["lost"] == 1
    assert store.head(BUCKET, "claims/large") == info
    store.delete(BUCKET, "claims/large")


@pytest.mark.slow
def test_truncated_download_is_read_again(store: S3Store, spoil: Spoil, large: Path, tmp_path: Path):
    store.upload(BUCKET, "large", large)
    proxy = spoil(faults.in_turn(*["truncate"] * 4, method="GET"))
    open_store("s3://").download(BUCKET, "large", tmp_path / "copy")
    assert proxy.seen["truncate"] == 4
    assert (tmp_path / "copy").read_bytes() == large.read_bytes()


@pytest.mark.slow
def test_download_that_is_always_truncated_leaves_no_file(
    store: S3Store, spoil: Spoil, few_attempts: None, large: Path, tmp_path: Path
):
    store.upload(BUCKET, "large", large)
    (tmp_path / "copy").write_bytes(b"old")
    spoil(lambda method, path: "truncate" if method == "GET" else None)
    with pytest.raises(ServiceUnavailableError, match="read fault-bucket/large"):
        open_store("s3://").download(BUCKET, "large", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"old"
    assert {path.name for path in tmp_path.iterdir()} == {"copy", "large"}


def test_object_that_is_replaced_while_it_is_read_is_not_mixed(
    store: S3Store, spoil: Spoil, large: Path, tmp_path: Path
):
    store.upload(BUCKET, "large", large)
    other = tmp_path / "other"
    other.write_bytes(large.read_bytes()[::-1])
    asked = []

    def replace_once(method: str, path: str) -> None:
        asked.append(path)
        if len(asked) == 2:
            store.upload(BUCKET, "large", other)

    spoil(replace_once)
    open_store("s3://").download(BUCKET, "large", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == other.read_bytes()


def test_file_that_shrinks_while_it_is_sent_leaves_nothing(store: S3Store, spoil: Spoil, tmp_path: Path):
    path = tmp_path / "shrinking"
    with path.open("wb") as file:
        file.truncate(200 << 20)

    def shrink(method: str, path_: str) -> None:
        if method == "PUT":
            os.truncate(path, 0)

    spoil(shrink)
    with pytest.raises(BadInputError, match="truncated while it was read"):
        open_store("s3://").upload(BUCKET, "shrinking", path)
    assert store.head(BUCKET, "shrinking") is None
    assert boto3.client("s3").list_multipart_uploads(Bucket=BUCKET, Prefix="shrinking").get("Uploads", []) == []


@pytest.mark.parametrize("fault", ["500", "hang"])
def test_service_that_stays_bad_is_unavailable(store: S3Store, spoil: Spoil, few_attempts: None, fault: faults.Fault):
    spoil(lambda method, path: fault)
    with pytest.raises(ServiceUnavailableError, match="fault-bucket/there"):
        open_store("s3://").get(BUCKET, "there")


def test_refusals_are_not_asked_again(store: S3Store, spoil: Spoil, monkeypatch: pytest.MonkeyPatch):
    proxy = spoil(lambda method, path: None)
    with pytest.raises(ObjectNotFoundError):
        open_store("s3://").get(BUCKET, "absent")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(BadInputError):
        open_store("s3://").head(BUCKET, "there")
    assert proxy.seen["none"] == 2


def test_upload_to_a_silent_service_ends_at_once_when_told_to(
    store: S3Store, spoil: Spoil, large: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("FLTS_S3_TIMEOUT", "30")
    proxy = spoil(lambda method, path: "hang" if method == "PUT" else None)
    with subprocess.Popen([sys.executable, "-c", UPLOAD, large], stdout=subprocess.PIPE) as process:
        wait_until(lambda: proxy.seen["hang"])
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=25) == 143  # sooner than the service's silence is over
    assert store.head(BUCKET, "stopped") is None
    assert boto3.client("s3").list_multipart_uploads(Bucket=BUCKET, Prefix="stopped").get("Uploads", []) == []
