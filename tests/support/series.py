"""Small processed data, and a forecaster whose every forecast depends on all that it may see, for tests."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from flts.timeseries.arrays import Floats
from flts.timeseries.features import lag_name, time_features
from flts.timeseries.frame import Frame, Parts
from flts.timeseries.processed import ProcessedData
from flts.timeseries.scaling import Scaler

MINUTE = np.timedelta64(60_000_000, "us")


def make_data(
    rows: int,
    *,
    targets: Sequence[str] = ("a",),
    lags: Sequence[int] = (),
    gaps: Sequence[int] = (),
    start: str = "2024-03-01T22:00",
    seed: int = 0,
) -> ProcessedData:
    """Random walks ``a``, ``b``, ``c`` every minute, time features and lags; an hour is missing before ``gaps``."""
    random = np.random.default_rng(seed)
    time = np.datetime64(start, "us") + np.arange(rows) * MINUTE
    for gap in gaps:
        time[gap:] += 60 * MINUTE
    base = {name: 10 * scale + random.normal(size=rows).cumsum() for scale, name in enumerate("abc", start=1)}
    # The rows before the first, which the first lags stand for.
    earlier = {name: random.normal(size=max(lags, default=0)) for name in base}
    lagged = {
        lag_name(name, n): np.concatenate([earlier[name], values])[-rows - n : -n]
        for name, values in base.items()
        for n in lags
    }
    columns = {**base, **time_features(time), **lagged}
    return ProcessedData(
        frame=Frame(time, columns),
        actual={name: base[name].copy() for name in targets},
        targets=tuple(targets),
        scaler=Scaler.fit("MinMaxScaler", {**base, **lagged}),
        parts=Parts.of(rows),
        sampling_seconds=60.0,
        config_hash="c" * 64,
        config_json="{}",
    )


def changed_from(data: ProcessedData, row: int) -> ProcessedData:
    """The same data with other values from ``row`` on."""
    columns = {name: np.where(np.arange(len(data)) < row, v, v + 1000.0) for name, v in data.frame.columns.items()}
    return replace(data, frame=Frame(data.frame.time, columns))


class ToyForecaster:
    """Mixes every value of the window through fixed random weights; remembers how it was called."""

    model_type = "GRU"

    def __init__(self, data: ProcessedData, input_seq_len: int, output_seq_len: int) -> None:
        self.input_seq_len = self.history_rows = input_seq_len
        self.output_seq_len = output_seq_len
        self.targets = data.targets
        self.features = data.features
        random = np.random.default_rng(7)
        shape = (input_seq_len * len(self.features), output_seq_len * len(self.targets))
        self._weights = random.normal(size=shape) / np.sqrt(shape[0])
        self.batches: list[int] = []

    def forecast(self, frame: Frame, origins: NDArray[np.int64]) -> Floats:
        self.batches.append(len(origins))
        matrix = frame.matrix(self.features)
        assert not np.isnan(matrix).any()
        windows = np.stack([matrix[t - self.input_seq_len : t].ravel() for t in origins])
        assert windows.shape[1] == len(self._weights)
        blocks: Floats = 20 * np.tanh(windows @ self._weights / 20)
        return blocks.reshape(len(origins), self.output_seq_len, len(self.targets))
