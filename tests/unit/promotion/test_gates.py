"""What a challenger must beat, and by how much."""

import math

import pytest

from flts.promotion import Requirement, failed_requirements, requires_baselines, requires_champion


@pytest.mark.parametrize(
    ("gate", "baselines", "champion"),
    [("none", False, False), ("baseline", True, False), ("champion", False, True), ("both", True, True)],
)
def test_what_each_gate_asks(gate, baselines, champion):
    assert (requires_baselines(gate), requires_champion(gate)) == (baselines, champion)


@pytest.mark.parametrize(
    ("challenger", "score", "min_gain", "passes"),
    [
        (0.9, 1.0, 0.0, True),
        (1.0, 1.0, 0.0, False),
        (1.1, 1.0, 0.0, False),
        (0.94, 1.0, 0.05, True),
        (0.96, 1.0, 0.05, False),
        (0.0, 0.0, 0.0, False),
        (0.1, math.nan, 0.0, False),
    ],
)
def test_the_score_must_be_lower_by_the_margin(challenger, score, min_gain, passes):
    assert (failed_requirements([Requirement("persistence", score, challenger)], min_gain) == ()) is passes


def test_every_requirement_that_is_not_taken_is_named():
    requirements = [
        Requirement("persistence", 0.1, 0.2),
        Requirement("the linear model", 0.3, 0.2),
        Requirement("it", math.nan, 0.2),
    ]
    assert failed_requirements(requirements, 0.01) == (
        "it does not beat persistence by 1.00%: composite score 0.2 against 0.1",
        "it has no score to compare with",
    )


def test_without_requirements_everything_passes():
    assert failed_requirements([], 0.5) == ()
