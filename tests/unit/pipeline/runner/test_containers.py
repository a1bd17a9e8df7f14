"""What a task in a container gets of this machine's environment."""

from pathlib import Path

import pytest

from flts.store.s3_settings import FILES, VARIABLES
from pipeline.runner.containers import container_environment


def test_containers_get_the_settings_of_services_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "credentials").write_text("[default]\naws_access_key_id = fromfile\naws_secret_access_key = hidden\n")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    mine = {"HOME": "/home/me", "PATH": "/bin", "MLFLOW_TRACKING_TOKEN": "t", "FLTS_THREADS": "1", "no_proxy": "*"}

    given = container_environment(mine | {"AWS_SHARED_CREDENTIALS_FILE": "x", "AWS_ENDPOINT_URL_S3": "http://s3"})

    assert given.pop("AWS_DEFAULT_REGION", "us-east-1")
    assert given == {
        "MLFLOW_TRACKING_TOKEN": "t",
        "FLTS_THREADS": "1",
        "no_proxy": "*",
        "AWS_ENDPOINT_URL_S3": "http://s3",
        "AWS_ACCESS_KEY_ID": "fromfile",
        "AWS_SECRET_ACCESS_KEY": "hidden",
    }


def test_of_the_stores_settings_only_files_stay_here() -> None:
    aws = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    mine = aws | dict.fromkeys(VARIABLES, "x") | {"FLTS_TOKENS_FILE": "/x", "FLTS_TEST_S3_ENDPOINT_URL": "http://x"}

    assert set(container_environment(mine)) == {*aws, *VARIABLES} - {*FILES}

    own = {"FLTS_S3_ACCESS_KEY_ID": "mine", "FLTS_S3_SECRET_ACCESS_KEY": "own"}
    assert container_environment(own) == own, "keys that are given need no others from files"
