"""The forecaster of an ensemble: the mean of the forecasts of its members."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np

from flts.contracts import ModelType
from flts.errors import BadInputError
from flts.models import bundle
from flts.models.base import Forecaster
from flts.models.config import BundleConfig
from flts.models.ensemble.description import EnsembleDescription
from flts.models.registry import ENSEMBLE
from flts.timeseries.arrays import Floats, Indices
from flts.timeseries.frame import Frame
from flts.timeseries.scaling import Scaler


class EnsembleForecaster:
    """The equal-weight mean of several models with the same targets, windows and blocks.

    Source: Bates and Granger (1969), The combination of forecasts. That equal weights are hard to beat: Stock and
    Watson (2004), Combination forecasts of output growth in a seven-country data set.

    Attributes:
        members: The models.
    """

    model_type: ModelType = ENSEMBLE.model_type

    def __init__(self, members: Sequence[Forecaster]) -> None:
        """Combine models, at least one."""
        first = members[0]
        self.members = tuple(members)
        self.input_seq_len, self.output_seq_len, self.targets = first.input_seq_len, first.output_seq_len, first.targets
        self.history_rows = max(member.history_rows for member in members)
        self.features = tuple(dict.fromkeys(name for member in members for name in member.features))

    def forecast(self, frame: Frame, origins: Indices) -> Floats:
        """Forecast blocks, in one pass of each member; see ``Forecaster.forecast``."""
        return np.asarray(np.mean([member.forecast(frame, origins) for member in self.members], axis=0))

    @classmethod
    def load(cls, directory: Path, config: BundleConfig, scaler: Scaler) -> Self:  # noqa: ARG003 - every forecaster loads alike
        """Load the members from their bundles; each has the scaler that it was trained with.

        Raises:
            BadInputError: ``ensemble.json`` names other members than the bundle holds, or one cannot be loaded.
        """
        described = EnsembleDescription.of(directory).members
        folders = [member.folder(directory) for member in described]
        if folders != bundle.members(directory):
            raise BadInputError(
                f"{directory / ENSEMBLE.weights_file} names {', '.join(member.model_type for member in described)}, "
                "but the bundle holds other members"
            )
        loaded = [
            bundle.load(folder, sha256=member.bundle_sha256).forecaster
            for folder, member in zip(folders, described, strict=True)
        ]
        return cls(loaded)
