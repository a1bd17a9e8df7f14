"""A gateway whose store refuses it: no fault of whoever asks, and no readiness."""

from pathlib import Path

import httpx
import pytest

from flts.store import open_store
from scripts.services import READER
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


def test_a_gateway_that_may_only_read_is_not_ready(s3: S3, s3_environ: S3):
    open_store("s3://").put("only-read", "key", b"1")
    reader = {"AWS_ACCESS_KEY_ID": READER["accessKey"], "AWS_SECRET_ACCESS_KEY": READER["secretKey"]}
    for options in ([], ["--buckets", "only-read"]):
        with gateway("s3://", *options, environ=s3.environ | reader) as running:
            assert httpx.get(f"{running.url}/download/only-read/key", timeout=60).content == b"1"
            assert httpx.post(f"{running.url}/upload/only-read/key", content=b"2", timeout=60).status_code == 502
            ready = httpx.get(f"{running.url}/ready", timeout=60)
            assert ready.status_code == 503
            assert "refused the credentials" in ready.json()["detail"]
    with gateway("s3://", "--buckets", "only-read", environ=s3.environ) as running:
        assert httpx.get(f"{running.url}/ready", timeout=60).status_code == 200
    assert open_store("s3://").get("only-read", "key")[0] == b"1"
    assert [info.key for info in open_store("s3://").list("only-read")] == ["key"]


def test_a_store_on_a_disk_that_cannot_be_written_is_not_ready(tmp_path: Path):
    (tmp_path / "no-folder").write_text("")
    with gateway(f"file://{tmp_path}/no-folder") as running:
        assert httpx.get(f"{running.url}/ready", timeout=60).status_code == 503
