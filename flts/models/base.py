"""The interfaces of forecasters, and the result of fitting one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

from flts.contracts import ModelType
from flts.models.config import BundleConfig
from flts.progress import Progress
from flts.timeseries.arrays import Floats, Indices
from flts.timeseries.frame import Frame
from flts.timeseries.scaling import Scaler


class Forecaster(Protocol):
    """A trained model that forecasts blocks of steps from the rows before them.

    One whose forecasts of some targets are never below zero names them in an attribute ``non_negative``.
    """

    model_type: ModelType
    input_seq_len: int
    output_seq_len: int
    history_rows: int
    """Rows before an origin that its forecast depends on, where there are so many; at least ``input_seq_len``."""
    targets: tuple[str, ...]
    features: tuple[str, ...]

    def forecast(self, frame: Frame, origins: Indices) -> Floats:
        """Forecast the rows [t, t + output_seq_len) for every origin ``t``, all origins in one batch.

        Args:
            frame: Cleaned columns in original units, without NaN; holds at least the ``features``. It may be a sequence
                of separate windows: time then ascends within each of them only.
            origins: (k,) rows with ``input_seq_len <= t <= len(frame)``. Only the ``history_rows`` rows before ``t``
                are seen, as far as there are so many without a gap, and the times of those forecast; the values from
                ``t`` on are not.

        Returns:
            (k, output_seq_len, targets) in original units.
        """
        ...


class BundledForecaster(Forecaster, Protocol):
    """A forecaster that can be saved and loaded, with its hyperparameters and its model file."""

    def config(self) -> dict[str, Any]:
        """Return the hyperparameters that loading needs, as JSON values."""
        ...

    def save(self, directory: Path) -> None:
        """Write the model file into ``directory``."""
        ...

    @classmethod
    def load(cls, directory: Path, config: BundleConfig, scaler: Scaler) -> Self:
        """Load what ``save`` wrote; ``ValueError``, ``KeyError``, ``TypeError`` or ``IndexError`` when it is not that.

        Raises:
            BadInputError: The model file is not what ``config`` describes.
        """
        ...


@dataclass(frozen=True)
class FitResult:
    """A model fitted on the fit part, and the course of its training.

    Attributes:
        forecaster: The model.
        refit: Trains it once more on all rows.
        plain: The same model without its residual correction, where it has one.
        fit_info: Figures of the fit worth recording.
        train_loss: Loss of each epoch's batches while training, in scaled units; empty without epochs.
        validation_loss: Loss on the validation part after each epoch.
        best_epoch: The epoch with the lowest validation loss, from 1; 0 without epochs, or where none was better than
            the model before the first.
        stopped_early: Whether training ended because the validation loss no longer fell.
    """

    forecaster: BundledForecaster
    refit: Callable[[Progress], BundledForecaster]
    plain: Forecaster | None = None
    fit_info: Mapping[str, object] = field(default_factory=dict)
    train_loss: tuple[float, ...] = ()
    validation_loss: tuple[float, ...] = ()
    best_epoch: int = 0
    stopped_early: bool = False
