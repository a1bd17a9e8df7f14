"""Leaderboards in reports, and the sentence about baselines that were not beaten."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from flts.contracts import LeaderboardEntry
from flts.report.numbers import number
from flts.report.render import BASELINES
from flts.timeseries.baseline import Baseline

# Forecasts that need no model; a model that loses to one of them on the test data is not worth its cost.
FLOORS = {Baseline.EXPONENTIAL_SMOOTHING: "exponential smoothing", Baseline.LINEAR: "the linear baseline"}


@dataclass(frozen=True)
class LeaderboardRow:
    """A line of a leaderboard; ``chosen`` marks the model that was promoted."""

    label: str
    entry: LeaderboardEntry
    chosen: bool


@dataclass(frozen=True)
class LeaderboardTable:
    """A leaderboard with its caption."""

    caption: str
    rows: tuple[LeaderboardRow, ...]


def leaderboard_table(
    entries: Iterable[LeaderboardEntry], part: str, chosen_run: str, caption: str
) -> LeaderboardTable | None:
    """Build the table of one part of the data; ``None`` where nothing is known of it."""
    rows = tuple(
        LeaderboardRow(BASELINES.get(entry.model, entry.model), entry, bool(chosen_run) and entry.run_id == chosen_run)
        for entry in entries
        if entry.part == part
    )
    return LeaderboardTable(caption, rows) if rows else None


def floors_not_beaten(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return the baselines whose backtest RMSE is not above the model's, and that RMSE.

    Args:
        metrics: Metrics of inference; those of older versions lack the baselines.
    """
    rmse = _number(metrics, "backtest_rmse")
    known = {label: _number(metrics, f"backtest_{name}_rmse") for name, label in FLOORS.items()}
    return {label: value for label, value in known.items() if value <= rmse}


def floors_sentence(subject: str, metrics: Mapping[str, Any]) -> str:
    """Say that a model does not beat a baseline on the test data; empty where it beats all that are known.

    Args:
        subject: The model, at the beginning of the sentence.
        metrics: As in ``floors_not_beaten``.
    """
    lost = floors_not_beaten(metrics)
    if not lost:
        return ""
    scores = " and ".join(number(value) for value in lost.values())
    own = number(_number(metrics, "backtest_rmse"))
    return f"{subject} does not beat {' or '.join(lost)} on the test data: backtest RMSE {own} against {scores}"


def _number(metrics: Mapping[str, Any], name: str) -> float:
    value = metrics.get(name)
    return float(value) if isinstance(value, int | float) else math.nan
