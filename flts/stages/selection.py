"""``selection.json``: a training's forecasts of the rows that its model was scored on, kept next to the model.

Scores say how good a model is on all of these rows. To compare it with another one on some of them, eval needs the
forecasts themselves, and from before the refit: a refitted model has learned from every row.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from flts.contracts import canonical_json
from flts.errors import BadInputError
from flts.timeseries.arrays import Floats, Indices, Times
from flts.timeseries.processed import ProcessedData

SELECTION_FILE = "selection.json"


@dataclass(frozen=True)
class SelectionForecasts:
    """One-step forecasts of the scored rows.

    Attributes:
        time: (k,) when the rows are.
        predicted: For each target (k,) forecasts in original units.
        actual: For each target (k,) measured values, NaN where nothing was measured; empty in files of older versions.
    """

    time: Times
    predicted: Mapping[str, Floats]
    actual: Mapping[str, Floats] = field(default_factory=dict)

    def matrix(self, targets: Sequence[str], *, actual: bool = False) -> Floats:
        """Stack the forecasts, or the measured values, to (k, targets)."""
        columns = self.actual if actual else self.predicted
        return np.stack([columns[name] for name in targets], axis=1)

    def to_json(self) -> str:
        """Serialise as canonical JSON; a value that is not finite becomes ``null``."""
        fields = {
            "v": 1,
            "time": np.datetime_as_string(self.time).tolist(),
            "predicted": _lists(self.predicted),
            "actual": _lists(self.actual),
        }
        return canonical_json(fields) + "\n"

    @classmethod
    def of(cls, data: ProcessedData, origins: Indices, predicted: Floats) -> Self:
        """Put forecasts (k, targets) of the rows ``origins`` (k,) next to what was measured."""
        return cls(
            time=data.frame.time[origins],
            predicted=dict(zip(data.targets, predicted.T, strict=True)),
            actual=dict(zip(data.targets, data.actual_matrix()[origins].T, strict=True)),
        )

    @classmethod
    def parse(cls, text: str | bytes, *, source: str) -> Self:
        """Read what ``to_json`` wrote; ``BadInputError`` when it is something else."""
        try:
            fields = json.loads(text)
            time = np.array(fields["time"], dtype="datetime64[us]")
            predicted, actual = _columns(fields["predicted"]), _columns(fields.get("actual", {}))
        except (ValueError, KeyError, TypeError, AttributeError):
            predicted, actual, time = {}, {}, np.array([], dtype="datetime64[us]")
        columns = [*predicted.values(), *actual.values()]
        named_alike = not actual or set(actual) == set(predicted)
        if not predicted or not named_alike or any(values.shape != time.shape for values in columns):
            raise BadInputError(f"{source} does not hold forecasts of selection rows: time and predicted are expected")
        return cls(time, predicted, actual)


def _lists(columns: Mapping[str, Floats]) -> dict[str, list[float | None]]:
    return {
        name: [value if np.isfinite(value) else None for value in values.tolist()] for name, values in columns.items()
    }


def _columns(fields: Mapping[str, Any]) -> dict[str, Floats]:
    return {str(name): np.array(values, dtype=float) for name, values in fields.items()}
