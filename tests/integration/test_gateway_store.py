"""The store behind a gateway passes the suite, over a folder and over S3, and survives a bad network."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree

import pytest

from flts.errors import BadInputError, ServiceUnavailableError
from flts.store import open_store
from tests.support import faults
from tests.support.gateway import gateway
from tests.support.services import S3, free_ports
from tests.support.store_suite import BUCKET, StoreSuite


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(scope="module")
def running(folder: Path) -> Iterator[str]:
    with gateway(f"file://{folder}") as started:
        yield started.url


@pytest.fixture(scope="module")
def over_s3(s3: S3) -> Iterator[str]:
    with gateway("s3://", environ=s3.environ) as started:
        yield started.url


class TestGatewayOverAFolder(StoreSuite):
    @pytest.fixture
    def url(self, running: str, folder: Path) -> Iterator[str]:
        yield running
        rmtree(folder / BUCKET, ignore_errors=True)


class TestGatewayOverS3(StoreSuite):
    @pytest.fixture
    def url(self, over_s3: str, s3_environ: S3) -> Iterator[str]:
        yield over_s3
        store = open_store("s3://")
        for info in list(store.list(BUCKET)):
            store.delete(BUCKET, info.key)


@pytest.mark.slow
def test_every_update_counts_once_while_a_fifth_of_the_requests_fail(running: str):
    with faults.proxy(
        running, faults.at_random(0.2, seed=3, kinds=("500", "503", "reset", "lost", "truncate"))
    ) as proxy:
        store = open_store(proxy.url)
        etag = store.put(BUCKET, "counter", b"0").etag
        for number in range(1, 61):
            etag = store.put(BUCKET, "counter", str(number).encode(), if_match=etag).etag
        assert store.get(BUCKET, "counter")[0] == b"60"
        for number in range(20):
            store.put(BUCKET, f"claims/{number}", b"mine", if_none_match=True)  # never refused by its own first try
        assert proxy.seen["lost"] >= 3
        assert len(list(store.list(BUCKET, "claims/"))) == 20


@pytest.mark.slow
def test_large_files_arrive_whole_over_a_bad_network(running: str, tmp_path: Path):
    content = bytes(range(256)) * 20_000
    (tmp_path / "source").write_bytes(content)
    with faults.proxy(running, faults.at_random(0.3, seed=4, kinds=("503", "reset", "truncate"))) as proxy:
        store = open_store(proxy.url)
        for number in range(5):
            store.upload(BUCKET, f"large-{number}", tmp_path / "source")
            store.download(BUCKET, f"large-{number}", tmp_path / "copy")
            assert (tmp_path / "copy").read_bytes() == content
            info, pieces = store.read(BUCKET, f"large-{number}", start=1000, stop=3_000_000)
            assert b"".join(pieces) == content[1000:3_000_000]
            assert info.size == len(content)


def test_requests_carry_the_ids_of_whoever_asks(tmp_path: Path):
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    code = f"from flts.store import open_store; import sys; print(open_store(sys.argv[1]).head('{BUCKET}', 'absent'))"
    with gateway(f"file://{tmp_path}") as started:
        environ = {"FLTS_REQUEST_ID": "nightly-7", "TRACEPARENT": trace}
        subprocess.run([sys.executable, "-c", code, started.url], env=environ, check=True)
    (line,) = started.requests()  # it has ended, and said all
    assert (line["request_id"], line["trace_id"]) == ("nightly-7", trace.split("-")[1])


def test_a_gateway_that_is_not_there_is_out_of_reach(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("flts.boundary.retries._ATTEMPTS", 3)
    store = open_store(f"http://127.0.0.1:{free_ports(1)[0]}")
    with pytest.raises(ServiceUnavailableError, match="nothing listens there"):
        store.get(BUCKET, "key")


@pytest.mark.parametrize(
    "url", ["http://", "http:///path", "https://user:secret@host", "http://host?x=1", "http://host#a"]
)
def test_addresses_that_are_none_are_refused_without_their_secrets(url: str):
    with pytest.raises(BadInputError, match="not the address of a gateway") as caught:
        open_store(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(("variable", "value"), [("FLTS_GATEWAY_TOKEN", "two words"), ("FLTS_GATEWAY_TIMEOUT", "-1")])
def test_settings_that_cannot_be_are_refused_and_a_token_not_shown(monkeypatch: pytest.MonkeyPatch, variable, value):
    monkeypatch.setenv(variable, value)
    with pytest.raises(BadInputError, match=variable) as caught:
        open_store("http://127.0.0.1:1")
    assert "two words" not in str(caught.value)
