"""Live forecasts under load: a GRU of two layers of 128 units in one process, clients in another.

The model is trained for one epoch on the demo dataset; its size decides the speed, not what it learned. Every answer
is computed: the server keeps no results. Part of `make bench-serving`; writes build/bench_serving.json.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.load import Seen
from flts.datafiles.processed_parquet import read_processed
from flts.params import RecurrentParams
from flts.timeseries.features import TIME_FEATURES
from tests.support.serving import IDENTIFIER, Place, Server, make_place, serving

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "build" / "bench_serving.json"
ROWS, STEPS, HISTORIES = 1000, 100, 50
CLIENTS, SECONDS = 64, 6.0
ONE_STEP = b'{"inference_length": 1}'


def prepare(folder: Path) -> Place:
    """Preprocess the demo dataset, train the model and promote it."""
    data = ROOT / "examples" / "data"
    texts = ((data / "jfk_weather.csv").read_text(), (data / "jfk_weather_test.csv").read_text())
    place = make_place(folder, texts, target="temp")
    params = RecurrentParams(config_hash="", config_json="", identifier=IDENTIFIER, epochs=1, refit=False)
    place.bundle("GRU", params)
    place.promote("GRU")
    return place


def histories(place: Place) -> list[bytes]:
    """Return different requests with data."""
    data = read_processed(place.data())
    bodies = []
    for start in range(HISTORIES):
        frame = data.frame.rows(start, start + ROWS)
        columns = {name: values.tolist() for name, values in frame.columns.items() if name not in TIME_FEATURES}
        times = [f"{moment.isoformat()}Z" for moment in frame.time.tolist()]
        bodies.append(json.dumps({"inference_length": STEPS, "data": {"time": times, **columns}}).encode())
    return bodies


def start_load(server: Server, clients: int, seconds: float, rate: float = 0.0) -> "subprocess.Popen[bytes]":
    """Start the process of the clients, which waits for the request bodies."""
    command = [sys.executable, "-m", "benchmarks.load", server.url, str(clients), str(seconds), str(rate)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def load(server: Server, bodies: Sequence[bytes], clients: int, seconds: float = SECONDS, rate: float = 0.0) -> Seen:
    """Put load on a server, and return the results of the clients."""
    with start_load(server, clients, seconds, rate) as process:
        out, _ = process.communicate(b"\n".join(bodies))
    return Seen(**json.loads(out))


def swap_under_load(place: Place, server: Server) -> tuple[Seen, int]:
    """Promote three times under 200 requests a second; also returns how many models were loaded."""
    before = len(server.events("loaded"))
    with start_load(server, 16, 10.0, 200.0) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(ONE_STEP)
        process.stdin.close()
        for _ in range(3):
            time.sleep(2.5)
            place.promote("GRU")
        seen = Seen(**json.loads(process.stdout.read()))
    return seen, len(server.events("loaded")) - before


def measure() -> dict[str, Any]:
    """Return the results of the clients in each scenario, and the start-up time of the server."""
    with tempfile.TemporaryDirectory() as folder:
        place = prepare(Path(folder) / "place")
        figures: dict[str, Any] = {}
        begun = time.perf_counter()
        with serving(place.url, "--identifier", IDENTIFIER) as server:
            server.wait_until_ready()
            figures["start_seconds"] = time.perf_counter() - begun
            load(server, [ONE_STEP], CLIENTS, 2.0)  # warm
            for clients in (16, CLIENTS):
                figures[f"one_step_{clients}_clients"] = vars(load(server, [ONE_STEP], clients))
            figures["one_step_at_10_per_second"] = vars(load(server, [ONE_STEP], 1, rate=10.0))
            figures["100_steps_of_1000_rows"] = vars(load(server, histories(place), 1))
            seen, loaded = swap_under_load(place, server)
            figures["swaps_at_200_per_second"] = vars(seen) | {"swaps": loaded}
        with serving(place.url, "--identifier", IDENTIFIER, "--max-batch", "1") as server:
            server.wait_until_ready()
            load(server, [ONE_STEP], CLIENTS, 2.0)
            figures[f"one_step_{CLIENTS}_clients_unbatched"] = vars(load(server, [ONE_STEP], CLIENTS))
        batched, alone = (figures[f"one_step_{CLIENTS}_clients{kind}"]["per_second"] for kind in ("", "_unbatched"))
        figures["batching_gain"] = batched / alone
        return figures


def main() -> None:
    """Measure, print a table, and write the figures to a file."""
    figures = measure()
    print(f"{'live forecasts':<38} requests/s  p50 ms  p99 ms  failed")
    for name, row in figures.items():
        if isinstance(row, dict):
            print(f"  {name:<36} {row['per_second']:10.0f} {row['p50_ms']:7.1f} {row['p99_ms']:7.1f} {row['failed']:7}")
    print(f"  batching gains {figures['batching_gain']:.2f}x (at least 3), with {CLIENTS} clients")
    print(f"  from start to /ready {figures['start_seconds']:.1f} s (at most 5)")
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
