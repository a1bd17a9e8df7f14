"""The forecast server and the gateway under steady load: is every request answered, and does memory stay flat?

Locust's clients (`locustfile.py`) ask both for as long as they are told to, while the promoted model changes once a
minute. The server reads its store through that gateway, as it does when deployed. `make soak` takes an hour;
SECONDS=300 a shorter time. Writes build/soak.json, and ends with 1 if a request was lost or memory grew.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from threading import Event, Thread
from typing import Any

from flts.contracts import ModelType
from tests.support.gateway import gateway, resident
from tests.support.serving import Place, history, make_place, serving

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "build" / "soak.json"
CLIENTS = 12
_MODELS: Sequence[ModelType] = ("GRU", "PROPHET")
_SAMPLE_SECONDS = 1.0
_SWAP_SECONDS = 60.0
_GROWTH = 1.10  # from the second quarter of the time to the last, when all that is made once has been made


@dataclass(frozen=True)
class Request:
    """Statistics of the requests of one kind; times in seconds."""

    name: str
    count: int
    lost: int
    p50: float
    p99: float


@dataclass(frozen=True)
class Soaked:
    """Result of the test.

    Attributes:
        requests: By name.
        memory: Resident MB of each server, sampled once a second.
        swaps: How often the promoted model changed.
        problems: What Locust had to say of lost requests.
    """

    requests: Sequence[Request]
    memory: dict[str, list[float]]
    swaps: int
    problems: str

    @property
    def lost(self) -> int:
        """Number of requests without a successful response."""
        return sum(request.lost for request in self.requests)

    def growth(self, server: str) -> float:
        """Return the memory of a server in the last quarter of the time, as a share of that in the second."""
        samples = self.memory[server]
        quarter = len(samples) // 4
        return fmean(samples[-quarter:]) / fmean(samples[quarter : 2 * quarter])

    @property
    def flat(self) -> bool:
        """True if no server's memory grew."""
        return all(self.growth(server) <= _GROWTH for server in self.memory)


def soak(seconds: float, folder: Path) -> Soaked:
    """Put both servers under load, with all they keep in a folder."""
    place = make_place(folder / "place")
    for model_type in _MODELS[::-1]:
        place.promote(model_type)
    with gateway(place.url) as store, serving(store.url) as server:
        server.wait_until_ready()
        given = {"gateway": store.url, "objects": _objects(place), "history": history(300)}
        (folder / "given.json").write_text(json.dumps(given))
        processes = {"gateway": store.process.pid, "inference": server.process.pid}
        memory: dict[str, list[float]] = {name: [] for name in processes}
        ended, swaps = Event(), 0

        def sample() -> None:
            while not ended.wait(_SAMPLE_SECONDS):
                for name, pid in processes.items():
                    memory[name].append(resident(pid) / 1e6)

        def swap() -> None:
            nonlocal swaps
            while not ended.wait(min(_SWAP_SECONDS, seconds / 4)):
                swaps += 1
                place.promote(_MODELS[swaps % 2])

        threads = [Thread(target=work, daemon=True) for work in (sample, swap)]
        for thread in threads:
            thread.start()
        try:
            locust = _run_locust(server.url, seconds, folder / "given.json")
        finally:
            ended.set()
            for thread in threads:
                thread.join()
    found: list[dict[str, Any]] = json.loads(locust.stdout)
    return Soaked([_request(each) for each in found], memory, swaps, locust.stderr)


def _run_locust(url: str, seconds: float, given: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "locust", "--headless", "--json", "--skip-log", "--host", url]
    options = [
        "--users",
        str(CLIENTS),
        "--spawn-rate",
        str(CLIENTS),
        "--run-time",
        f"{seconds:g}s",
        "--stop-timeout",
        "20s",
    ]
    return subprocess.run(
        [*command, *options, "--locustfile", str(Path(__file__).with_name("locustfile.py"))],
        env=os.environ | {"FLTS_SOAK": str(given)},
        capture_output=True,
        text=True,
        check=False,
    )


def _objects(place: Place) -> list[dict[str, Any]]:
    found = [(bucket, info) for bucket in ("dataset", "processed-data") for info in place.store.list(bucket)]
    return [{"name": f"{bucket}/{info.key}", "size": info.size} for bucket, info in found]


def _request(stats: dict[str, Any]) -> Request:
    times = sorted((float(ms), count) for ms, count in stats["response_times"].items())
    total = sum(count for _, count in times)

    def quantile(share: float) -> float:
        passed = 0
        for ms, count in times:
            passed += count
            if passed >= share * total:
                return ms / 1000
        return float("nan")

    return Request(stats["name"], stats["num_requests"], stats["num_failures"], quantile(0.5), quantile(0.99))


def main(argv: Sequence[str] | None = None) -> int:
    """Run it, print a table and write the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3600, help="how long (default: 3600)")
    seconds = parser.parse_args(argv).seconds
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="flts-soak-") as name:
        soaked = soak(seconds, Path(name))
    took = time.monotonic() - begun
    print(f"{CLIENTS} clients for {seconds:g} s ({took:.0f} s in all), {soaked.swaps} swaps of the model")
    print(f"  {'request':<22}{'count':>9}{'lost':>7}{'p50':>9}{'p99':>9}")
    for each in soaked.requests:
        print(f"  {each.name:<22}{each.count:>9}{each.lost:>7}{each.p50 * 1e3:>6.0f} ms{each.p99 * 1e3:>6.0f} ms")
    for server, samples in soaked.memory.items():
        growth = 100 * (soaked.growth(server) - 1)
        print(f"  {server}: {samples[0]:.0f} MB at first, {max(samples):.0f} MB at most, {growth:+.1f} % early to late")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(asdict(soaked), indent=1))
    if soaked.lost:
        print(soaked.problems, file=sys.stderr)
    return int(bool(soaked.lost) or not soaked.flat)


if __name__ == "__main__":
    sys.exit(main())
