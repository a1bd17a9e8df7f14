"""Why S3 cannot be used is told as what it is, and what no waiting mends is told at once."""

import datetime
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flts.errors import RefusedError, ServiceUnavailableError
from flts.store import open_store
from scripts.services import seaweedfs
from tests.support import faults
from tests.support.commands import run
from tests.support.services import S3, free_ports
from tests.support.tls import certificate

BUCKET = "ways-bucket"


@pytest.fixture(scope="module")
def over_tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """A server that speaks TLS, with a certificate for 127.0.0.1 that only its own file vouches for."""
    folder = tmp_path_factory.mktemp("tls")
    with seaweedfs(folder / "s3", certificate(folder, "s3")) as s3:
        yield s3


@pytest.fixture
def tls(s3_environ: S3, over_tls: S3, monkeypatch: pytest.MonkeyPatch) -> S3:
    """The same, named by the environment."""
    monkeypatch.setenv("FLTS_S3_ENDPOINT_URL", over_tls.endpoint)
    monkeypatch.setenv("FLTS_S3_CA_BUNDLE", over_tls.ca_bundle)
    return over_tls


def refusal() -> str:
    """Return the sentence with which a read is refused, as a look is, both at once."""
    begun = time.monotonic()
    with pytest.raises(RefusedError) as of_read:
        open_store("s3://", wait=True).get(BUCKET, "key")
    with pytest.raises(RefusedError):
        open_store("s3://", wait=True).head(BUCKET, "key")
    assert time.monotonic() - begun < 60  # of 120 each
    return str(of_read.value)


def test_a_certificate_of_ones_own_is_trusted(tls: S3):
    store = open_store("s3://")
    store.put(BUCKET, "key", b"1")
    assert store.get(BUCKET, "key")[0] == b"1"


