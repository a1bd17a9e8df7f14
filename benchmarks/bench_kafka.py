"""Kafka mode: how soon work starts, what it adds to the pipeline's time, and how many datasets eval takes.

A broker, a ``file://`` store and an SQLite MLflow on this machine. Part of `make bench-kafka`; writes
build/bench_kafka.json.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from confluent_kafka import Producer

from tests.support import kafka

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "build" / "bench_kafka.json"
DATASETS, MESSAGES = 1000, 40


def main() -> int:
    """Measure everything, print a table and keep it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--dataset", type=Path, default=ROOT / "examples" / "data" / "jfk_weather.csv")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="flts-bench-") as folder:
        figures = {
            "starts": measure_starts(Path(folder) / "starts"),
            "eval": measure_eval(Path(folder) / "eval"),
            "pipeline": measure_pipeline(Path(folder) / "pipeline", given.dataset),
        }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))
    return 0


def measure_starts(folder: Path) -> dict[str, Any]:
    """Measure seconds from a message's time until the stage begins, in an idle system."""
    with kafka.broker(folder / "broker") as broker, kafka.place(folder / "place", broker.servers) as place:
        worker = place.start("eval")
        place.until(lambda: worker.events("assigned"))
        time.sleep(3)
        for number in range(MESSAGES):
            place.send("model-training", json.dumps(trained(number)[0]).encode())
            time.sleep(0.3 + 0.01 * number)
        place.until(lambda: len(worker.events("handled")) == MESSAGES)
        waited = sorted(event["waited_seconds"] for event in worker.events("received"))
    return {"p50_ms": 1000 * statistics.median(waited), "p99_ms": 1000 * waited[int(0.99 * len(waited))]}


def measure_eval(folder: Path) -> dict[str, Any]:
    """Measure how many datasets a second an eval worker promotes from given messages, and whether its memory grows."""
    with kafka.broker(folder / "broker") as broker, kafka.place(folder / "place", broker.servers) as place:
        producer = Producer({"bootstrap.servers": broker.servers})
        for number in range(DATASETS):
            for message in trained(number):
                producer.produce(place.topic("model-training"), json.dumps(message).encode(), message["model_type"])
        producer.flush()
        worker = place.start("eval")
        place.until(lambda: worker.events("received"), 60)
        begun, memory = time.monotonic(), []
        while (done := len(worker.events("done"))) < DATASETS:
            memory.append((done, _memory(worker.process.pid)))
            time.sleep(1)
            if time.monotonic() - begun > 300:
                raise TimeoutError(place.logs())
        events = worker.events("received", "handled")
        seconds = kafka.seconds_between(events[0], events[-1])
        promoted = sum(1 for info in place.store.list("model-promotion") if "/promotion-" in info.key)
    quarter = next(size for count, size in memory if count >= DATASETS / 4)
    return {
        "datasets": promoted,
        "datasets_per_second": promoted / seconds,
        "memory_growth": memory[-1][1] / quarter - 1,
        "memory_mb": memory[-1][1] / 1e6,
    }


def measure_pipeline(folder: Path, dataset: Path) -> dict[str, Any]:
    """Run a dataset through the local runner and through warm workers, with the recommended values."""
    import tomllib

    folder.mkdir()
    recommended = tomllib.loads((ROOT / "pipeline" / "recommended.toml").read_text())["parameters"]
    beside = dataset.with_suffix(".toml")
    parameters = tomllib.loads(beside.read_text())["parameters"] if beside.is_file() else recommended
    begun = time.monotonic()
    command = [sys.executable, "-m", "pipeline.runner", "--home", str(folder / "home"), "--dataset", str(dataset)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    by_runner = time.monotonic() - begun
    variables = {name.upper(): str(value) for name, value in parameters.items()}
    with kafka.broker(folder / "broker") as broker:
        place_folder = folder / "place"
        with kafka.place(place_folder, broker.servers) as place:
            for name in kafka.SMALL:
                del place.environ[name]
            place.environ |= variables
            bucket = place_folder / "store" / "dataset"
            bucket.mkdir(parents=True)
            for suffix in ("", "_test"):
                shutil.copy(dataset.with_name(f"{dataset.stem}{suffix}.csv"), bucket)
            for stage in kafka.STAGES:
                place.start(stage)
            preprocess = place.start("preprocess", "--listen")
            place.until(lambda: all(worker.events("assigned") for worker in place.workers), 90)
            place.until(lambda: preprocess.events("assigned"), 90)
            time.sleep(10)  # until all have imported what they need
            begun = time.monotonic()
            request = {"dataset_name": dataset.stem, "identifier": "bench"}
            place.send("preprocess-requests", json.dumps(request).encode())
            place.until(lambda: place.documents("performance-eval"), 600)
            by_workers = time.monotonic() - begun
    return {"dataset": dataset.stem, "runner_seconds": by_runner, "kafka_seconds": by_workers}


def trained(number: int) -> list[dict[str, Any]]:
    """Return the trained-model messages of a dataset of its own."""
    return [
        {
            "v": 1,
            "model_type": name,
            "config_hash": f"{number:064x}",
            "run_id": f"{number:030x}{order:02x}",
            "status": "SUCCESS",
            "model_uri": f"runs:/{number:030x}{order:02x}/{name}",
            **{"test_rmse": 0.1 + order, "test_mae": 0.05, "test_mse": 0.01},
            "train_start": "2026-01-01T00:00:00Z",
            "train_end": f"2026-01-01T00:{number // 60 % 60:02}:{number % 60:02}Z",
            "identifier": f"bench-{number}",
            "artifact_uri": "",
            "operation": f"Trained: {name}",
        }
        for order, name in enumerate(("GRU", "LSTM", "PROPHET"))
    ]


def _memory(pid: int) -> int:
    process = psutil.Process(pid)
    return sum(each.memory_info().rss for each in (process, *process.children(recursive=True)))


if __name__ == "__main__":
    sys.exit(main())
