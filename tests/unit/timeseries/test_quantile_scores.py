"""Scores of quantiles against numbers worked out by hand."""

import numpy as np
import pytest

from flts.timeseries.quantile_scores import quantile_coverage, weighted_quantile_loss

NAN = np.nan
ACTUAL = np.array([[2.0], [-4.0], [NAN], [6.0]])
FORECASTS = {0.1: np.array([[1.0], [-3.0], [5.0], [6.0]]), 0.5: np.array([[2.0], [-4.0], [0.0], [9.0]])}


def test_the_weighted_quantile_loss_is_that_of_gluonts():
    # Of 0.1: 0.1 x 1 above, 0.9 x 1 below, none; of 0.5: none, none, 0.5 x 3. Twice, over 12, and their mean.
    assert weighted_quantile_loss(ACTUAL, FORECASTS) == pytest.approx((2 * 1.0 / 12 + 2 * 1.5 / 12) / 2)


def test_coverage_is_the_share_at_or_below():
    assert quantile_coverage(ACTUAL, FORECASTS) == {0.1: pytest.approx(2 / 3), 0.5: 1.0}


def test_nothing_to_score_is_nan():
    assert np.isnan(weighted_quantile_loss(ACTUAL, {}))
    assert np.isnan(weighted_quantile_loss(np.full((4, 1), NAN), FORECASTS))
    assert np.isnan(weighted_quantile_loss(np.zeros((4, 1)), FORECASTS))
    assert np.isnan(quantile_coverage(np.full((4, 1), NAN), FORECASTS)[0.5])
