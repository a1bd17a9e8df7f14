"""The S3 store passes the suite on a real server, and keeps its promises about large objects, races and settings."""

import hashlib
import multiprocessing
import re
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from flts.contracts import Promotion
from flts.errors import BadInputError, ObjectNotFoundError, PreconditionFailedError
from flts.promotion import promote
from flts.store import open_store
from flts.store.s3 import S3Store
from tests.support.commands import run
from tests.support.memory import peak_of_copying
from tests.support.services import S3
from tests.support.store_suite import BUCKET, StoreSuite

PROMOTIONS = 50
PROCESSES = 10


@pytest.fixture
def store(s3_environ: S3) -> Iterator[S3Store]:
    """The store, emptied afterwards."""
    store = open_store("s3://")
    assert isinstance(store, S3Store)
    client = boto3.client("s3")
    assert list(store.list(BUCKET)) == []  # connects, before a test changes the settings
    yield store
    keys = [{"Key": info.key} for info in store.list(BUCKET)]
    for begin in range(0, len(keys), 1000):
        client.delete_objects(Bucket=BUCKET, Delete={"Objects": keys[begin : begin + 1000]})


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A file of three parts, the last one short."""
    path = tmp_path / "large"
    path.write_bytes(bytes(range(256)) * (20 << 12) + b"end")
    return path


@pytest.mark.every_s3_server
class TestS3Store(StoreSuite):
    @pytest.fixture
    def url(self, store: S3Store) -> str:
        return "s3://"


@pytest.mark.every_s3_server
def test_objects_of_many_parts_travel_whole(store: S3Store, large: Path, tmp_path: Path):
    sha256 = hashlib.sha256(large.read_bytes()).hexdigest()
    info = store.upload(BUCKET, "large", large)
    assert store.head(BUCKET, "large") == info
    assert info.size == large.stat().st_size
    assert store.download(BUCKET, "large", tmp_path / "copy", sha256=sha256) == info
    assert (tmp_path / "copy").read_bytes() == large.read_bytes()


@pytest.mark.every_s3_server
def test_empty_file_travels(store: S3Store, tmp_path: Path):
    (tmp_path / "empty").touch()
    store.upload(BUCKET, "empty", tmp_path / "empty")
    assert store.download(BUCKET, "empty", tmp_path / "copy").size == 0
    assert (tmp_path / "copy").read_bytes() == b""


@pytest.mark.every_s3_server
def test_large_object_is_claimed_once_and_leaves_no_parts(store: S3Store, large: Path, s3: S3):
    store.upload(BUCKET, "large", large, if_none_match=True)
    with pytest.raises(PreconditionFailedError, match="large"):
        store.upload(BUCKET, "large", large, if_none_match=True)
    assert uploads(s3) == []


@pytest.mark.every_s3_server
def test_large_object_is_copied_in_parts(store: S3Store, large: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("flts.store.s3._COPIED_PART", 8 << 20)
    store.upload(BUCKET, "large", large)
    info = store.copy(BUCKET, "large", "copy")
    assert store.head(BUCKET, "copy") == info
    assert store.get(BUCKET, "copy")[0] == large.read_bytes()


def test_lists_more_than_a_page(store: S3Store):
    client = boto3.client("s3")
    store.put(BUCKET, "many/0000", b"")
    for number in range(1, 1010):
        client.put_object(Bucket=BUCKET, Key=f"many/{number:04d}", Body=b"")
    assert [info.key for info in store.list(BUCKET, "many/")] == [f"many/{number:04d}" for number in range(1010)]


@pytest.mark.slow
def test_memory_stays_bounded(store: S3Store, s3: S3, tmp_path: Path):
    assert peak_of_copying(400 << 20, BUCKET, tmp_path) < 200
    assert (tmp_path / "copy").stat().st_size == 400 << 20


def promotion(minute: int) -> Promotion:
    moment = f"2025-01-31T12:{minute:02d}:00.000000Z"
    scores = dict.fromkeys(("composite_score", "test_rmse", "test_mae", "test_mse", "rmse", "mae", "mse", "score"), 0.1)
    return Promotion(
        model_uri=f"runs:/run-{minute}/GRU",
        model_type="GRU",
        run_id=f"run-{minute}",
        config_hash="c0ffee",
        promotion_time=moment,
        identifier="run-001",
        experiment="flts",
        timestamp=moment,
        **scores,
    )


def _promote(minutes, barrier):
    store = open_store("s3://")
    barrier.wait()
    for minute in minutes:
        promote(store, promotion(minute), [f"run-{minute}"], BUCKET)


@pytest.mark.slow
def test_fifty_promotions_at_once_lose_no_history_and_end_at_the_latest(store: S3Store):
    minutes = [(7 * step + 11) % PROMOTIONS for step in range(PROMOTIONS)]  # each once, up and down
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(PROCESSES)
    processes = [
        context.Process(target=_promote, args=(minutes[part::PROCESSES], barrier)) for part in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * PROCESSES
    for key in ("current.json", "run-001/current.json", "run-001/c0ffee/current.json"):
        assert Promotion.parse(store.get(BUCKET, key)[0], source=key) == promotion(PROMOTIONS - 1)
    history = [info.key for info in store.list(BUCKET, "run-001/c0ffee/promotion-")]
    assert len(history) == PROMOTIONS
    assert len({store.get(BUCKET, key)[0] for key in history}) == PROMOTIONS


@pytest.mark.every_s3_server
@pytest.mark.parametrize("name", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_wrong_key_is_one_sentence_without_it(store: S3Store, name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(name, "AKIA-not-the-right-one")
    wrong = open_store("s3://")
    for call in (
        lambda: wrong.get(BUCKET, "key"),
        lambda: wrong.head(BUCKET, "key"),
        lambda: wrong.put(BUCKET, "key", b"1"),
        lambda: list(wrong.list(BUCKET)),
    ):
        with pytest.raises(BadInputError, match="refused the credentials") as raised:
            call()
        assert not isinstance(raised.value, ObjectNotFoundError)
        assert "AKIA" not in str(raised.value)
        assert "\n" not in str(raised.value)


@pytest.mark.every_s3_server
def test_command_with_a_wrong_key_ends_with_one_sentence(store: S3Store, s3: S3, tmp_path: Path):
    environ = s3.environ | {"AWS_SECRET_ACCESS_KEY": "not-the-right-one", "USE_KFP": "2", "GATEWAY_URL": "s3://"}
    ended = run(tmp_path, "flts-preprocess", "--dataset-name", "X", "--output-dir", "out", **environ)
    assert ended.code == 2
    assert "refused the credentials" in ended.error()
    assert "not-the-right-one" not in ended.stderr
    assert not list(tmp_path.iterdir())


def test_keys_may_come_from_a_file(store: S3Store, s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in s3.environ:
        monkeypatch.delenv(name)
    (tmp_path / "credentials").write_text(
        f"[default]\naws_access_key_id = {s3.access_key}\naws_secret_access_key = {s3.secret_key}\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.endpoint)
    open_store("s3://").put(BUCKET, "key", b"1")
    assert store.get(BUCKET, "key")[0] == b"1"


def test_no_keys_at_all_is_one_sentence(s3_environ: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(BadInputError, match="AWS_ACCESS_KEY_ID"):
        open_store("s3://").get(BUCKET, "key")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_ENDPOINT_URL_S3", "nonsense"),
        ("AWS_PROFILE", "nobody"),
        ("FLTS_S3_TIMEOUT", "soon"),
        ("FLTS_S3_TIMEOUT", "-1"),
        ("FLTS_S3_TIMEOUT", "nan"),
    ],
)
def test_wrong_setting_is_one_sentence(s3_environ: S3, name: str, value: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(name, value)
    with pytest.raises(BadInputError, match=f"{value}|{value!r}"):
        open_store("s3://").get(BUCKET, "key")


@pytest.mark.every_s3_server
def test_services_without_checksums_may_be_used(store: S3Store, large: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")
    monkeypatch.setenv("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_required")
    plain = open_store("s3://")
    plain.upload(BUCKET, "large", large)
    assert plain.get(BUCKET, "large")[0] == large.read_bytes()


@pytest.mark.every_s3_server
def test_the_check_of_a_service_in_the_docs_passes_here(s3_environ: S3, root: Path, capsys: pytest.CaptureFixture[str]):
    (code,) = re.findall(r"```python\n(.*?)```", (root / "docs" / "stores.md").read_text(), re.DOTALL)
    exec(code)  # noqa: S102
    assert capsys.readouterr().out.split() == ["refused", "refused"]


@pytest.mark.parametrize("url", ["s3://bucket", "s3://bucket/key", "s3:///", "s3:", "S3://"])
def test_address_that_names_more_than_the_service_is_refused(url: str):
    with pytest.raises(BadInputError, match="gateway_url"):
        open_store(url)


def uploads(s3: S3) -> list[object]:
    """Uploads that were begun and neither completed nor aborted."""
    found: list[object] = boto3.client("s3").list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])
    return found
