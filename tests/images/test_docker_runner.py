"""The compiled pipeline in containers: the same results as without, and what it says when something is wrong."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from flts.store import open_store
from pipeline.runner.containers import container_environment
from pipeline.runner.summary import Summary
from tests.images import engine
from tests.pipelines import Ended, command, results, run
from tests.services import Services

pytestmark = pytest.mark.timeout(900)

STAGES = ["preprocess", "train-gru", "train-lstm", "train-prophet", "eval", "inference"]


@pytest.fixture(scope="module")
def flags(services_environ: Services) -> tuple[str, ...]:
    """What makes a run use the services, which the environment names."""
    return ("--store", "s3://", "--mlflow", services_environ.mlflow_uri)


@pytest.fixture(scope="module")
def in_containers(root: Path, demo: Path, flags: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Ended:
    home = tmp_path_factory.mktemp("containers")
    return run(root, home, demo, "--runner", "docker", "--identifier", "in-containers", *flags)


def test_files_services_and_containers_give_the_same(
    root: Path, demo: Path, in_containers: Ended, flags: tuple[str, ...], tmp_path: Path
) -> None:
    """Same configuration hash, weights, metrics, promotion and forecasts, to the last bit."""
    found = {}
    (tmp_path / "containers").mkdir()
    found["containers"] = results(in_containers, tmp_path / "containers")
    for name, more in (("services", (*flags, "--identifier", "in-processes")), ("files", ())):
        folder = tmp_path / name
        folder.mkdir()
        found[name] = results(run(root, folder / "home", demo, *more), folder)

    assert found["services"] == found["files"]
    assert found["containers"] == found["files"]


def test_a_run_in_containers_ends_like_any_other(in_containers: Ended) -> None:
    summary = Summary.model_validate(in_containers.summary)
    places = in_containers.places()

    assert summary.status == "done"
    assert [name for name, stage in summary.stages.items() if stage.exit_code == 0 and stage.seconds] == STAGES
    assert places["Promotion"] == "s3://model-promotion/in-containers/current.json"
    index = Path(places["Report"]).read_text()
    for stage in STAGES:
        assert f'href="{stage}/report.html"' in index
        assert "<html" in (in_containers.folder / stage / "report.html").read_text()
        assert '"event": "done"' in (in_containers.folder / stage / "log.jsonl").read_text()


def test_what_containers_write_belongs_to_the_user_and_holds_no_key(in_containers: Ended, services: Services) -> None:
    for path in in_containers.folder.rglob("*"):
        assert path.stat().st_uid == os.getuid(), path
        assert not path.is_file() or services.s3.secret_key.encode() not in path.read_bytes(), path


def test_the_demo_runs_in_containers(root: Path, flags: tuple[str, ...], tmp_path: Path) -> None:
    demo = root / "examples" / "data" / "jfk_weather.csv"
    ended = run(root, tmp_path, demo, "--runner", "docker", "--identifier", "demo", *flags)

    assert ended.code == 0, ended.stdout + ended.stderr
    bucket, _, key = ended.places()["Forecasts"].removeprefix("s3://").partition("/")
    open_store("s3://").download(bucket, key, tmp_path / "predictions.parquet")
    assert pq.read_table(tmp_path / "predictions.parquet").num_rows == ended.summary["parameters"]["inference_length"]
    assert ended.summary["forecast"]["backtest_rmse"] < 0.95 * ended.summary["forecast"]["backtest_persistence_rmse"]


def test_a_failed_stage_is_named_with_its_sentence_and_log(
    root: Path, demo: Path, flags: tuple[str, ...], tmp_path: Path
) -> None:
    short = tmp_path / "short.csv"
    short.write_text("".join(demo.read_text().splitlines(keepends=True)[:11]))
    ended = run(root, tmp_path / "home", short, "--runner", "docker", *flags)

    assert ended.code == 2
    assert "failed: the training data has 8 rows" in ended.stderr
    assert "Not run: " in ended.stderr
    assert "Evaluate and promote, Forecast" in ended.stderr
    (log,) = [line.partition("its log: ")[2] for line in ended.stderr.splitlines() if "its log: " in line]
    assert '"event": "error"' in Path(log).read_text()
    assert "Traceback" not in ended.stderr


def test_ctrl_c_stops_the_container_and_leaves_none(
    root: Path, demo: Path, flags: tuple[str, ...], tmp_path: Path
) -> None:
    asked = command(tmp_path / "home", demo, "--runner", "docker", "--identifier", "stopped", *flags)
    with subprocess.Popen(
        asked, cwd=root, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout
        for line in process.stdout:
            if line.startswith("train-"):
                break
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=120)

    assert process.returncode == 130
    assert "Stopped: Train" in stderr
    assert not engine.docker("ps", "--all", "--quiet", "--filter", "label=flts.run").stdout
    summary = json.loads((tmp_path / "home" / "latest" / "summary.json").read_text())
    assert summary["status"] == "stopped"


def test_a_missing_engine_is_named(root: Path, demo: Path, flags: tuple[str, ...], tmp_path: Path) -> None:
    ended = run(root, tmp_path / "home", demo, "--runner", "docker", *flags, DOCKER_HOST="unix:///nowhere.sock")

    assert ended.code == 3
    assert ended.stderr.startswith("run: the Docker engine cannot be reached: ")
    assert ended.stderr.count("\n") == 1
    assert not (tmp_path / "home").exists()


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
