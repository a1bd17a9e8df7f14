"""A window transform whose targets, and other columns with heavy tails, are on a scale of their own."""

from collections.abc import Mapping
from dataclasses import dataclass

from flts.models.linear_skip import LinearSkip
from flts.models.recurrent.window_transform import WindowTransform
from flts.models.target_transform import TargetTransform
from flts.timeseries.arrays import Floats, Indices, Times
from flts.timeseries.frame import Frame


@dataclass(frozen=True)
class RescaledTransform:
    """A window transform of columns on other scales, whose forecasts are of the mean in original units.

    Attributes:
        inner: The window transform, of columns on their scales.
        scales: The scales.
        targets: Columns that are forecast.
    """

    inner: WindowTransform
    scales: TargetTransform
    targets: tuple[str, ...]

    @property
    def history_rows(self) -> int:
        """See ``WindowTransform.history_rows``."""
        return self.inner.history_rows

    @property
    def width(self) -> int:
        """See ``WindowTransform.width``."""
        return self.inner.width

    @property
    def skip(self) -> LinearSkip | None:
        """See ``WindowTransform.skip``."""
        return self.inner.skip

    def inputs(self, frame: Frame) -> Floats:
        """See ``WindowTransform.inputs``."""
        return self.inner.inputs(self.scales.forward(frame))

    def forecasts(self, frame: Frame, time: Times, origins: Indices, outputs: Floats) -> Floats:
        """See ``WindowTransform.forecasts``."""
        forecasts = self.inner.forecasts(self.scales.forward(frame), time, origins, outputs)
        return self.scales.mean(self.targets, forecasts, frame.matrix(self.targets)[origins - 1])

    def training_targets(self, frame: Frame, origins: Indices) -> Floats:
        """See ``WindowTransform.training_targets``."""
        return self.inner.training_targets(self.scales.forward(frame), origins)

    def tensors(self) -> Mapping[str, Floats]:
        """See ``WindowTransform.tensors``."""
        return self.inner.tensors()
