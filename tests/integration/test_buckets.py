"""A store in which every bucket has a name of its own, as on AWS, where somebody else has the usual names already."""

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from flts.params import BUCKETS
from scripts.services import seaweedfs
from tests.support.commands import BIN
from tests.support.gateway import Gateway, gateway
from tests.support.pipelines import Ended, run
from tests.support.services import S3, Services
from tests.support.serving import serving

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("services_pipeline"), pytest.mark.timeout(600)]

NAMES = {name: f"ours-{bucket.default}" for name, bucket in BUCKETS.items()}
VARIABLES = {name.upper(): bucket for name, bucket in NAMES.items()}
IDENTIFIER = "renamed"


@dataclass(frozen=True)
class Renamed:
    """A run of the pipeline on a store with renamed buckets."""

    s3: S3
    mlflow: str
    ended: Ended

    def command(self, name: str, *options: str) -> "subprocess.CompletedProcess[str]":
        """Run a command on the store; variables name the buckets."""
        environ = os.environ | VARIABLES | {"GATEWAY_URL": "s3://", "MLFLOW_TRACKING_URI": self.mlflow}
        return subprocess.run([BIN / name, *options], env=environ, capture_output=True, text=True, check=False)

    def buckets(self) -> set[str]:
        """The buckets of the store, without the one that the server was started with."""
        return {each["Name"] for each in self.s3.client().list_buckets()["Buckets"]} - {"mlflow"}

    def keys(self, bucket: str, prefix: str) -> list[str]:
        """The keys in a bucket that begin so."""
        found: dict[str, Any] = self.s3.client().list_objects_v2(Bucket=NAMES[bucket], Prefix=prefix)
        return [each["Key"] for each in found.get("Contents", [])]


@pytest.fixture(scope="module")
def own_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """An S3 server with buckets of these tests alone, which the environment names."""
    with seaweedfs(tmp_path_factory.mktemp("s3")) as s3, pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("AWS_", "FLTS_S3_"))]:
            patch.delenv(name)
        for name, value in s3.environ.items():
            patch.setenv(name, value)
        yield s3


@pytest.fixture(scope="module")
def renamed(
    root: Path, demo: Path, services: Services, own_s3: S3, tmp_path_factory: pytest.TempPathFactory
) -> Renamed:
    """A store that ``flts-prepare-store`` prepared, and a run of the pipeline on it."""
    home = tmp_path_factory.mktemp("renamed") / "home"
    flags = ["--store", "s3://", "--mlflow", services.mlflow_uri, "--identifier", IDENTIFIER]
    for name in ("input_bucket", "output_bucket", "promotion_bucket", "inference_log_bucket"):
        flags += ["--param", f"{name}={NAMES[name]}"]
    place = Renamed(own_s3, services.mlflow_uri, Ended("", "", 0, home))
    prepared = place.command("flts-prepare-store", "--datasets", str(demo.parent))
    assert prepared.returncode == 0, prepared.stderr
    assert place.buckets() == set(NAMES.values())

    ended = run(root, home, demo, *flags)
    assert ended.code == 0, ended.stdout + ended.stderr
    return Renamed(own_s3, services.mlflow_uri, ended)


@pytest.fixture(scope="module")
def over_http(renamed: Renamed) -> Iterator[Gateway]:
    """A gateway that serves these buckets and no others."""
    with gateway("s3://", "--buckets", ",".join(NAMES.values()), environ=os.environ) as server:
        yield server


def test_a_run_writes_to_the_named_buckets_and_no_others(renamed: Renamed) -> None:
    config_hash = renamed.ended.summary["config_hash"]
    trainings = {key.count("/") for key in renamed.keys("promotion_bucket", f"{IDENTIFIER}/trainings/")}

    assert renamed.buckets() == set(NAMES.values())
    assert f"{config_hash}/processed_data.parquet" in renamed.keys("output_bucket", config_hash)
    assert len(renamed.keys("promotion_bucket", f"{IDENTIFIER}/trainings/")) == 3
    assert trainings == {2}, "no bundle was left"
    assert renamed.keys("promotion_bucket", f"{IDENTIFIER}/current.json")
    assert any(key.endswith("predictions.parquet") for key in renamed.keys("inference_log_bucket", IDENTIFIER))
    assert renamed.ended.places()["Promotion"] == f"s3://{NAMES['promotion_bucket']}/{IDENTIFIER}/current.json"


def test_commands_find_the_promotion_by_the_variables(renamed: Renamed) -> None:
    listed = renamed.command("flts-promotions", "list", "--json")
    verified = renamed.command("flts-promotions", "verify")

    (entry,) = json.loads(listed.stdout)
    assert entry["run_id"] == renamed.ended.summary["promotion"]["run_id"]
    assert verified.returncode == 0, verified.stdout


@pytest.mark.parametrize("store", ["s3", "gateway"])
def test_the_server_forecasts_from_the_named_buckets(renamed: Renamed, over_http: Gateway, store: str) -> None:
    address = "s3://" if store == "s3" else over_http.url
    environ = os.environ | VARIABLES | {"MLFLOW_TRACKING_URI": renamed.mlflow, "IDENTIFIER": IDENTIFIER}
    with serving(address, environ=environ) as server:
        assert server.wait_until_ready()["run_id"] == renamed.ended.summary["promotion"]["run_id"]
        answer = httpx.post(f"{server.url}/predict", json={"inference_length": 3})

    assert len(answer.json()["predictions"]) == 3, answer.text
    assert renamed.buckets() == set(NAMES.values())


def test_the_gateway_serves_the_named_buckets_alone(over_http: Gateway) -> None:
    ours = httpx.get(f"{over_http.url}/objects/{NAMES['promotion_bucket']}")
    usual = httpx.get(f"{over_http.url}/objects/{BUCKETS['promotion_bucket'].default}")

    assert (ours.status_code, usual.status_code) == (200, 403), usual.text
