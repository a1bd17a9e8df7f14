"""Small model bundles, and what somebody who means harm makes of them: other content under right checksums."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flts.models import bundle
from flts.models.prophet import ProphetForecaster
from tests.support.processed import processed, prophet_line

DATA = processed({"y": range(10, 20), "x": [3] * 10, "z": range(20)[::-2]}, targets=("z", "y"))


def prophet_bundle(folder: Path) -> Path:
    """Write the bundle of a Prophet that draws two lines."""
    forecaster = ProphetForecaster(
        {"z": prophet_line(-2, 19), "y": prophet_line(1, 10)},
        phi={"z": 0.25, "y": 0.5},
        input_seq_len=4,
        output_seq_len=2,
        sampling_seconds=3600,
        hyperparameters={"growth": "linear", "seed": 7},
    )
    bundle.save(folder, forecaster, DATA)
    return folder


def gru_bundle(folder: Path) -> Path:
    """Write the bundle of a GRU with arbitrary weights."""
    import torch

    from flts.models.network import RecurrentNet
    from flts.models.recurrent import RecurrentForecaster

    torch.manual_seed(0)
    gru = RecurrentForecaster(
        RecurrentNet("GRU", len(DATA.features), 8, 2, 2 * len(DATA.targets)),
        input_seq_len=4,
        output_seq_len=2,
        features=DATA.features,
        targets=DATA.targets,
        scaler=DATA.scaler,
    )
    bundle.save(folder, gru, DATA)
    return folder


def rehash(folder: Path) -> None:
    """Write checksums that fit the files."""
    names = [path.name for path in folder.iterdir() if path.name != "checksums.json"]
    sums = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in sorted(names)}
    (folder / "checksums.json").write_text(json.dumps(sums))


def edit(folder: Path, name: str, change: Callable[[Any], object]) -> None:
    """Change a file's JSON in place, and its checksum; what ``change`` returns takes the place of the whole."""
    document = json.loads((folder / name).read_bytes())
    changed = change(document)
    (folder / name).write_text(json.dumps(document if changed is None else changed))
    rehash(folder)
