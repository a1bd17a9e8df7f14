"""Settings of S3: which variables take effect, and which values are refused before anything is asked."""

import os
from pathlib import Path

import pytest

from flts.errors import BadInputError, RefusedError
from flts.store.s3_settings import VARIABLES, check_ca_bundle, first_set, read_settings

KEYS = {"FLTS_S3_ACCESS_KEY_ID": "AKIA", "FLTS_S3_SECRET_ACCESS_KEY": "very-secret"}


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("AWS_", "FLTS_S3_"))]:
        monkeypatch.delenv(name)


def give(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def test_nothing_set_leaves_everything_to_botocore() -> None:
    settings = read_settings()
    assert settings.client_arguments == {}
    assert settings.encryption == {}
    assert settings.timeout == 30


def test_what_is_set_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    give(
        monkeypatch,
        **KEYS,
        FLTS_S3_ENDPOINT_URL="http://store:9000",
        FLTS_S3_REGION="eu-central-1",
        FLTS_S3_SSE="aws:kms",
        FLTS_S3_SSE_KMS_KEY_ID="key",
        FLTS_S3_TIMEOUT="2.5",
    )
    settings = read_settings()
    assert settings.client_arguments == {
        "endpoint_url": "http://store:9000",
        "aws_access_key_id": "AKIA",
        "aws_secret_access_key": "very-secret",
        "region_name": "eu-central-1",
    }
    assert settings.encryption == {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "key"}
    assert settings.timeout == 2.5


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"FLTS_S3_ACCESS_KEY_ID": "AKIA"}, "FLTS_S3_ACCESS_KEY_ID is set and FLTS_S3_SECRET_ACCESS_KEY is not"),
        ({"FLTS_S3_SECRET_ACCESS_KEY": "s"}, "FLTS_S3_SECRET_ACCESS_KEY is set and FLTS_S3_ACCESS_KEY_ID is not"),
        ({"FLTS_S3_SESSION_TOKEN": "t"}, "FLTS_S3_SESSION_TOKEN is set and FLTS_S3_ACCESS_KEY_ID is not"),
        (KEYS | {"FLTS_S3_SECRET_ACCESS_KEY": "very-secret\n"}, "has a space, a line end or a character beyond ASCII"),
        ({"FLTS_S3_REGION": "eu central"}, "FLTS_S3_REGION has a space, a line end or a character beyond ASCII"),
        ({"FLTS_S3_SSE": "aes"}, "FLTS_S3_SSE must be AES256 or aws:kms, got 'aes'"),
        ({"FLTS_S3_SSE_KMS_KEY_ID": "key"}, "FLTS_S3_SSE_KMS_KEY_ID is set, so FLTS_S3_SSE must be aws:kms"),
        ({"FLTS_S3_TIMEOUT": "0"}, "FLTS_S3_TIMEOUT must be a number of seconds, got '0'"),
        ({"FLTS_S3_TIMEOUT": "soon"}, "FLTS_S3_TIMEOUT must be a number of seconds, got 'soon'"),
        ({"FLTS_S3_TIMEOUT": "inf"}, "FLTS_S3_TIMEOUT must be a number of seconds, got 'inf'"),
    ],
)
def test_a_wrong_value_is_one_sentence_without_secrets(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], sentence: str
) -> None:
    give(monkeypatch, **variables)
    with pytest.raises(BadInputError) as error:
        read_settings()
    assert sentence in str(error.value)
    assert "very-secret" not in str(error.value)


def test_secrets_are_passed_by_no_other_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, AWS_ACCESS_KEY_ID="AKIA", AWS_SECRET_ACCESS_KEY="s")  # noqa: S106
    assert read_settings().client_arguments == {}, "botocore reads them itself"
    assert {name for name in VARIABLES if not name.startswith("FLTS_S3_")} == set()


def test_the_first_variable_that_is_set_takes_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, FLTS_S3_REGION="", AWS_DEFAULT_REGION="eu-central-1")
    assert first_set("FLTS_S3_REGION", "AWS_DEFAULT_REGION") == "AWS_DEFAULT_REGION"
    assert first_set("FLTS_S3_REGION") == ""


def test_a_file_without_certificates_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    with pytest.raises(RefusedError, match=r"^AWS_CA_BUNDLE '.*ca\.pem' cannot be read: no such file"):
        check_ca_bundle(str(path), "AWS_CA_BUNDLE")
    path.write_text("no certificate")
    with pytest.raises(RefusedError, match=r"^AWS_CA_BUNDLE '.*ca\.pem' is not a file of PEM certificates$"):
        check_ca_bundle(str(path), "AWS_CA_BUNDLE")
