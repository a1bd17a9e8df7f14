"""A forecast server as a process over a ``file://`` store, and what lies in that store: data, models, promotions."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from flts.contracts import ModelType, Promotion, composite_score, utc_timestamp
from flts.datafiles.processed_parquet import read_processed
from flts.models import bundle
from flts.params import PreprocessParams, ProphetParams, RecurrentParams, TrainerParams
from flts.progress import no_progress
from flts.promotion import promote
from flts.stage_interface import Context
from flts.stages import STAGES
from flts.stages.preprocessing.objects import TEST_FILE, TRAIN_FILE
from flts.stages.training.fitting import train
from flts.store.file import FileStore
from flts.timeseries.windows import forecast_origins
from tests.support.commands import BIN
from tests.support.listening import listening
from tests.support.waiting import wait_until

IDENTIFIER = "run-001"
ROWS, TEST_ROWS = 700, 150
_SMALL = {
    "GRU": RecurrentParams(
        config_hash="", config_json="", identifier=IDENTIFIER, hidden_size=8, num_layers=1, epochs=1, members=2
    ),
    "PROPHET": ProphetParams(
        config_hash="",
        config_json="",
        identifier=IDENTIFIER,
        n_changepoints=3,
        yearly_seasonality="false",
        weekly_seasonality="false",
    ),
}


@dataclass
class Place:
    """A store with a dataset as preprocess left it, and a folder of trained models."""

    folder: Path
    config_hash: str = ""

    @property
    def url(self) -> str:
        return f"file://{self.folder}/store"

    @property
    def store(self) -> FileStore:
        return FileStore(self.folder / "store")

    def data(self, name: str = TEST_FILE) -> Path:
        """The processed test data, or another file next to it."""
        return self.folder / "store" / "processed-data" / self.config_hash / name

    def bundle(self, model_type: ModelType, params: TrainerParams | None = None) -> Path:
        """Train a model, once; a small one where no parameters are given."""
        folder = self.folder / "models" / model_type
        if not folder.exists():
            data = read_processed(self.data(TRAIN_FILE))
            params = params or _SMALL[model_type]
            history = params.input_seq_len
            origins = forecast_origins(data.gap_before(), data.parts.validation_end, len(data), history)
            train(model_type, data, params, origins, folder, no_progress)
        return folder

    def promotion(self, model_type: ModelType, *, folder: Path | None = None, **changes: Any) -> Promotion:
        """Return the promotion that an evaluation choosing a model now would write."""
        chosen = folder or self.bundle(model_type)
        now, scores = utc_timestamp(), {"rmse": 0.1, "mae": 0.08, "mse": 0.01}
        fields: dict[str, Any] = {
            "model_uri": str(chosen),
            "model_type": model_type,
            "run_id": bundle.digest(chosen)[:32],
            "config_hash": self.config_hash,
            "composite_score": composite_score(**scores),
            "score": composite_score(**scores),
            "promotion_time": now,
            "timestamp": now,
            "identifier": IDENTIFIER,
            "experiment": "flts",
            "bundle_sha256": bundle.digest(chosen),
            "operation": "Promotion",
            "status": "PROMOTED",
            **scores,
            **{f"test_{name}": value for name, value in scores.items()},
        }
        return Promotion(**(fields | changes))

    def promote(self, model_type: ModelType, **changes: Any) -> Promotion:
        """Promote a model, as eval does."""
        promotion = self.promotion(model_type, **changes)
        promote(self.store, promotion, [promotion.run_id, promotion.promotion_time], "model-promotion")
        return promotion


def make_place(folder: Path, dataset: tuple[str, str] | None = None, target: str = "down") -> Place:
    """Preprocess a dataset, by default of two columns every ten minutes; nothing is promoted."""
    place = Place(folder)
    for name, content in zip(("station", "station_test"), dataset or _csv(), strict=True):
        place.store.put("dataset", f"{name}.csv", content.encode())
    (folder / "work").mkdir(parents=True)
    params = PreprocessParams(dataset_name="station", identifier=IDENTIFIER, target_columns=target)
    result = STAGES["preprocess"].run(params, Context({}, folder / "work", store=place.store))
    return Place(folder, result.parameters["config_hash"])


def _csv() -> tuple[str, str]:
    row = np.arange(ROWS + TEST_ROWS)
    random = np.random.default_rng(7)
    level = 20 + 5 * np.sin(2 * np.pi * row / 144) + random.normal(size=len(row)).cumsum() / 5
    columns = {"down": level + random.normal(size=len(row)), "up": level / 2 + random.normal(size=len(row))}
    time_ = np.datetime64("2018-02-01T00:00:00") + row * np.timedelta64(10, "m")
    lines = [
        f"{moment},{down:.3f},{up:.3f}\n"
        for moment, down, up in zip(time_, columns["down"], columns["up"], strict=True)
    ]
    header = "time,down,up\n"
    return header + "".join(lines[:ROWS]), header + "".join(lines[ROWS:])


def history(rows: int = 300) -> dict[str, list[Any]]:
    """The last rows of the test data, as clients would send them."""
    lines = [line.split(",") for line in "".join(_csv()).splitlines() if not line.startswith("time")][-rows:]
    times, down, up = zip(*lines, strict=True)
    return {"time": list(times), "down": [float(each) for each in down], "up": [float(each) for each in up]}


@dataclass
class Server:
    """A running server: its address, and what it has said so far."""

    url: str
    process: "subprocess.Popen[str]"
    lines: list[str] = field(default_factory=list)

    def events(self, event: str = "request") -> list[dict[str, Any]]:
        """Its log lines of a kind."""
        found = [json.loads(line) for line in self.lines if line.startswith("{")]
        return [line for line in found if line["event"] == event]

    def wait_until_ready(self) -> dict[str, Any]:
        """Wait for ``/ready``, and return what it says."""

        def ready() -> dict[str, Any]:
            document: dict[str, Any] = httpx.get(f"{self.url}/ready", timeout=30).raise_for_status().json()
            return document

        return wait_until(ready, ignoring=(httpx.HTTPStatusError,))


@contextmanager
def serving(store: str, *options: str, environ: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Run a server on a free port of this machine until the block ends; it may not be ready yet."""
    command = [
        str(BIN / "flts-inference"),
        "--serve",
        "--gateway-url",
        store,
        "--port",
        "0",
        "--watch-seconds",
        "0.2",
        *options,
    ]
    with listening(command, {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", **(environ or {})}) as (url, process, lines):
        yield Server(url, process, lines)
