"""Training of GRU and LSTM against the machine's matrix product, a plain PyTorch loop and a DataLoader loop.

Useful GFLOP/s are three times the forward pass's matrix products (once forward, twice backward), divided by the wall
time of an epoch with its optimizer; what a loop computes beyond them, or saves of them, does not count. All loops see
the same windows in batches of the same size, with one thread, taking turns. On a shared machine others can only slow
things down, so the best epoch of each loop is compared with the best matrix product of the run, and the median epoch
with the median.

`python -m benchmarks training`
"""

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from flts.datafiles.reading import read_frame
from flts.models.neural.training_loop import MAX_GRADIENT_NORM
from flts.models.recurrent.network import RecurrentNet, RecurrentType
from flts.models.recurrent.training import RecurrentTrainer
from flts.params import PreprocessParams, RecurrentParams
from flts.stages.preprocessing.transforms import prepare
from flts.timeseries.frame import Frame
from flts.timeseries.processed import ProcessedData

POBLESEC = Path(__file__).parents[2] / "shared" / "data" / "PobleSec.csv"
GATES = {"GRU": 3, "LSTM": 4}
REPEATS = 7


def dataset(path: Path) -> tuple[str, ProcessedData]:
    """Preprocess a file with the design's defaults; where it is missing, random walks of PobleSec's shape."""
    if path.is_file():
        name, frame = path.name, read_frame(path).frame
    else:
        name, rows, random = f"random walks, because {path} is missing", 15_927, np.random.default_rng(0)
        moments = np.datetime64("2018-02-05T23:40", "us") + np.arange(rows) * np.timedelta64(120, "s")
        frame = Frame(moments, {f"column_{n}": random.normal(size=rows).cumsum() for n in range(11)})
    train, test = frame.rows(0, len(frame) - 100), frame.rows(len(frame) - 100, len(frame))  # which is not used here
    return name, prepare(train, test, PreprocessParams(dataset_name="bench", identifier="bench"), "{}").train


def forward_flops(model_type: RecurrentType, learner: RecurrentTrainer, params: RecurrentParams) -> float:
    """Return the matrix-product FLOPs of one forward pass over all training windows."""
    features, hidden = learner.groups[0].series.inputs.shape[1], params.hidden_size
    outputs = learner.networks[0].head.out_features
    inputs = [features] + [hidden] * (params.num_layers - 1)
    step = sum(2 * GATES[model_type] * hidden * (width + hidden) for width in inputs)
    return float(len(learner.origins) * (params.input_seq_len * step + 2 * hidden * outputs))


def plain_step(
    net: RecurrentNet, optimizer: torch.optim.Optimizer, windows: torch.Tensor, wanted: torch.Tensor
) -> None:
    """Train on one batch as any tutorial does; ``windows`` (steps, batch, features)."""
    optimizer.zero_grad()
    nn.functional.mse_loss(net(windows), wanted).backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(net.parameters(), MAX_GRADIENT_NORM)
    optimizer.step()


def plain_epochs(
    model_type: RecurrentType, learner: RecurrentTrainer, params: RecurrentParams
) -> dict[str, Callable[[], None]]:
    """Return an epoch of a loop that slices a resident series, and one over a DataLoader; a new network each."""
    series, origins = learner.groups[0].series, learner.origins
    rnn, head = learner.networks[0].rnn, learner.networks[0].head

    def fresh() -> tuple[RecurrentNet, torch.optim.Optimizer]:
        net = RecurrentNet(model_type, rnn.input_size, rnn.hidden_size, rnn.num_layers, head.out_features)
        return net, torch.optim.Adam(net.parameters(), lr=params.learning_rate)

    sliced_net, sliced_optimizer = fresh()
    loader_net, loader_optimizer = fresh()
    windows, wanted = series.inputs[series.window_rows(origins).t()], learner.groups[0].labels.targets
    loader = DataLoader(TensorDataset(windows, wanted[origins]), batch_size=params.batch_size, shuffle=True)

    def sliced() -> None:
        for batch in torch.split(origins[torch.randperm(len(origins))], params.batch_size):
            plain_step(sliced_net, sliced_optimizer, series.inputs[series.window_rows(batch)], wanted[batch])

    def loaded() -> None:
        for batch, labels in loader:
            plain_step(loader_net, loader_optimizer, batch.transpose(0, 1), labels)

    return {"plain": sliced, "dataloader": loaded}


def sgemm_gflops() -> float:
    """Return GFLOP/s of the best of ten 1024x1024 single-precision products."""
    left, right = torch.randn(2, 1024, 1024).unbind(0)
    out = torch.empty(1024, 1024)
    return 2 * 1024**3 / min(seconds(lambda: torch.mm(left, right, out=out)) for _ in range(10)) / 1e9


def seconds(function: Callable[[], object]) -> float:
    """Return the wall time of a call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def measure_model(model_type: RecurrentType, data: ProcessedData, repeats: int) -> dict[str, Any]:
    """Return the best of sgemm and of every loop's epoch: seconds, useful GFLOP/s and its share of sgemm."""
    params = RecurrentParams(
        config_hash="", config_json="", identifier="bench", members=1, linear_skip=False, volatility_weighting=False
    )
    learner = RecurrentTrainer(model_type, data, params, stop=data.parts.fit_end, part="fit part")
    flops = 3 * forward_flops(model_type, learner, params)
    loops: dict[str, Callable[[], object]] = {"flts": learner.loop.epoch, **plain_epochs(model_type, learner, params)}
    epochs: dict[str, list[float]] = {name: [] for name in loops}
    peaks = [sgemm_gflops()]
    for _ in range(repeats):
        for name, epoch in loops.items():
            epochs[name].append(seconds(epoch))
            peaks.append(sgemm_gflops())
    figures = {
        name: {
            "epoch_seconds": min(took),
            "useful_gflops": flops / min(took) / 1e9,
            "share_of_sgemm": flops / min(took) / 1e9 / max(peaks),
            "median_share_of_sgemm": flops / statistics.median(took) / 1e9 / statistics.median(peaks),
        }
        for name, took in epochs.items()
    }
    return {
        "sgemm_gflops": max(peaks),
        "windows": len(learner.origins),
        **figures,
        "ratio_to_plain": figures["plain"]["epoch_seconds"] / figures["flts"]["epoch_seconds"],
        "ratio_to_dataloader": figures["dataloader"]["epoch_seconds"] / figures["flts"]["epoch_seconds"],
    }


def measure(path: Path = POBLESEC, repeats: int = REPEATS) -> dict[str, Any]:
    """Return the figures of both models, with one thread."""
    os.environ["FLTS_THREADS"] = "1"
    name, data = dataset(path)
    return {
        "dataset": name,
        "rows": len(data),
        "features": len(data.features),
        "repeats": repeats,
        "GRU": measure_model("GRU", data, repeats),
        "LSTM": measure_model("LSTM", data, repeats),
    }
