"""Scores of forecast quantiles: the weighted quantile loss, and the share of measured values that each covers."""

from collections.abc import Mapping

import numpy as np

from flts.timeseries.arrays import Floats


def weighted_quantile_loss(actual: Floats, quantiles: Mapping[float, Floats]) -> float:
    """Return the mean over quantiles of ``2 sum of pinball losses / sum of |actual|``.

    The pinball loss of a forecast f of quantile q is ``q (y - f)`` where y is above it, else ``(1 - q) (f - y)``.
    Source: ``mean_weighted_quantile_loss`` of GluonTS (Alexandrov et al., 2020).

    Args:
        actual: (n, targets) measured values, NaN where nothing was measured.
        quantiles: (n, targets) forecasts of each quantile.

    Returns:
        NaN where nothing was measured, no quantile is given, or all measured values are zero.
    """
    known = ~np.isnan(actual)
    total = float(np.abs(actual[known]).sum())
    if not quantiles or not total:
        return np.nan
    errors = ((level, (actual - forecast)[known]) for level, forecast in quantiles.items())
    losses = [2 * float(np.maximum(level * error, (level - 1) * error).sum()) / total for level, error in errors]
    return float(np.mean(losses))


def quantile_coverage(actual: Floats, quantiles: Mapping[float, Floats]) -> dict[float, float]:
    """Return by quantile the share of measured values at or below it; NaN where nothing was measured."""
    known = ~np.isnan(actual)
    return {
        level: float((actual <= forecast)[known].mean()) if known.any() else np.nan
        for level, forecast in quantiles.items()
    }
