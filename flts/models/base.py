"""What every forecaster offers."""

from typing import Protocol

from flts.contracts import ModelType
from flts.timeseries.arrays import Floats, Indices
from flts.timeseries.frame import Frame


class Forecaster(Protocol):
    """A trained model that forecasts blocks of steps from the rows before them."""

    model_type: ModelType
    input_seq_len: int
    output_seq_len: int
    targets: tuple[str, ...]
    features: tuple[str, ...]

    def forecast(self, frame: Frame, origins: Indices) -> Floats:
        """Forecast the rows [t, t + output_seq_len) for every origin ``t``, all origins in one batch.

        Args:
            frame: Cleaned columns in original units, without NaN; holds at least the ``features``.
            origins: (k,) rows with ``input_seq_len <= t <= len(frame)``. Only rows before ``t`` are seen;
                the values from ``t`` on are not.

        Returns:
            (k, output_seq_len, targets) in original units.
        """
        ...
