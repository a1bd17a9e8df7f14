"""Prophet: one model of trend, seasons and holidays per target, corrected by a ridge on its residuals."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np

from flts.contracts import ModelType, canonical_json
from flts.models.config import BundleConfig
from flts.models.prophet_curve import Curve
from flts.models.residuals import Correction
from flts.models.volatility import REACH
from flts.timeseries.arrays import Floats, Indices
from flts.timeseries.frame import Frame, time_of
from flts.timeseries.scaling import Scaler

MODEL_FILE = "prophet.json"


class ProphetForecaster:
    """Fitted Prophets, one per target.

    Prophet's curve ``yhat`` is a function of time alone: what happened after the fit does not move it, and other
    columns never do. Recent rows enter by the correction: the residual ``r = y - yhat`` is forecast from its own last
    rows, those of the measured columns, and the calendar, and added to the curve.

    Attributes:
        models: The fitted model of every target, as ``prophet.serialize.model_to_dict`` gives it.
        corrections: What forecasts the residual of each target; none makes it plain Prophet.
        hyperparameters: The training parameters that shaped the models.
        sampling_seconds: Time between two steps beyond the end of a frame.
    """

    model_type: ModelType = "PROPHET"

    def __init__(
        self,
        models: Mapping[str, Mapping[str, Any]],
        *,
        corrections: Mapping[str, Correction],
        input_seq_len: int,
        output_seq_len: int,
        sampling_seconds: float,
        hyperparameters: Mapping[str, Any],
    ) -> None:
        self.models = models
        self.corrections = corrections
        self.input_seq_len = input_seq_len
        self.output_seq_len = output_seq_len
        self.history_rows = max(input_seq_len, REACH) if corrections else input_seq_len
        self.targets = tuple(models)
        seen = (name for correction in corrections.values() for name in correction.columns)
        self.features = tuple(dict.fromkeys((*self.targets, *seen)))
        self.hyperparameters = hyperparameters
        self.sampling_seconds = sampling_seconds
        self._curves = {name: Curve.from_dict(model) for name, model in models.items()}

    def forecast(self, frame: Frame, origins: Indices) -> Floats:
        """Forecast blocks; see ``Forecaster.forecast``. Rows behind the frame follow at ``sampling_seconds``."""
        blocks = origins[:, None] + np.arange(self.output_seq_len)
        values = np.stack([self._curve(name, frame, blocks) for name in self.targets], axis=-1)
        if not self.corrections or not len(origins):
            return values
        start, stop = max(0, int(origins.min()) - self.history_rows), int(origins.max())
        seen, near = frame.rows(start, stop), origins - start
        for position, name in enumerate(self.targets):
            residual = seen.columns[name] - self._curves[name](seen.time)
            values[..., position] += self.corrections[name](
                seen, frame.time[start : stop + self.output_seq_len], residual, near, self.sampling_seconds
            )
        return values

    def curve(self, target: str, frame: Frame) -> Floats:
        """Return (n,) ``yhat`` of a target at the rows of a frame."""
        return self._curves[target](frame.time)

    def plain(self) -> Self:
        """Return the same models without the correction by recent rows."""
        return self.corrected({})

    def corrected(self, corrections: Mapping[str, Correction]) -> Self:
        """Return the same models with these corrections, by target."""
        return type(self)(
            self.models,
            corrections=corrections,
            input_seq_len=self.input_seq_len,
            output_seq_len=self.output_seq_len,
            sampling_seconds=self.sampling_seconds,
            hyperparameters=self.hyperparameters,
        )

    def config(self) -> dict[str, Any]:
        """Return the hyperparameters."""
        return dict(self.hyperparameters)

    def save(self, directory: Path) -> None:
        """Write ``prophet.json``: Prophet's own JSON of every target's model, and its correction."""
        corrections = {name: correction.to_dict() for name, correction in self.corrections.items()}
        text = canonical_json({"models": self.models, "corrections": corrections})
        (directory / MODEL_FILE).write_text(f"{text}\n", encoding="utf-8")

    @classmethod
    def load(cls, directory: Path, config: BundleConfig, scaler: Scaler) -> Self:  # noqa: ARG003 - one way to load
        """Load what ``save`` wrote; Prophet itself is not needed, and the scaler neither: its models are unscaled.

        Older bundles have a factor ``phi`` by which a residual decays instead of corrections.
        """
        content = json.loads((directory / MODEL_FILE).read_bytes())
        hyperparameters, steps = dict(config.hyperparameters), config.output_seq_len
        if decay := hyperparameters.pop("phi", None):
            corrections = {name: Correction.decay(decay[name], steps) for name in config.targets}
        else:
            corrections = {
                name: Correction.from_dict(content["corrections"][name], steps)
                for name in (config.targets if content["corrections"] else ())
            }
        return cls(
            {name: content["models"][name] for name in config.targets},
            corrections=corrections,
            input_seq_len=config.input_seq_len,
            output_seq_len=steps,
            sampling_seconds=config.sampling_seconds,
            hyperparameters=hyperparameters,
        )

    def _curve(self, target: str, frame: Frame, rows: Indices) -> Floats:
        """Return Prophet's curve at row numbers of any shape, each distinct row evaluated once."""
        distinct, position = np.unique(rows, return_inverse=True)
        return self._curves[target](time_of(distinct, frame.time, self.sampling_seconds))[position.reshape(rows.shape)]
