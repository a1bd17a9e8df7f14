"""Kafka mode: how soon work starts, what it adds to the pipeline's time, and how many datasets eval takes.

A broker, a ``file://`` store and an SQLite MLflow on this machine. The broker is the packaged one; with ``KAFKA_START``
that one and Apache Kafka take turns, with ``KAFKA_BOOTSTRAP_SERVERS`` it is who listens there. Part of
`make bench-kafka`; writes build/bench_kafka.json.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import psutil
from confluent_kafka import Producer

from flts.models.registry import REQUIRED_MODELS
from tests.support import brokers, kafka

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "build" / "bench_kafka.json"
DATASETS, MESSAGES = 1000, 40
TURNS = 3
ROWS = {
    "p50_ms": "from a message's time to the stage's beginning, idle, p50, ms",
    "p99_ms": "the same, p99, ms",
    "datasets_per_second": "datasets a second through one eval worker",
    "memory_growth": "growth of its memory from the first quarter to the last",
    "memory_mb": "its memory at the end, MB",
    "kafka_seconds": "the dataset through warm workers, s",
    "runner_seconds": "the dataset through the local runner, s",
}
Figures = dict[str, float]
Opener = Callable[[Path], AbstractContextManager[brokers.Brokers]]


def main() -> int:
    """Measure everything on each broker in turns, print a table of medians and keep all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--dataset", type=Path, default=ROOT / "examples" / "data" / "jfk_weather.csv")
    parser.add_argument("--turns", type=int, default=0, help=f"of each broker (default {TURNS}; 1 where there is one)")
    given = parser.parse_args()
    kinds = openers()
    turns = given.turns or (TURNS if len(kinds) > 1 else 1)
    found: dict[str, list[Figures]] = {name: [] for name in kinds}
    with tempfile.TemporaryDirectory(prefix="flts-bench-") as folder:
        for turn in range(turns):
            for name, opener in kinds.items():
                found[name].append(measure(opener, Path(folder) / f"{name}-{turn}", given.dataset))
    medians = {
        name: {key: statistics.median(figures[key] for figures in each) for key in ROWS} for name, each in found.items()
    }
    RESULTS.parent.mkdir(exist_ok=True)
    kept = {"dataset": given.dataset.stem, "turns": turns, "medians": medians, "measured": found}
    RESULTS.write_text(json.dumps(kept, indent=2) + "\n")
    print(table(medians))
    return 0


def openers() -> dict[str, Opener]:
    """Return what opens a broker, by the name of its kind."""
    if brokers.GIVEN and not brokers.COMMAND:
        return {"given": brokers.shared}
    kinds: dict[str, Opener] = {"packaged": brokers.tansu}
    return kinds | {"started": brokers.started} if brokers.COMMAND else kinds


def table(medians: dict[str, Figures]) -> str:
    """Return the figures as a table: a row for each, a column for each broker, and the ratio of two."""
    names = list(medians)
    ratio = len(names) == 2
    heads = ["what", *names, *(["ratio"] if ratio else [])]
    lines = [heads, ["---"] * len(heads)]
    for key, text in ROWS.items():
        values = [medians[name][key] for name in names]
        divided = [f"{values[1] / values[0]:.2f}" if key != "memory_growth" and values[0] else ""] if ratio else []
        lines.append([text, *(f"{value:.3g}" for value in values), *divided])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def measure(opener: Opener, folder: Path, dataset: Path) -> Figures:
    """Measure everything once on a broker that is opened for each part."""
    return (
        measure_starts(opener, folder / "starts")
        | measure_eval(opener, folder / "eval")
        | measure_workers(opener, folder / "workers", dataset)
        | measure_runner(folder / "runner", dataset)
    )


def measure_starts(opener: Opener, folder: Path) -> Figures:
    """Measure seconds from a message's time until the stage begins, in an idle system."""
    with opener(folder / "broker") as broker, kafka.place(folder / "place", broker.servers) as place:
        worker = place.start("eval")
        place.until(lambda: worker.events("assigned"))
        time.sleep(3)
        for number in range(MESSAGES):
            place.send("model-training", json.dumps(trained(number)[0]).encode())
            time.sleep(0.3 + 0.01 * number)
        place.until(lambda: len(worker.events("handled")) == MESSAGES)
        waited = sorted(event["waited_seconds"] for event in worker.events("received"))
    return {"p50_ms": 1000 * statistics.median(waited), "p99_ms": 1000 * waited[int(0.99 * len(waited))]}


def measure_eval(opener: Opener, folder: Path) -> Figures:
    """Measure how many datasets a second an eval worker promotes from given messages, and whether its memory grows."""
    with opener(folder / "broker") as broker, kafka.place(folder / "place", broker.servers) as place:
        producer = Producer({"bootstrap.servers": broker.servers, "log_level": 0})
        for number in range(DATASETS):
            for message in trained(number):
                producer.produce(place.topic("model-training"), json.dumps(message).encode(), message["model_type"])
        producer.flush()
        worker = place.start("eval")
        place.until(lambda: worker.events("received"))
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
    if promoted != DATASETS:
        raise ValueError(f"{promoted} of {DATASETS} datasets were promoted")
    return {
        "datasets_per_second": promoted / seconds,
        "memory_growth": memory[-1][1] / quarter - 1,
        "memory_mb": memory[-1][1] / 1e6,
    }


def measure_runner(folder: Path, dataset: Path) -> Figures:
    """Measure a dataset through the local runner, with the recommended values."""
    command = [sys.executable, "-m", "pipeline.runner", "--home", str(folder), "--dataset", str(dataset)]
    begun = time.monotonic()
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return {"runner_seconds": time.monotonic() - begun}


def measure_workers(opener: Opener, folder: Path, dataset: Path) -> Figures:
    """Measure a dataset through workers that have imported what they need, with the recommended values."""
    settings = dataset.with_suffix(".toml")
    values = settings if settings.is_file() else ROOT / "pipeline" / "recommended.toml"
    parameters = tomllib.loads(values.read_text())["parameters"]
    with opener(folder / "broker") as broker, kafka.place(folder / "place", broker.servers) as place:
        for name in kafka.SMALL:
            del place.environ[name]
        place.environ |= {name.upper(): str(value) for name, value in parameters.items()}
        bucket = place.folder / "store" / "dataset"
        bucket.mkdir(parents=True)
        for suffix in ("", "_test"):
            shutil.copy(dataset.with_name(f"{dataset.stem}{suffix}.csv"), bucket)
        for stage in kafka.STAGES:
            place.start(stage)
        place.start("preprocess", "--listen")
        place.until(lambda: all(worker.events("assigned") for worker in place.workers))
        time.sleep(10)  # until all have imported what they need
        begun = time.monotonic()
        request = {"dataset_name": dataset.stem, "identifier": "bench"}
        place.send("preprocess-requests", json.dumps(request).encode())
        place.until(lambda: place.documents("performance-eval"), 600)
        return {"kafka_seconds": time.monotonic() - begun}


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
        for order, name in enumerate(REQUIRED_MODELS)
    ]


def _memory(pid: int) -> int:
    process = psutil.Process(pid)
    return sum(each.memory_info().rss for each in (process, *process.children(recursive=True)))


if __name__ == "__main__":
    sys.exit(main())
