"""``selection.json``: what a trainer forecast for the rows that it was scored on, kept beside its model.

Scores say how good a model is on all of these rows. A comparison with a model that has learned from some of them needs
the others alone, and a model that was refitted has seen them all: only these forecasts are from before.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from flts.contracts import canonical_json
from flts.errors import BadInputError
from flts.timeseries.arrays import Floats, Times

SELECTION_FILE = "selection.json"


@dataclass(frozen=True)
class SelectionForecasts:
    """One-step forecasts of the scored rows: ``time`` (k,), and (k,) values in original units for each target."""

    time: Times
    predicted: Mapping[str, Floats]

    def to_json(self) -> str:
        """Serialise as canonical JSON; a forecast that is not finite becomes ``null``."""
        values = {
            name: [value if np.isfinite(value) else None for value in column.tolist()]
            for name, column in self.predicted.items()
        }
        return canonical_json({"v": 1, "time": np.datetime_as_string(self.time).tolist(), "predicted": values}) + "\n"

    @classmethod
    def parse(cls, text: str | bytes, *, source: str) -> Self:
        """Read what ``to_json`` wrote; ``BadInputError`` when it is not that."""
        try:
            fields = json.loads(text)
            time = np.array(fields["time"], dtype="datetime64[us]")
            predicted = {str(name): np.array(values, dtype=float) for name, values in fields["predicted"].items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            predicted, time = {}, np.array([], dtype="datetime64[us]")
        if not predicted or any(values.shape != time.shape for values in predicted.values()):
            raise BadInputError(f"{source} does not hold forecasts of selection rows: time and predicted are expected")
        return cls(time, predicted)
