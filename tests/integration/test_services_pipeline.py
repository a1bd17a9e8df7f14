"""The whole pipeline over a real S3 and a real MLflow server: the same results, also when both fail now and then."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support import faults
from tests.support.pipelines import Ended, command, results, run
from tests.support.services import Services, free_ports

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("services_pipeline"), pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def on_files(root: Path, demo: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the pipeline gives over a folder and an SQLite database."""
    folder = tmp_path_factory.mktemp("files")
    return dict(results(run(root, folder / "home", demo), folder))


@pytest.fixture(scope="module")
def on_services(root: Path, demo: Path, services_environ: Services, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    return run(
        root, tmp_path_factory.mktemp("services"), demo, "--store", "s3://", "--mlflow", services_environ.mlflow_uri
    )


def test_services_give_the_same_results_as_files(on_files: dict[str, Any], on_services: Ended, tmp_path: Path) -> None:
    assert dict(results(on_services, tmp_path)) == on_files


def test_the_closing_lines_name_objects_by_their_addresses(on_services: Ended, services_environ: Services) -> None:
    places = on_services.places()

    assert places["Promotion"] == "s3://model-promotion/slice/current.json"
    assert places["Forecasts"].startswith("s3://inference-logs/slice/")
    assert places["MLflow"] == services_environ.mlflow_uri
    assert Path(places["Report"]).is_file()


def test_no_key_is_written_anywhere(on_services: Ended, services_environ: Services) -> None:
    secret = services_environ.s3.secret_key.encode()
    for path in on_services.folder.parents[1].rglob("*"):
        assert not path.is_file() or secret not in path.read_bytes(), path
    assert services_environ.s3.secret_key not in on_services.stdout + on_services.stderr


def test_every_stage_gets_through_failing_services_with_the_right_result(
    root: Path, demo: Path, services_environ: Services, on_files: dict[str, Any], tmp_path: Path
) -> None:
    """A tenth of all answers is an error, a reset, lost, late for ever or cut short."""
    with (
        faults.proxy(services_environ.s3.endpoint, faults.at_random(0.1, seed=1)) as s3,
        faults.proxy(services_environ.mlflow_uri, faults.at_random(0.1, seed=2)) as mlflow,
    ):
        ended = run(
            root,
            tmp_path / "home",
            demo,
            *("--store", "s3://", "--mlflow", mlflow.url, "--identifier", "through-faults"),
            *("--param", "force_reprocess=1"),
            AWS_ENDPOINT_URL_S3=s3.url,
            FLTS_S3_TIMEOUT="4",
            MLFLOW_HTTP_REQUEST_TIMEOUT="4",
        )
        found = results(ended, tmp_path)

    assert dict(found) == on_files
    for proxy in (s3, mlflow):
        assert set(faults.KINDS) & set(proxy.seen), proxy.seen


def test_wrong_keys_are_one_sentence_without_the_key(
    root: Path, demo: Path, services_environ: Services, tmp_path: Path
) -> None:
    ended = run(
        root,
        tmp_path / "home",
        demo,
        *("--store", "s3://", "--mlflow", services_environ.mlflow_uri),
        AWS_ACCESS_KEY_ID="AKIAWRONGWRONGWRONG1",
        AWS_SECRET_ACCESS_KEY="wrong-secret-wrong-secret",  # noqa: S106
    )

    assert ended.code == 2
    assert ended.stderr.startswith(f"run: S3 at {services_environ.s3.endpoint} refused the credentials")
    assert ended.stderr.count("\n") == 1
    for key in ("AKIAWRONGWRONGWRONG1", "wrong-secret"):
        assert key not in ended.stdout + ended.stderr
    assert not (tmp_path / "home" / "runs").exists()


@pytest.mark.parametrize("away", ["store", "mlflow"])
def test_a_service_that_is_away_is_named_before_any_stage_starts(
    root: Path, demo: Path, services_environ: Services, tmp_path: Path, away: str
) -> None:
    nobody = f"http://127.0.0.1:{free_ports(1)[0]}"
    mlflow = nobody if away == "mlflow" else services_environ.mlflow_uri
    ended = run(
        root,
        tmp_path / "home",
        demo,
        *("--store", "s3://", "--mlflow", mlflow),
        FLTS_PATIENCE_SECONDS="3",
        **({"AWS_ENDPOINT_URL_S3": nobody} if away == "store" else {}),
    )

    assert ended.code == 3
    waiting, error = ended.stderr.splitlines()
    assert waiting.startswith("run: waiting, ")
    for line in (waiting, error):
        assert f"at {nobody} cannot be reached" in line
    assert "started" not in ended.stdout
    assert not (tmp_path / "home" / "runs").exists()


@pytest.mark.parametrize("away", ["store", "mlflow"])
def test_a_service_that_comes_back_is_waited_for_and_the_run_goes_on(
    root: Path, demo: Path, services_environ: Services, on_files: dict[str, Any], tmp_path: Path, away: str
) -> None:
    address = {"store": services_environ.s3.endpoint, "mlflow": services_environ.mlflow_uri}
    port = free_ports(1)[0]
    given = address | {away: f"http://127.0.0.1:{port}"}
    flags = ("--store", "s3://", "--mlflow", given["mlflow"], "--identifier", f"after-{away}")
    environ = os.environ | {"AWS_ENDPOINT_URL_S3": given["store"], "FLTS_PATIENCE_SECONDS": "240"}
    with subprocess.Popen(
        command(tmp_path / "home", demo, *flags),
        cwd=root,
        env=environ,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stderr
        waiting = process.stderr.readline()
        assert waiting.startswith("run: waiting, "), waiting
        assert f"at {given[away]} cannot be reached" in waiting
        assert not (tmp_path / "home" / "runs").exists(), "no stage has started"

        with faults.proxy(address[away], faults.in_turn(), port):
            stdout, stderr = process.communicate()
            ended = Ended(stdout, stderr, process.returncode, (tmp_path / "home" / "latest").resolve())
            found = dict(results(ended, tmp_path))

    assert all(line.startswith("run: waiting, ") for line in stderr.splitlines())
    assert found == on_files


def test_containers_need_services(root: Path, demo: Path, tmp_path: Path) -> None:
    ended = run(root, tmp_path / "home", demo, "--runner", "docker")

    assert ended.code == 2
    assert ended.stderr.startswith(
        "run: --runner docker needs a service that containers can reach, such as --store s3://, not file://"
    )
