"""Long trainings, partitions that move, and a broker or a store that goes away: nothing is lost, nothing done twice."""

import json
import time
from typing import Any

import pytest

from tests.support import brokers, kafka
from tests.support.services import S3

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

GRU_ALONE = {"EXPECTED_MODEL_TYPES": "GRU", "EARLY_STOPPING": "false", "REFIT": "false"}


def epochs_for(place: kafka.Place, seconds: float) -> str:
    """How many epochs a training needs to take so long."""
    worker = place.start("train-gru", **GRU_ALONE, EPOCHS="300")
    place.preprocess("slice-0", "measured")
    place.until(lambda: len(worker.events("handled")) == 1)
    first = worker.events("progress")
    epochs = [each for each in first if each["message"].startswith("epoch ")]
    took = kafka.seconds_between(epochs[0], epochs[-1])
    done = int(epochs[-1]["message"].split()[1].split("/")[0]) - int(epochs[0]["message"].split()[1].split("/")[0])
    assert worker.terminate() == 0
    return str(int(seconds * done / took) + 1)


@pytest.mark.xdist_group("kafka_slow")
def test_a_long_training_keeps_its_partition(place: kafka.Place) -> None:
    limits = {"KAFKA_MAX_POLL_INTERVAL_MS": "10000", "KAFKA_SESSION_TIMEOUT_MS": kafka.SESSION_TIMEOUT_MS}
    worker = place.start("train-gru", **GRU_ALONE, **limits, EPOCHS=epochs_for(place, 24))
    place.preprocess("slice-1", "long")

    place.until(lambda: any(each["message"].startswith("message") for each in worker.events("handled")))

    (handled,) = worker.events("handled")
    assert handled["seconds"] > 15
    assert not worker.events("revoked", "abandoned", "failed")
    assert [each["status"] for each in place.documents("model-training") if each["identifier"] == "long"] == [
        "RUNNING",
        "SUCCESS",
    ]


@pytest.mark.xdist_group("kafka_slow")
def test_workers_that_join_and_leave_train_each_dataset_once_in_effect(place: kafka.Place) -> None:
    environ = GRU_ALONE | {"EPOCHS": epochs_for(place, 6)}
    first = place.start("train-gru", **environ)
    identifiers = [f"moving-{number}" for number in range(3)]
    for number, identifier in enumerate(identifiers):
        place.preprocess(f"slice-{number}", identifier)
    place.until(lambda: first.events("progress"))
    second = place.start("train-gru", **environ)  # joins while the first trains
    place.until(lambda: second.events("assigned"))
    assert first.terminate() == 0  # leaves, perhaps in the middle of a training
    place.until(lambda: kafka.waiting(place) - 3 == 0 or len(_successes(place, identifiers)) == 3)
    place.until(lambda: len(_successes(place, identifiers)) == 3)

    for identifier in identifiers:
        assert [claim["status"] for claim in kafka.trainings(place, identifier)] == ["SUCCESS"]
    assert not kafka.dead_letters(place)


def _successes(place: kafka.Place, identifiers: list[str]) -> set[str]:
    messages = place.documents("model-training")
    return {each["identifier"] for each in messages if each["status"] == "SUCCESS"} & set(identifiers)


@pytest.mark.own_broker("it is stopped and started")
@pytest.mark.xdist_group("kafka_outages")
def test_a_broker_that_is_away_in_every_phase_loses_nothing(
    own_broker: brokers.Brokers, own_place: kafka.Place
) -> None:
    """Each time for longer than a session; Apache Kafka, which takes long to start, only while messages are open."""
    place = own_place

    def away(*, quiet: bool = False) -> None:
        if not (quiet and brokers.COMMAND):
            own_broker.kill()
            time.sleep(int(kafka.SESSION_TIMEOUT_MS) / 1000 + 2)
            own_broker.again()

    workers = {stage: place.start(stage) for stage in kafka.STAGES}
    away(quiet=True)  # before anything came
    place.preprocess("slice-0", "away")
    place.until(lambda: workers["train-gru"].events("progress"))
    away()  # while trainers train
    place.until(lambda: workers["eval"].events("received"))
    away()  # when models arrive
    place.until(lambda: kafka.finished(place, "away"))
    away(quiet=True)  # when the forecast is made
    place.preprocess("slice-1", "after")
    place.until(lambda: kafka.finished(place, "after"))
    place.until(lambda: len(place.documents("performance-eval")) >= 2)

    for identifier in ("away", "after"):
        assert len(place.history(identifier)) == len(place.forecasts(identifier)) == 1
        assert sorted(claim["status"] for claim in kafka.trainings(place, identifier)) == ["SUCCESS"] * 3
    assert not kafka.dead_letters(place)
    assert all(worker.process.poll() is None for worker in workers.values()), place.logs()


@pytest.mark.xdist_group("kafka_outages")
def test_a_store_or_mlflow_that_is_away_pauses_a_worker(place: kafka.Place, s3: S3) -> None:
    """The store is a proxy's address on which nobody listens until later."""
    from tests.support import faults

    with faults.proxy(s3.endpoint, faults.at_random(0, seed=1)) as proxy:
        environ = s3.environ | {"GATEWAY_URL": "s3://", "AWS_ENDPOINT_URL_S3": proxy.url}
    # The proxy is gone now, and its port is free.
    worker = place.start("eval", **environ, FLTS_S3_TIMEOUT="2")
    place.send("model-training", json.dumps({"v": 1}).encode())
    place.send("model-training", json.dumps(_trained()).encode())
    place.until(lambda: worker.events("waiting"))
    assert "cannot be reached" in worker.events("waiting")[0]["message"]
    assert worker.terminate() == 0

    worker = place.start("eval", **(environ | s3.environ))
    place.until(lambda: worker.events("handled"))
    place.until(lambda: place.messages("DLQ-model-training"))
    assert len(place.messages("DLQ-model-training")) == 1, "the one that is no message"


def _trained() -> dict[str, Any]:
    return {
        **{"v": 1, "model_type": "GRU", "config_hash": "d" * 64, "run_id": "1" * 32, "status": "SUCCESS"},
        **{"model_uri": "runs:/1/GRU", "test_rmse": 0.1, "test_mae": 0.1, "test_mse": 0.1, "artifact_uri": ""},
        **{"train_start": "2026-01-01T00:00:00Z", "train_end": "2026-01-01T00:00:01Z", "identifier": "paused"},
        "operation": "Trained: GRU",
    }


@pytest.mark.xdist_group("kafka_outages")
def test_refused_credentials_of_the_store_blame_no_message(place: kafka.Place, s3: S3) -> None:
    wrong = s3.environ | {"GATEWAY_URL": "s3://", "AWS_SECRET_ACCESS_KEY": "wrong-wrong-wrong"}
    worker = place.start("eval", **wrong)
    place.send("model-training", json.dumps(_trained()).encode())

    place.until(lambda: worker.events("waiting"))
    assert "refused the credentials" in worker.events("waiting")[0]["message"]
    assert "wrong-wrong-wrong" not in worker.log.read_text()
    assert worker.terminate() == 0
    assert not place.messages("DLQ-model-training")