def test_a_certificate_that_nobody_vouches_for(tls: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FLTS_S3_CA_BUNDLE", str(certificate(tmp_path, "other")[0]))
    sentence = refusal()
    assert "its certificate is not trusted" in sentence
    assert "FLTS_S3_CA_BUNDLE" in sentence


def test_a_certificate_for_another_name(tls: S3, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FLTS_S3_ENDPOINT_URL", tls.endpoint.replace("127.0.0.1", "localhost"))
    assert "its certificate is for another name" in refusal()


def test_a_plain_request_to_a_server_of_tls(tls: S3, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FLTS_S3_ENDPOINT_URL", tls.endpoint.replace("https", "http"))
    assert "it speaks TLS there: https:// is meant, not http:// (see FLTS_S3_ENDPOINT_URL)" in refusal()


def test_tls_to_a_plain_server(s3_environ: S3, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_environ.endpoint.replace("http", "https"))
    assert "does not speak TLS there: http:// is meant, not https:// (see AWS_ENDPOINT_URL_S3)" in refusal()


@pytest.mark.parametrize("variable", ["FLTS_S3_CA_BUNDLE", "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
def test_a_file_of_certificates_that_is_not_there_or_holds_none(
    tls: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
):
    monkeypatch.delenv("FLTS_S3_CA_BUNDLE")
    path = tmp_path / "ca.pem"
    monkeypatch.setenv(variable, str(path))
    assert refusal() == f"{variable} {str(path)!r} cannot be read: no such file or directory"
    path.write_text("nothing of the kind")
    assert refusal() == f"{variable} {str(path)!r} is not a file of PEM certificates"


@pytest.mark.parametrize(
    ("address", "reason"),
    [("http://127.0.0.1:{port}", "nothing listens there"), ("http://s3.invalid:9000", "its name is not known here")],
)
def test_a_server_that_is_not_there_is_waited_for_and_told(s3_environ: S3, tmp_path: Path, address: str, reason: str):
    address = address.format(port=free_ports(1)[0])
    environ = s3_environ.environ | {"FLTS_S3_ENDPOINT_URL": address, "FLTS_PATIENCE_SECONDS": "3"}
    begun = time.monotonic()
    ended = run(
        tmp_path,
        "flts-preprocess",
        "--dataset-name",
        "X",
        "--output-dir",
        "out",
        USE_KFP="2",
        GATEWAY_URL="s3://",
        **environ,
    )
    assert time.monotonic() - begun > 3
    assert ended.code == 3
    waiting, told = ended.stderr.splitlines()
    assert waiting == f"warning: flts: waiting, 3 s at most: S3 at {address} cannot be reached: {reason}"
    assert told.startswith(f"flts-preprocess: S3 at {address} cannot be reached to ")
    assert told.endswith(reason)


def test_a_stage_waits_for_longer_than_a_server_would(s3_environ: S3, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("flts.boundary.retries._ATTEMPTS", 2)
    with faults.proxy(s3_environ.endpoint, faults.in_turn(*["503"] * 3, method="PUT")) as proxy:
        monkeypatch.setenv("FLTS_S3_ENDPOINT_URL", proxy.url)
        with pytest.raises(ServiceUnavailableError, match="it answers with 503"):
            open_store("s3://").put(BUCKET, "late", b"1")
    with faults.proxy(s3_environ.endpoint, faults.in_turn(*["503"] * 3, method="PUT")) as proxy:
        monkeypatch.setenv("FLTS_S3_ENDPOINT_URL", proxy.url)
        open_store("s3://", wait=True).put(BUCKET, "late", b"1")


@pytest.mark.parametrize("minutes", [-20, 20])
def test_a_clock_that_is_wrong_is_told_as_that(s3_environ: S3, monkeypatch: pytest.MonkeyPatch, minutes: int):
    def now(*_: object, **__: object) -> datetime.datetime:
        return datetime.datetime.now(datetime.UTC).replace(tzinfo=None) + datetime.timedelta(minutes=minutes)

    monkeypatch.setattr("botocore.auth.get_current_datetime", now)
    clock = time.time
    monkeypatch.setattr("flts.store.s3_errors.time.time", lambda: clock() + minutes * 60)
    for ask in (
        lambda: open_store("s3://").get(BUCKET, "key"),
        lambda: open_store("s3://").head(BUCKET, "key"),
        lambda: open_store("s3://").put(BUCKET, "key", b"1"),
    ):
        with pytest.raises(RefusedError, match="this machine's clock is too far from its own") as raised:
            ask()
        assert f"20 minutes {'ahead' if minutes > 0 else 'behind'}" in str(raised.value)
        assert "credentials" not in str(raised.value)


UNKNOWN_USER = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>XAdminUserNotFound</Code><Message>No user exists with the '
    b"provided access key ID.</Message><Resource></Resource><RequestId></RequestId><HostId></HostId></Error>"
)


@pytest.fixture
def versitygw(s3_environ: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What versitygw, which no package brings, answers to keys that it does not know."""
    head = f"HTTP/1.1 404 Not Found\r\nContent-Type: application/xml\r\nContent-Length: {len(UNKNOWN_USER)}\r\n\r\n"
    with faults.proxy(s3_environ.endpoint, lambda _method, _path: head.encode() + UNKNOWN_USER) as proxy:
        monkeypatch.setenv("FLTS_S3_ENDPOINT_URL", proxy.url)
        yield


def test_a_user_whom_the_service_does_not_know_is_no_missing_object(versitygw: None):
    for ask in (
        lambda: open_store("s3://").get(BUCKET, "key"),
        lambda: open_store("s3://").head(BUCKET, "key"),
        lambda: open_store("s3://").put(BUCKET, "key", b"1"),
        lambda: list(open_store("s3://").list(BUCKET)),
    ):
        with pytest.raises(RefusedError, match=r"refused the credentials \(AWS_ACCESS_KEY_ID\).*XAdminUserNotFound"):
            ask()


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (400, "ExpiredToken", "refused the credentials"),
        (400, "AuthorizationHeaderMalformed", "refused the credentials"),
        (403, "InvalidAccessKeyId", "refused the credentials"),
        (403, "RequestTimeTooSkewed", "clock is too far from its own"),
    ],
)
def test_answers_about_who_asks_are_told_as_those(
    s3_environ: S3, monkeypatch: pytest.MonkeyPatch, status: int, code: str, words: str
):
    """As AWS words them."""
    body = f"<Error><Code>{code}</Code><Message>a message that quotes the key</Message></Error>"
    answer = f"HTTP/1.1 {status} No\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    with faults.proxy(s3_environ.endpoint, lambda _method, _path: answer.encode()) as proxy:
        monkeypatch.setenv("FLTS_S3_ENDPOINT_URL", proxy.url)
        with pytest.raises(RefusedError, match=words) as raised:
            open_store("s3://").put(BUCKET, "key", b"1")
    assert code in str(raised.value)
    assert "quotes" not in str(raised.value)
