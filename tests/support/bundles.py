"""Small model bundles, and what somebody who means harm makes of them: other content under right checksums."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from flts.models import bundle
from flts.models.ensemble.bundling import MemberBundle, save_ensemble
from flts.models.prophet.forecaster import ProphetForecaster
from flts.models.prophet.residual_correction import ResidualCorrection
from tests.support.processed import processed, prophet_line

DATA = processed({"y": range(10, 20), "x": [3] * 10, "z": range(20)[::-2]}, targets=("z", "y"))


def prophet_bundle(folder: Path) -> Path:
    """Write the bundle of a Prophet that draws two lines."""
    forecaster = ProphetForecaster(
        {"z": prophet_line(-2, 19), "y": prophet_line(1, 10)},
        corrections={"z": ResidualCorrection.decay(0.25, 2), "y": ResidualCorrection.decay(0.5, 2)},
        input_seq_len=4,
        output_seq_len=2,
        sampling_seconds=3600,
        hyperparameters={"growth": "linear", "seed": 7},
    )
    bundle.save(folder, forecaster, DATA)
    return folder


def gru_bundle(folder: Path) -> Path:
    """Write the bundle of a GRU with arbitrary weights, without a skip."""
    import torch

    from flts.models.recurrent.forecaster import RecurrentForecaster
    from flts.models.recurrent.network import RecurrentNet
    from flts.models.recurrent.window_transform import ScalingTransform

    torch.manual_seed(0)
    gru = RecurrentForecaster(
        [RecurrentNet("GRU", len(DATA.features), 8, 2, 2 * len(DATA.targets))],
        ScalingTransform(DATA.features, DATA.targets, DATA.scaler, input_seq_len=4, output_seq_len=2),
        input_seq_len=4,
        output_seq_len=2,
        features=DATA.features,
        targets=DATA.targets,
    )
    bundle.save(folder, gru, DATA)
    return folder


def skip_bundle(folder: Path) -> Path:
    """Write the bundle of two GRUs with arbitrary weights that add to a linear skip."""
    import torch

    from flts.models.recurrent.forecaster import RecurrentForecaster
    from flts.models.recurrent.network import RecurrentNet
    from flts.models.recurrent.window_transform import LinearSkipTransform

    torch.manual_seed(0)
    transform = LinearSkipTransform.learn(
        DATA.frame,
        DATA.features,
        DATA.targets,
        np.arange(4, 9),
        np.ones((5, 2)),
        input_seq_len=4,
        output_seq_len=2,
        sampling_seconds=DATA.sampling_seconds,
    )
    grus = RecurrentForecaster(
        [RecurrentNet("GRU", transform.width, 8, 2, 2 * len(DATA.targets)) for _ in range(2)],
        transform,
        input_seq_len=4,
        output_seq_len=2,
        features=DATA.features,
        targets=DATA.targets,
    )
    bundle.save(folder, grus, DATA)
    return folder


def ensemble_bundle(folder: Path) -> Path:
    """Write the bundle of the mean of the GRU and the Prophet, whose own bundles are written next to it."""
    members = [gru_bundle(folder.parent / "gru"), prophet_bundle(folder.parent / "prophet")]
    save_ensemble(folder, [MemberBundle.verified(each, f"run-{each.name}", None) for each in members], None)
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
