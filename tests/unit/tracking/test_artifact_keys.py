"""The store's keys for MLflow's own S3 client."""

import json

import pytest

from flts.tracking.artifact_keys import set_artifact_keys

STORE = {
    "FLTS_S3_ENDPOINT_URL": "http://minio:9000",
    "FLTS_S3_ACCESS_KEY_ID": "flts",
    "FLTS_S3_SECRET_ACCESS_KEY": "hidden",
    "FLTS_S3_SESSION_TOKEN": "passing",
    "FLTS_S3_REGION": "eu-west-1",
    "FLTS_S3_CA_BUNDLE": "/ca.pem",
}
READ_BY_MLFLOW = {
    "MLFLOW_S3_ENDPOINT_URL": "http://minio:9000",
    "AWS_ACCESS_KEY_ID": "flts",
    "AWS_SECRET_ACCESS_KEY": "hidden",
    "AWS_SESSION_TOKEN": "passing",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_CA_BUNDLE": "/ca.pem",
}


def test_mlflow_s_client_gets_the_store_s_settings_where_it_has_none():
    environ = dict(STORE)
    set_artifact_keys(environ)
    assert environ == STORE | READ_BY_MLFLOW


@pytest.mark.parametrize(
    "name", ["MLFLOW_S3_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ROLE_ARN"]
)
def test_whatever_names_another_store_or_other_keys_stays_alone(name):
    environ = STORE | {name: "another"}
    set_artifact_keys(environ)
    assert environ == STORE | {name: "another"}


def test_without_settings_of_the_store_nothing_is_set():
    environ: dict[str, str] = {"AWS_DEFAULT_REGION": "eu-west-1"}
    set_artifact_keys(environ)
    assert environ == {"AWS_DEFAULT_REGION": "eu-west-1"}


def test_artifacts_are_encrypted_as_objects_are():
    environ = {"FLTS_S3_SSE": "aws:kms", "FLTS_S3_SSE_KMS_KEY_ID": "key-1"}
    set_artifact_keys(environ)
    arguments = json.loads(environ["MLFLOW_S3_UPLOAD_EXTRA_ARGS"])
    assert arguments == {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "key-1"}
