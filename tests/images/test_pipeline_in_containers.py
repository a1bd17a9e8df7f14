"""The compiled pipeline in containers: the same results as without, and what it says when something is wrong."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from flts.store import open_store
from pipeline.runner.summary import Summary
from tests.support import engine
from tests.support.pipelines import Ended, command, results, run
from tests.support.services import Services
from tests.support.stages import STAGES_OF
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(900)


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
    assert [name for name, stage in summary.stages.items() if stage.exit_code == 0 and stage.seconds] == list(
        STAGES_OF["pipeline"]
    )
    assert places["Promotion"] == "s3://model-promotion/in-containers/current.json"
    index = Path(places["Report"]).read_text()
    for stage in STAGES_OF["pipeline"]:
        assert f'href="{stage}/report.html"' in index
        assert "<html" in (in_containers.folder / stage / "report.html").read_text()
        assert '"event": "done"' in (in_containers.folder / stage / "log.jsonl").read_text()


def test_what_containers_write_belongs_to_the_user_and_holds_no_key(in_containers: Ended, services: Services) -> None:
    for path in in_containers.folder.rglob("*"):
        assert path.stat().st_uid == os.getuid(), path
        assert not path.is_file() or services.s3.secret_key.encode() not in path.read_bytes(), path


def test_the_demo_runs_in_containers_with_every_trainer(root: Path, flags: tuple[str, ...], tmp_path: Path) -> None:
    demo = root / "examples" / "data" / "jfk_weather.csv"
    chosen = ("--pipeline", "boosted", "--identifier", "demo")
    ended = run(root, tmp_path, demo, "--runner", "docker", *chosen, *flags)

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
    logs = [line.partition("its log: ")[2] for line in ended.stderr.splitlines() if "its log: " in line]
    assert logs
    assert all('"event": "error"' in Path(log).read_text() for log in logs)
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_runner_that_is_stopped_or_killed_leaves_no_container(
    root: Path, demo: Path, flags: tuple[str, ...], tmp_path: Path, number: int, code: int
) -> None:
    asked = command(tmp_path / "home", demo, "--runner", "docker", "--identifier", f"stopped-{number}", *flags)
    with subprocess.Popen(
        asked, cwd=root, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        # The last of the trainings to begin; it takes seconds.
        wait_until(lambda: process.poll() is not None or "flts-train-prophet" in labelled("{{.Image}}"), pause=0.1)
        assert process.poll() is None
        process.send_signal(number)
        _, stderr = process.communicate(timeout=120)

    assert process.returncode == code
    if number == signal.SIGINT:
        assert "Stopped: Train" in stderr
        assert json.loads((tmp_path / "home" / "latest" / "summary.json").read_text())["status"] == "stopped"
        assert not labelled()
    wait_until(lambda: not labelled(), pause=0.2)


def labelled(shown: str = "{{.ID}}") -> str:
    """The containers of any run."""
    return engine.docker("ps", "--all", "--format", shown, "--filter", "label=flts.run").stdout


def test_a_missing_engine_is_named(root: Path, demo: Path, flags: tuple[str, ...], tmp_path: Path) -> None:
    ended = run(root, tmp_path / "home", demo, "--runner", "docker", *flags, DOCKER_HOST="unix:///nowhere.sock")

    assert ended.code == 3
    assert ended.stderr.startswith("run: the Docker engine cannot be reached: is one running at unix:///nowhere.sock")
    assert ended.stderr.count("\n") == 1
    assert not (tmp_path / "home").exists()
