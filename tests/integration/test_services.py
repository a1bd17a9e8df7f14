"""The services that tests share come up once and end with their last user; people's run until Ctrl-C."""

import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.support import services as servers
from tests.support.waiting import wait_until

HOLD = """
import pathlib, sys
from tests.support import services
with services.shared(pathlib.Path(sys.argv[1])) as found:
    print(found.mlflow_uri, flush=True)
    sys.stdin.read()
"""


@pytest.mark.slow
def test_mlflow_keeps_artifacts_in_s3(services_environ: servers.Services, tmp_path: Path):
    from mlflow import MlflowClient
    from mlflow.artifacts import download_artifacts

    uri = services_environ.mlflow_uri
    client = MlflowClient(uri)
    run = client.create_run("0")
    client.log_text(run.info.run_id, "content", "folder/file.txt")
    path = download_artifacts(f"runs:/{run.info.run_id}/folder/file.txt", dst_path=str(tmp_path), tracking_uri=uri)
    assert Path(path).read_text() == "content"


def test_another_s3_server_can_be_named(s3: servers.S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name, value in (
        *(("ENDPOINT_URL", s3.endpoint), ("ACCESS_KEY_ID", s3.access_key)),
        ("SECRET_ACCESS_KEY", s3.secret_key),
    ):
        monkeypatch.setenv(f"FLTS_TEST_S3_{name}", value)
    with servers.s3_server(tmp_path / "unused") as named:
        assert named == s3
        assert "mlflow" in {bucket["Name"] for bucket in named.client().list_buckets()["Buckets"]}
    assert not (tmp_path / "unused").exists()
    monkeypatch.setenv("FLTS_TEST_S3_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(servers.NotStartedError, match="FLTS_TEST_S3_ENDPOINT_URL"), servers.s3_server(tmp_path):
        pass


@pytest.mark.slow
def test_services_outlive_a_killed_user_and_end_with_the_last(tmp_path: Path, root: Path):
    users = [_user(tmp_path, root) for _ in range(2)]
    (first, uri), (second, same) = ((user, user.stdout.readline().strip()) for user in users)
    assert uri == same
    first.kill()
    first.communicate()
    assert all(_is_up(uri) for _ in range(50))
    second.kill()
    second.communicate()
    wait_until(lambda: not _is_up(uri) and not (tmp_path / "services").exists())


@pytest.mark.slow
def test_people_get_both_until_ctrl_c(root: Path):
    with subprocess.Popen(
        [sys.executable, "-m", "scripts.services"],
        cwd=root,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=_hear_ctrl_c,  # noqa: PLW1509 - no threads
    ) as process:
        lines = [process.stdout.readline() for _ in range(8)]
        exported = dict(line.removeprefix("export ").strip().split("=", 1) for line in lines if "export " in line)
        assert exported.keys() == servers.Services(servers.S3(""), "").environ.keys()
        assert _is_up(exported["MLFLOW_TRACKING_URI"])
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=30)
    assert (process.returncode, rest) == (0, "# stopped\n")
    assert not _is_up(exported["MLFLOW_TRACKING_URI"])


def _hear_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it


def _user(folder: Path, root: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", HOLD, str(folder)]
    return subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _is_up(uri: str) -> bool:
    try:
        with urllib.request.urlopen(f"{uri}/health", timeout=5):  # noqa: S310 - our own server
            return True
    except OSError:
        return False
