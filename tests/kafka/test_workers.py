"""What a worker does when it starts, ends, crashes, or is asked how it is; and the commands around it."""

import json
import os
import re
import time
from pathlib import Path

import httpx
import pytest

from tests.support import kafka
from tests.support.services import free_ports

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("kafka_workers"), pytest.mark.timeout(900)]

# Kills the process that works on a message, as too little memory would, and tells how often.
KILLER = """
import os, signal
def arm():
    import flts.stages.evaluation.stage as stage
    def run(*args, **more):
        with open(os.environ["KILLS"], "a") as file:
            file.write("x")
        os.kill(os.getpid(), signal.SIGKILL)
    stage.run = run
if os.environ.get("KILLS"):
    import flts.workers.worker_process as child
    warm = child._warm
    def warm_and_arm(stage):
        warm(stage)
        arm()
    child._warm = warm_and_arm
"""


def trained(number: int, identifier: str, config_hash: str = "c" * 64) -> list[dict]:
    """Trained-model messages as older trainers sent them, of three types."""
    scores = {"test_rmse": 0.1, "test_mae": 0.05, "test_mse": 0.01}
    return [
        {
            "v": 1,
            "model_type": name,
            "config_hash": config_hash,
            "run_id": f"{number:030x}{order:02x}",
            "status": "SUCCESS",
            "model_uri": f"runs:/{number:030x}{order:02x}/{name}",
            **{score: value * (order + 1) for score, value in scores.items()},
            "train_start": "2026-01-01T00:00:00Z",
            "train_end": f"2026-01-01T00:00:{order:02}Z",
            "identifier": identifier,
            "artifact_uri": "",
            "operation": f"Trained: {name}",
        }
        for order, name in enumerate(("LSTM", "PROPHET", "GRU"))
    ]


def test_eval_promotes_from_messages_of_older_trainers_whatever_their_order(place: kafka.Place) -> None:
    worker = place.start("eval")
    for message in reversed(trained(1, "older")):
        place.send("model-training", json.dumps(message).encode(), f"trained-{message['model_type']}")

    (promotion,) = place.until(lambda: place.documents("model-selected"))

    assert promotion["model_type"] == "LSTM"
    assert promotion["promotion_time"] == "2026-01-01T00:00:02.000000Z"
    assert len(place.history("older")) == 1
    assert worker.terminate() == 0
    assert [event["message"] for event in worker.events("ended")] == ["left the group"]


def test_eval_can_wait_for_fewer_trainers_and_everybody_sees_which(place: kafka.Place) -> None:
    assert "eval has not been started on this store" in place.run("flts-status").stdout
    eval_worker = place.start("eval", EXPECTED_MODEL_TYPES="lstm,GRU")
    lstm, prophet, gru = (json.dumps(message).encode() for message in trained(2, "two"))
    for message in (lstm, prophet):
        place.send("model-training", message)
    place.until(lambda: kafka.waiting(place) == 0)
    status = place.run("flts-status").stdout
    assert "\neval waits for GRU, LSTM\n" in status
    assert "nonml-prophet" in status
    assert "train-lightgbm" not in status, "nobody has asked for the fourth trainer"
    assert re.search(r"two +c{12} +GRU to be trained", status), status
    assert not place.messages("model-selected")
    (event,) = eval_worker.events("expected")
    assert event["message"] == "comparing the models of a dataset when these are trained: GRU, LSTM"

    place.send("model-training", gru)

    (promotion,) = place.until(lambda: place.documents("model-selected"))
    assert promotion["model_type"] == "LSTM"
    assert "no dataset waits for anything" in place.run("flts-status").stdout


def test_eval_and_status_name_a_model_type_that_nobody_trains(place: kafka.Place) -> None:
    worker = place.start("eval")
    gru, lstm = (json.dumps(each).encode() for each in trained(4, "four") if each["model_type"] != "PROPHET")
    for message in (gru, lstm):
        place.send("model-training", message)

    (event,) = place.until(lambda: worker.events("waiting"))

    sentence = (
        "datasets wait for a model of type PROPHET, which no trainer has ever reported: start flts-train-prophet, "
    )
    sentence += "or leave PROPHET out of EXPECTED_MODEL_TYPES of eval"
    assert event["message"] == sentence
    assert f"warning: {sentence}\n" in place.run("flts-status").stdout


def all_but_one(place: kafka.Place, identifier: str, **environ: str) -> bytes:
    """Have eval take note of two models, and return the message of the third, which starts the comparison."""
    *first, last = (json.dumps(message).encode() for message in trained(3, identifier))
    worker = place.start("eval", **environ)
    for message in first:
        place.send("model-training", message)
    place.until(lambda: len(worker.events("handled")) == 2)
    assert worker.terminate() == 0
    return last


