"""Gates: the requirements that the best model of a run must meet to be promoted.

All scores are composite scores in min-max units, lower is better, and each pair is measured on the same rows.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Requirement:
    """A score that a challenger must beat.

    Attributes:
        name: Its name in sentences.
        score: Its score; NaN if unknown, which no challenger beats.
        challenger: The challenger's score on the same rows.
    """

    name: str
    score: float
    challenger: float


def requires_baselines(gate: str) -> bool:
    """Return whether a gate requires the challenger to beat persistence, exponential smoothing and the linear model."""
    return gate in ("baseline", "both")


def requires_champion(gate: str) -> bool:
    """Return whether a gate requires the challenger to beat the champion."""
    return gate in ("champion", "both")


def failed_requirements(requirements: Iterable[Requirement], min_gain: float) -> tuple[str, ...]:
    """Say why a challenger is held, once per requirement that it fails; nothing when it passes.

    It must score below ``score * (1 - min_gain)``: a tie is not a gain.
    """
    return tuple(_shortfall(requirement, min_gain) for requirement in requirements if not _beats(requirement, min_gain))


def _beats(requirement: Requirement, min_gain: float) -> bool:
    return requirement.challenger < requirement.score * (1 - min_gain)  # false for NaN


def _shortfall(requirement: Requirement, min_gain: float) -> str:
    if math.isnan(requirement.score):
        return f"{requirement.name} has no score to compare with"
    margin = f" by {min_gain:.2%}" if min_gain else ""
    scores = f"composite score {requirement.challenger:.4g} against {requirement.score:.4g}"
    return f"it does not beat {requirement.name}{margin}: {scores}"
