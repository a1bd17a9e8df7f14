"""Membership: the models that are not clearly worse than the best, by their forecasts of the selection part.

Weights that are fitted on such a part lose to equal ones, since no part of a series is like the next. The part is used
to leave out what is clearly worse, and for nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from flts.contracts import SCORE_WEIGHTS, ModelType
from flts.timeseries.arrays import Floats

# Within this share of the best composite score a model is a member without a test.
NEAR = 0.05
# It is clearly worse where fewer of the resamples than this show it no worse.
LEVEL = 0.05
RESAMPLES = 1000
_SEED = 18


@dataclass(frozen=True)
class Membership:
    """A model that is a member of the ensemble or not; ``reason`` says why, as a sentence without its end."""

    model_type: ModelType
    member: bool
    reason: str


def choose_members(actual: Floats, forecasts: Mapping[ModelType, Floats], unit: Floats) -> list[Membership]:
    """Choose the models to average: those within 5 % of the best composite score, or statistically tied with it.

    A model is tied with the best where a paired block bootstrap of their forecasts does not show it to be worse at the
    level of 5 %: blocks of successive rows are drawn, the same for both, and both are scored on them.

    Source: Künsch (1989), The jackknife and the bootstrap for general stationary observations, whose blocks have
    lengths of the order ``n^(1/3)``; drawn from a circle as in Politis and Romano (1992), A circular block-resampling
    procedure for stationary data, so that every row is drawn equally often.

    Args:
        actual: (k, targets) measured values in order of time, NaN where nothing was measured.
        forecasts: (k, targets) of each model, in the order that breaks ties.
        unit: (targets,) width that errors are divided by.
    """
    names = list(forecasts)
    rows = np.stack([_sums(actual, forecasts[name], unit) for name in names])
    scores = _composites(rows.sum(axis=-1))
    best = int(np.argmin(scores))
    resampled = _resampled_composites(rows)
    return [
        Membership(name, *_judge(scores[i], scores[best], float(np.mean(resampled[i] <= resampled[best])), i == best))
        for i, name in enumerate(names)
    ]


def statistically_tied(actual: Floats, forecast: Floats, better: Floats, unit: Floats) -> bool:
    """Return whether the resamples of ``choose_members`` do not show a forecast (k, targets) to be the worse of two."""
    one, other = _resampled_composites(np.stack([_sums(actual, each, unit) for each in (forecast, better)]))
    return float(np.mean(one <= other)) >= LEVEL


def _judge(score: float, best: float, no_worse: float, is_best: bool) -> tuple[bool, str]:
    if is_best:
        return True, f"it has the lowest composite score, {best:.4g}"
    above = (
        f"its composite score, {score:.4g}, is {score / best - 1:.1%} above the best" if best else "the best is exact"
    )
    if score <= best * (1 + NEAR):
        return True, f"{above}: within {NEAR:.0%}"
    share = f"{no_worse:.1%} of {RESAMPLES:,} resamples show it no worse"
    if no_worse >= LEVEL:
        return True, f"{above}, but statistically tied with it: {share}"
    return False, f"{above}, and clearly worse: {share}"


def _sums(actual: Floats, predicted: Floats, unit: Floats) -> Floats:
    """Return (3, k): the squared errors, the absolute errors and the number of measured values of every row."""
    measured = ~np.isnan(actual)
    error = np.where(measured, (predicted - actual) / unit, 0.0)
    return np.stack([(error**2).sum(axis=1), np.abs(error).sum(axis=1), measured.sum(axis=1)])


def _composites(sums: Floats) -> Floats:
    """Return (..) composite scores of (.., 3) sums over rows."""
    mse, mae = sums[..., 0] / sums[..., 2], sums[..., 1] / sums[..., 2]
    weights = SCORE_WEIGHTS
    composites: Floats = weights["rmse"] * np.sqrt(mse) + weights["mae"] * mae + weights["mse"] * mse
    return composites


def _resampled_composites(rows: Floats) -> Floats:
    """Return (models, resamples) composite scores of (models, 3, k) rows, drawn in blocks, the same for all models."""
    count = rows.shape[-1]
    length = max(1, round(count ** (1 / 3)))
    circle = np.concatenate([rows, rows[..., : length - 1]], axis=-1)
    blocks = np.lib.stride_tricks.sliding_window_view(circle, length, axis=-1).sum(axis=-1)  # one from each row on
    drawn = np.random.default_rng(_SEED)
    sums = [blocks[..., drawn.integers(count, size=-(-count // length))].sum(axis=-1) for _ in range(RESAMPLES)]
    return _composites(np.stack(sums, axis=1))
