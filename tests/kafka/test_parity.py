"""One dataset through Kafka and through the pipeline: the same results, byte for byte but for times and run ids."""

import re
import shutil
from pathlib import Path

import pytest

from flts.models.registry import TRAINED_MODELS
from tests.support import brokers, kafka, pipelines
from tests.support.pipelines import Ended
from tests.support.results import tree
from tests.support.stages import OPTIONAL_TRAINERS

pytestmark = [pytest.mark.xdist_group("kafka_crew"), pytest.mark.timeout(900)]
# A long dataset shows nothing more on a second kind of broker.
SIZES = ["slice"] if brokers.COMMAND else ["slice", pytest.param("whole", marks=pytest.mark.slow)]
BUCKETS = ("store/processed-data", "store/model-promotion", "store/inference-logs")
# What workers keep between messages, and the reports, which the pipeline keeps elsewhere.
_OF_KAFKA = re.compile(r"/trained/|/index/awaited/|store/(model-promotion|inference-logs)/.*report\.html")


def outcome(home: Path, identifier: str, config_hash: str) -> list[str]:
    """Path and digest of all that a run left in the store; names that are made of run ids are blanked."""
    folders = (f"{BUCKETS[0]}/{config_hash}", f"{BUCKETS[1]}/{identifier}", f"{BUCKETS[2]}/{identifier}")
    lines = [line for line in tree(home, *folders) if not _OF_KAFKA.search(line)]
    return sorted(
        re.sub(r"/index/[0-9a-f]{64}", "/index/ID", re.sub(r"-[0-9a-f]{12}\.json", "-ID.json", line)) for line in lines
    )


def by_pipeline(root: Path, folder: Path, source: Path, name: str, environ: dict[str, str], *flags: str) -> Ended:
    """Run the pipeline on a dataset with the parameters that workers have in their environment."""
    for suffix in (".csv", "_test.csv"):
        shutil.copy(source / f"{name}{suffix}", folder / f"{name}{suffix}")
    parameters = "".join(f"{variable.lower()} = {value}\n" for variable, value in environ.items())
    (folder / f"{name}.toml").write_text(f"[parameters]\n{parameters}")
    ended = pipelines.run(root, folder / "home", folder / f"{name}.csv", *flags, USE_KFP="")
    assert ended.code == 0, ended.stdout + ended.stderr
    return ended


@pytest.mark.parametrize("size", SIZES)
def test_kafka_and_the_pipeline_give_the_same(
    crew: kafka.Place, root: Path, whole_dataset: Path, tmp_path: Path, size: str
) -> None:
    if size == "whole":
        name, source = whole_dataset.stem, whole_dataset.parent
        chosen = {"SAMPLE_TRAIN_ROWS": "2500", "SAMPLE_TEST_ROWS": "600"}
        for suffix in (".csv", "_test.csv"):
            crew.store.upload("dataset", f"{name}{suffix}", source / f"{name}{suffix}")
    else:
        name, source, chosen = "slice-1", crew.folder / "store" / "dataset", {}
    identifier = f"parity-{size}"

    crew.preprocess(name, identifier, **chosen)
    ended = by_pipeline(root, tmp_path, source, name, kafka.SMALL | chosen, "--identifier", identifier)
    crew.until(lambda: kafka.finished(crew, identifier))

    config_hash = ended.summary["config_hash"]
    expected = outcome(tmp_path / "home", identifier, config_hash)
    assert outcome(crew.folder, identifier, config_hash) == expected
    for part in ("processed_data.parquet", "trainings/", "current.json", "results.jsonl", "predictions.parquet"):
        assert any(part in line for line in expected), part
    assert not [each for each in kafka.dead_letters(crew) if identifier.encode() in (each["value"] or b"")]


@pytest.mark.slow
def test_with_the_fourth_trainer_both_give_the_same_too(place: kafka.Place, root: Path, tmp_path: Path) -> None:
    expected_types = {"EXPECTED_MODEL_TYPES": ",".join(TRAINED_MODELS)}
    for stage in (*OPTIONAL_TRAINERS, *kafka.STAGES):
        place.start(stage, **(expected_types if stage == "eval" else {}))
    place.preprocess("slice-1", "boosted")
    source, flags = place.folder / "store" / "dataset", ("--pipeline", "boosted", "--identifier", "boosted")
    ended = by_pipeline(root, tmp_path, source, "slice-1", kafka.SMALL, *flags)
    place.until(lambda: kafka.finished(place, "boosted"))

    expected = outcome(tmp_path / "home", "boosted", ended.summary["config_hash"])
    assert outcome(place.folder, "boosted", ended.summary["config_hash"]) == expected
    assert kafka.finished_runs(place, "boosted") == dict.fromkeys(TRAINED_MODELS, 1)
    status = place.run("flts-status").stdout
    assert re.search(r"-training-data +\S+-train-lightgbm +0\n", status), status
    assert not kafka.dead_letters(place)


@pytest.mark.slow
def test_both_can_run_side_by_side_on_one_store(crew: kafka.Place, root: Path, tmp_path: Path) -> None:
    crew.preprocess("slice-2", "beside-kafka")
    services = ("--store", f"file://{crew.folder}/store", "--mlflow", crew.environ["MLFLOW_TRACKING_URI"])
    source = crew.folder / "store" / "dataset"
    by_pipeline(root, tmp_path, source, "slice-2", kafka.SMALL, "--identifier", "beside-pipeline", *services)
    crew.until(lambda: kafka.finished(crew, "beside-kafka", "beside-pipeline"))
    crew.until(lambda: kafka.waiting(crew) == 0)

    pointers = {info.key: info for info in crew.store.list("model-promotion") if info.key.endswith("current.json")}
    times = {key: kafka.document(crew.store, "model-promotion", key)["promotion_time"] for key in pointers}
    assert times["current.json"] == max(times.values())
    for identifier in ("beside-kafka", "beside-pipeline"):
        assert len(crew.history(identifier)) == len(crew.forecasts(identifier)) == 1
        assert times[f"{identifier}/current.json"] in crew.history(identifier)[0]
