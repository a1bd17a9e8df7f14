"""Leaderboards: models and baselines ranked by their errors on the same rows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from flts.contracts import LeaderboardEntry
from flts.timeseries.baseline import Baseline
from flts.timeseries.metrics import Scores, skill


@dataclass(frozen=True)
class Competitor:
    """A model or baseline on a leaderboard.

    Attributes:
        name: Its model type, or the name of the baseline.
        run_id: The run of the model; ``None`` for a baseline.
        scores: Its errors.
        composite: Its composite score, in min-max units of the fit part, by which it is ranked; NaN where unknown.
        rows: Number of rows that were scored, if known.
    """

    name: str
    run_id: str | None
    scores: Scores
    composite: float
    rows: int | None


def rank_competitors(part: Literal["selection", "test"], competitors: Sequence[Competitor]) -> list[LeaderboardEntry]:
    """Return the leaderboard of a part, the lowest composite score first; ties keep their order.

    Those without a finite composite score have no rank, and come last.
    """
    reference = next((one.scores.rmse for one in competitors if one.name == Baseline.PERSISTENCE), np.nan)
    ranked = [one for one in competitors if math.isfinite(one.composite)]
    ranked.sort(key=lambda one: one.composite)
    others = [one for one in competitors if not math.isfinite(one.composite)]
    return [
        LeaderboardEntry(
            model=one.name,
            run_id=one.run_id,
            part=part,
            rank=position if position <= len(ranked) else None,
            composite=_known(one.composite),
            rmse=_known(one.scores.rmse),
            mae=_known(one.scores.mae),
            mse=_known(one.scores.mse),
            mase=_known(one.scores.mase),
            smape=_known(one.scores.smape),
            nrmse=_known(one.scores.nrmse),
            skill=_known(skill(one.scores.rmse, reference)),
            rows=one.rows,
        )
        for position, one in enumerate([*ranked, *others], start=1)
    ]


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
