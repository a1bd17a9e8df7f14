"""A gateway whose store refuses it: no fault of whoever asks, and no readiness."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from scripts.services import READER, seaweedfs
from tests.support.gateway import gateway
from tests.support.services import S3


@pytest.mark.parametrize(
    "keys", [{"AWS_SECRET_ACCESS_KEY": "wrong-wrong-wrong"}, {"AWS_ACCESS_KEY_ID": "nobody-nobody"}]
)
def test_a_store_that_refuses_the_gateways_keys_is_no_fault_of_the_request(s3: S3, keys: dict[str, str]):
    with gateway("s3://", environ=s3.environ | keys) as running:
        for answer in (
            httpx.get(f"{running.url}/download/some-bucket/key", timeout=60),
            httpx.head(f"{running.url}/download/some-bucket/key", timeout=60),
            httpx.post(f"{running.url}/upload/some-bucket/key", content=b"1", timeout=60),
            httpx.get(f"{running.url}/objects/some-bucket", timeout=60),
        ):
            assert answer.status_code == 502
            assert answer.request.method == "HEAD" or "refused the credentials" in answer.json()["detail"]
        assert httpx.get(f"{running.url}/ready", timeout=60).status_code == 503
        assert "flts_store_errors_total 4.0" in httpx.get(f"{running.url}/metrics").text
        for value in keys.values():
            assert value not in "".join(running.lines)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """A server that has a user who may only read, and an object."""
    with seaweedfs(tmp_path_factory.mktemp("guarded")) as s3:
        s3.client().create_bucket(Bucket="only-read")
        s3.client().put_object(Bucket="only-read", Key="key", Body=b"1")
        yield s3


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--buckets", "only-read")], ids=["every-bucket", "one-bucket"])
def test_a_gateway_that_may_only_read_is_not_ready(guarded: S3, options: tuple[str, ...]):
    reader = {"AWS_ACCESS_KEY_ID": READER["accessKey"], "AWS_SECRET_ACCESS_KEY": READER["secretKey"]}
    with gateway("s3://", *options, environ=guarded.environ | reader) as running:
        assert httpx.get(f"{running.url}/download/only-read/key", timeout=60).content == b"1"
        assert httpx.post(f"{running.url}/upload/only-read/key", content=b"2", timeout=60).status_code == 502
        ready = httpx.get(f"{running.url}/ready", timeout=60)
        assert ready.status_code == 503
        assert "refused the credentials" in ready.json()["detail"]


@pytest.mark.parametrize("options", [(), ("--buckets", "only-read,absent")], ids=["every-bucket", "some-buckets"])
def test_to_find_out_whether_it_may_write_a_gateway_writes_nothing(guarded: S3, options: tuple[str, ...]):
    with gateway("s3://", *options, environ=guarded.environ) as running:
        assert httpx.get(f"{running.url}/ready", timeout=60).status_code == 200
    client = guarded.client()
    assert "flts-ready" not in {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
    assert [found["Key"] for found in client.list_objects_v2(Bucket="only-read")["Contents"]] == ["key"]


def test_a_store_on_a_disk_that_cannot_be_written_is_not_ready(tmp_path: Path):
    (tmp_path / "no-folder").write_text("")
    with gateway(f"file://{tmp_path}/no-folder") as running:
        assert httpx.get(f"{running.url}/ready", timeout=60).status_code == 503


@pytest.mark.slow
@pytest.mark.parametrize(
    "wrong",
    [
        {"FLTS_S3_ENDPOINT_URL": "https://{address}"},
        {"FLTS_S3_ENDPOINT_URL": "nonsense"},
        {"FLTS_S3_ENDPOINT_URL": "https://{address}", "FLTS_S3_CA_BUNDLE": "/not/there"},
    ],
    ids=["no-tls-there", "no-address", "no-certificates"],
)
def test_settings_of_the_store_that_are_wrong_are_no_fault_of_the_request(s3: S3, wrong: dict[str, str]):
    address = s3.endpoint.removeprefix("http://")
    with gateway("s3://", environ=s3.environ | {n: v.format(address=address) for n, v in wrong.items()}) as running:
        answer = httpx.get(f"{running.url}/download/some-bucket/key", timeout=60)
        assert answer.status_code == 502
        assert "FLTS_S3_" in answer.json()["detail"]
