"""What the S3 store sends: seen by a proxy in front of the server."""

import json
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from flts.errors import RefusedError
from flts.store import ObjectStore, open_store
from tests.support import faults
from tests.support.services import S3

BUCKET = "wire-bucket"
MIB = 1 << 20


@pytest.fixture
def wire(s3_environ: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[faults.Proxy]:
    """A proxy that spoils nothing; stores that are opened from now on go through it."""
    open_store("s3://").put(BUCKET, "first", b"makes the bucket")
    with faults.proxy(s3_environ.endpoint, lambda _method, _path: None) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.url)
        yield proxy


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A file of three parts."""
    path = tmp_path / "large"
    path.write_bytes(bytes(range(256)) * (20 << 12))
    return path


@pytest.mark.every_s3_server
def test_a_copy_in_parts_names_no_checksum(wire: faults.Proxy, large: Path, monkeypatch: pytest.MonkeyPatch):
    """MinIO and versitygw refuse parts that are copied into an upload that was begun with an algorithm."""
    monkeypatch.setattr("flts.store.s3._COPIED_PART", 8 * MIB)
    store = open_store("s3://")
    store.upload(BUCKET, "large", large)
    wire.requests.clear()

    store.copy(BUCKET, "large", "copy")

    (begun,) = wire.asked("POST", "/copy?uploads")
    parts = wire.asked("PUT", "partNumber=")
    (completed,) = wire.asked("POST", "/copy?uploadId")
    assert len(parts) == 3
    assert all("x-amz-copy-source-range" in part.headers for part in parts)
    for request in (begun, *parts, completed):
        assert not [name for name in request.headers if "checksum-algorithm" in name]
    assert store.get(BUCKET, "copy")[0] == large.read_bytes()


@pytest.mark.every_s3_server
def test_parts_of_an_upload_have_checksums(wire: faults.Proxy, large: Path):
    open_store("s3://").upload(BUCKET, "large", large)

    (begun,) = wire.asked("POST", "/large?uploads")
    assert begun.headers["x-amz-checksum-algorithm"] == "CRC32"
    parts = wire.asked("PUT", "partNumber=")
    assert len(parts) == 3
    assert all("x-amz-checksum-crc32" in {*part.headers, part.headers.get("x-amz-trailer")} for part in parts)


def write_in_every_way(store: ObjectStore, large: Path) -> set[str]:
    """Write objects by each method of the store, whole and in parts, and return their keys."""
    etag = store.put(BUCKET, "put", b"1").etag
    store.put(BUCKET, "put", b"2", if_match=etag)
    store.upload(BUCKET, "uploaded", large)
    store.write(BUCKET, "written", iter([b"piece"]))
    store.write(BUCKET, "written-in-parts", iter([large.read_bytes()]))
    store.copy(BUCKET, "put", "copied")
    store.copy(BUCKET, "uploaded", "copied-in-parts")
    return {"put", "uploaded", "written", "written-in-parts", "copied", "copied-in-parts"}


@pytest.mark.parametrize("s3", ["moto"], indirect=True)  # has a key of any name
@pytest.mark.parametrize(("sse", "key"), [("AES256", ""), ("aws:kms", ""), ("aws:kms", "some-key"), ("", "")])
def test_every_write_asks_for_the_encryption_that_is_set(
    wire: faults.Proxy, large: Path, monkeypatch: pytest.MonkeyPatch, sse: str, key: str
):
    monkeypatch.setattr("flts.store.s3._COPIED_PART", 8 * MIB)
    for name, value in (("FLTS_S3_SSE", sse), ("FLTS_S3_SSE_KMS_KEY_ID", key)):
        monkeypatch.setenv(name, value)

    keys = write_in_every_way(open_store("s3://"), large)

    seen = set()
    for request in wire.requests:
        path, _, query = request.path.partition("?")
        goes_on = "partNumber=" in query or "uploadId=" in query
        if request.method in ("PUT", "POST") and not goes_on and path != f"/{BUCKET}":
            seen.add(path.removeprefix(f"/{BUCKET}/"))
            assert request.headers.get("x-amz-server-side-encryption", "") == sse, request
            assert request.headers.get("x-amz-server-side-encryption-aws-kms-key-id", "") == key, request
    assert seen == keys


@pytest.mark.every_s3_server
def test_objects_are_encrypted_as_asked(wire: faults.Proxy, large: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("flts.store.s3._COPIED_PART", 8 * MIB)
    monkeypatch.setenv("FLTS_S3_SSE", "AES256")
    client = boto3.client("s3")
    for key in write_in_every_way(open_store("s3://"), large):
        assert client.head_object(Bucket=BUCKET, Key=key).get("ServerSideEncryption") == "AES256", key


def test_a_bucket_that_demands_encryption_takes_what_is_written(s3_environ: S3, monkeypatch: pytest.MonkeyPatch):
    bucket = "encrypted-only"
    client = boto3.client("s3")
    client.create_bucket(Bucket=bucket)
    statement = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:PutObject",
        "Resource": f"arn:aws:s3:::{bucket}/*",
        "Condition": {"StringNotEquals": {"s3:x-amz-server-side-encryption": "AES256"}},
    }
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    client.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy))

    with pytest.raises(RefusedError, match="or they lack the permission"):
        open_store("s3://").put(bucket, "key", b"1")
    monkeypatch.setenv("FLTS_S3_SSE", "AES256")
    open_store("s3://").put(bucket, "key", b"1")
