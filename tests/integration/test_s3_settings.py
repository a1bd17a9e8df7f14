"""Where S3 is and who asks there: ``FLTS_S3_*`` before the AWS variables and files, and wrong ones in one sentence."""

from pathlib import Path

import pytest

from flts.errors import BadInputError
from flts.store import open_store
from flts.store.s3_settings import VARIABLES
from tests.support.services import S3

BUCKET = "settings-bucket"
NOT_THERE = "http://127.0.0.1:9"


@pytest.fixture
def named(s3_environ: S3, monkeypatch: pytest.MonkeyPatch) -> S3:
    """The server, named by FLTS' own variables, while those of AWS name nobody."""
    for name, value in (
        *(("AWS_ENDPOINT_URL_S3", NOT_THERE), ("AWS_ACCESS_KEY_ID", "wrong"), ("AWS_SECRET_ACCESS_KEY", "wrong")),
        *(("AWS_SESSION_TOKEN", "of-the-wrong-ones"), ("AWS_DEFAULT_REGION", "not a region")),
        ("FLTS_S3_ENDPOINT_URL", s3_environ.endpoint),
        ("FLTS_S3_ACCESS_KEY_ID", s3_environ.access_key),
        ("FLTS_S3_SECRET_ACCESS_KEY", s3_environ.secret_key),
        ("FLTS_S3_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    return s3_environ


def test_the_variables_of_flts_win_over_those_of_aws(named: S3):
    store = open_store("s3://")
    store.put(BUCKET, "key", b"1")
    assert store.get(BUCKET, "key")[0] == b"1"


def test_the_variables_of_flts_win_over_a_profile(named: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "config").write_text(f"[profile other]\nendpoint_url = {NOT_THERE}\naws_access_key_id = x\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "other")
    open_store("s3://").put(BUCKET, "key", b"1")


def test_those_of_aws_remain_where_flts_has_none(named: S3, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("FLTS_S3_ACCESS_KEY_ID")
    monkeypatch.delenv("FLTS_S3_SECRET_ACCESS_KEY")
    monkeypatch.setenv("FLTS_S3_SESSION_TOKEN", "")
    monkeypatch.delenv("AWS_SESSION_TOKEN")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", named.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", named.secret_key)
    open_store("s3://").put(BUCKET, "key", b"1")


@pytest.mark.parametrize("prefix", ["FLTS_S3", "AWS"])
def test_refused_keys_are_told_by_the_variable_that_holds_them(named: S3, monkeypatch: pytest.MonkeyPatch, prefix: str):
    if prefix == "AWS":
        monkeypatch.delenv("FLTS_S3_ACCESS_KEY_ID")
        monkeypatch.delenv("FLTS_S3_SECRET_ACCESS_KEY")
    else:
        monkeypatch.setenv("FLTS_S3_SECRET_ACCESS_KEY", "not-the-right-one")
    with pytest.raises(BadInputError, match=rf"refused the credentials \({prefix}_ACCESS_KEY_ID\)") as raised:
        open_store("s3://").get(BUCKET, "key")
    assert "not-the-right-one" not in str(raised.value)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"FLTS_S3_ACCESS_KEY_ID": "id"}, "FLTS_S3_ACCESS_KEY_ID is set and FLTS_S3_SECRET_ACCESS_KEY is not"),
        ({"FLTS_S3_SECRET_ACCESS_KEY": "hidden"}, "FLTS_S3_SECRET_ACCESS_KEY is set and FLTS_S3_ACCESS_KEY_ID is not"),
        ({"FLTS_S3_SESSION_TOKEN": "hidden"}, "FLTS_S3_SESSION_TOKEN is set and FLTS_S3_ACCESS_KEY_ID is not"),
        ({"FLTS_S3_ACCESS_KEY_ID": "id", "FLTS_S3_SECRET_ACCESS_KEY": "hidden\n"}, "SECRET_ACCESS_KEY has a space"),
        ({"FLTS_S3_SSE": "aes256"}, "FLTS_S3_SSE must be AES256 or aws:kms, got 'aes256'"),
        ({"FLTS_S3_SSE": "AES256", "FLTS_S3_SSE_KMS_KEY_ID": "k"}, "so FLTS_S3_SSE must be aws:kms"),
        ({"FLTS_S3_TIMEOUT": "soon"}, "FLTS_S3_TIMEOUT must be a number of seconds, got 'soon'"),
        ({"FLTS_S3_ENDPOINT_URL": "nonsense"}, "FLTS_S3_ENDPOINT_URL 'nonsense' is not an address"),
        ({"FLTS_S3_REGION": "no/region"}, "FLTS_S3_REGION 'no/region' is not a region"),
    ],
)
def test_wrong_values_are_one_sentence(monkeypatch: pytest.MonkeyPatch, values: dict[str, str], words: str):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BadInputError, match=words) as raised:
        open_store("s3://").get(BUCKET, "key")
    assert "hidden" not in str(raised.value)
    assert "\n" not in str(raised.value)