def test_a_message_that_kills_the_process_is_a_dead_letter_after_three_tries(
    place: kafka.Place, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(KILLER)
    kills = tmp_path / "kills"
    place.send("model-training", all_but_one(place, "deadly"))
    worker = place.start("eval", PYTHONPATH=str(tmp_path), KILLS=str(kills))

    letters = place.until(lambda: place.messages("DLQ-model-training"))

    assert len(letters) == 1
    assert kills.read_text() == "xxx"
    assert letters[0]["headers"]["attempts"] == "3"
    assert "SIGKILL" in letters[0]["headers"]["error"]
    assert worker.process.poll() is None, "the worker lives on"


def test_a_message_that_kills_the_whole_worker_is_given_up_in_the_end(place: kafka.Place, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(KILLER.replace("os.kill(os.getpid(),", "os.killpg(0,"))
    environ = {"FAILURE_MAX_RETRIES": "1"}
    place.send("model-training", all_but_one(place, "fatal", **environ))

    deaths = 0
    while not (letters := place.messages("DLQ-model-training")):
        worker = place.start("eval", PYTHONPATH=str(tmp_path), KILLS=str(tmp_path / "kills"), **environ)
        place.until(lambda one=worker: one.process.poll() is not None or place.messages("DLQ-model-training"))
        deaths += worker.process.poll() is not None
        assert deaths <= 3

    assert deaths == 3, "each counts a third of a try: anybody may have killed the worker"
    assert letters[0]["headers"]["attempts"] == "1"


def test_dead_letters_are_listed_shown_and_sent_again(place: kafka.Place) -> None:
    worker = place.start("eval")
    place.send("model-training", b'{"v": 3}', "trained-GRU", {"traceparent": "kept"})
    place.until(lambda: place.messages("DLQ-model-training"))
    topic = place.topic("DLQ-model-training")

    listed = place.run("flts-dlq", "list").stdout.splitlines()
    shown = place.run("flts-dlq", "show", topic, "0:0").stdout
    assert worker.terminate() == 0
    sent = place.run("flts-dlq", "replay", topic, "--all")

    assert len(listed) == 2
    assert "has version 3, this worker knows version 1" in listed[1]
    assert "key: trained-GRU" in shown
    assert '"v": 3' in shown
    assert sent.stdout == f"{topic} 0:0 sent to {place.topic('model-training')}\n", sent.stderr
    first, second = place.messages("model-training")
    assert second == first | {"headers": {"traceparent": "kept"}}, "as it was"
    assert place.run("flts-dlq", "list").stdout == "no dead letters\n"
    assert len(place.run("flts-dlq", "list", "--all").stdout.splitlines()) == 2
    wrong = place.run("flts-dlq", "show", topic, "0:7")
    assert (wrong.returncode, wrong.stderr) == (
        2,
        f"flts-dlq: {topic} has no message 0:7: flts-dlq list shows all\n",
    )


def test_topics_are_made_once_and_differences_are_named(place: kafka.Place) -> None:
    again = place.run("flts-topics")
    other = place.run("flts-topics", "--partitions", "5", "--retention-hours", "1")

    assert {line.split(": ")[1] for line in again.stdout.splitlines()} == {"there already"}
    assert f"{place.topic('training-data')}: has 3 partitions instead of 5" in other.stdout
    assert "has retention.ms 604800000 instead of 3600000" in other.stdout


def test_a_worker_waits_for_topics_that_are_missing(place: kafka.Place) -> None:
    worker = place.start("eval", FLTS_TOPIC_PREFIX=f"{place.prefix}later-")
    place.until(lambda: worker.events("waiting"))
    assert "flts-topics makes it" in worker.events("waiting")[0]["message"]

    assert place.run("flts-topics", FLTS_TOPIC_PREFIX=f"{place.prefix}later-").returncode == 0
    for message in trained(5, "later"):
        place.send("later-model-training", json.dumps(message).encode())

    place.until(lambda: place.history("later"))


def test_metrics_and_the_liveness_file_tell_how_a_worker_is(place: kafka.Place) -> None:
    (port,) = free_ports(1)
    worker = place.start("eval", FLTS_METRICS_PORT=str(port))
    alive = place.folder / "eval-0.alive"
    for message in trained(6, "measured")[:2]:
        place.send("model-training", json.dumps(message).encode())
    place.send("model-training", b"not a message")
    place.until(lambda: place.messages("DLQ-model-training"))
    topic = place.topic("model-training")
    place.until(lambda: _value(port, f'flts_worker_handled_total{{stage="eval",topic="{topic}"}}') == 2)
    place.until(lambda: _value(port, 'flts_worker_awaited{model_type="GRU",stage="eval"}') == 1)

    assert _value(port, f'flts_worker_handled_total{{stage="eval",topic="{topic}"}}') == 2
    assert _value(port, f'flts_worker_dead_letters_total{{stage="eval",topic="{topic}"}}') == 1
    assert _value(port, f'flts_worker_failed_total{{reason="bad_message",stage="eval",topic="{topic}"}}') == 1
    assert _value(port, 'flts_worker_stage_seconds_count{stage="eval"}') == 2
    assert _value(port, 'flts_worker_paused{stage="eval"}') == 0
    assert time.time() - alive.stat().st_mtime < 20
    check = {"FLTS_LIVENESS_FILE": str(alive)}
    assert place.run("python", "-m", "flts.workers.liveness", **check).returncode == 0
    os.utime(alive, (0, 0))
    worker.kill()
    assert place.run("python", "-m", "flts.workers.liveness", **check).returncode == 1


@pytest.mark.parametrize("stage", [*kafka.STAGES, "preprocess"])
def test_without_a_broker_a_command_is_one_sentence(tmp_path: Path, stage: str) -> None:
    at = kafka.Place(tmp_path, "", {"PATH": os.environ["PATH"], "USE_KFP": "0"}, "")
    ended = at.run(f"flts-{stage}")
    assert ended.returncode == 2
    assert ended.stderr == (
        f"flts-{stage}: environment variable KAFKA_BOOTSTRAP_SERVERS is required: host:port of some brokers, "
        "separated by commas\n"
    )


def _metrics(port: int) -> str | None:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=5).text
    except httpx.TransportError:
        return None


def _value(port: int, name: str) -> float | None:
    lines = (_metrics(port) or "").splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} ")), None)
