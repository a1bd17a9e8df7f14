"""Scores of the baselines on the rows that selected the promoted model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flts.boundary.untrusted import json_object
from flts.contracts import Promotion
from flts.errors import FltsError
from flts.timeseries.baseline import Baseline

_METRICS_FILE = "metrics.json"


@dataclass(frozen=True)
class NaiveScores:
    """RMSE of the baselines by name, in min-max units; unknown ones are missing."""

    baselines: Mapping[str, float]


def read_scores(promotion: Promotion, tracking_uri: str) -> NaiveScores:
    """Read the scores from MLflow; if they cannot be read, return none."""
    from flts.tracking import Tracking, short_timeouts

    if not promotion.model_uri.startswith("runs:/"):
        return NaiveScores({})
    try:
        with short_timeouts():
            texts = Tracking(tracking_uri).read_artifacts(promotion.run_id, (_METRICS_FILE,))
        fields: dict[str, Any] = json_object(texts.get(_METRICS_FILE, "{}"), _METRICS_FILE, "a metrics file")
    except FltsError:
        return NaiveScores({})
    found = {name: fields.get(f"{name}_test_rmse") for name in Baseline}
    return NaiveScores({name: float(value) for name, value in found.items() if isinstance(value, int | float)})
