"""Volatility of each target over time, so that calm and volatile regimes can count equally."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from flts.timeseries.arrays import Floats, Indices
from flts.timeseries.averages import TAPS, exponential_averages, rows_since_gap
from flts.timeseries.processed import ProcessedData

HALF_LIFE = 15.0
FLOOR = 0.1  # of the mean, so that weights of rows without any change stay bounded
# Rows that the volatility of a row is computed from: TAPS changes need one row more.
REACH = TAPS + 1


@dataclass(frozen=True)
class Volatility:
    """``v[t] = m[t] + 0.1 mean(m)``, with ``m`` the exponential average, half-life 15 rows, of ``|y[t] - y[t-1]|``.

    Changes across gaps do not count; ``m`` is ``mean(m)`` in a row after a gap, where there are none. ``v[t]`` depends
    on the rows up to ``t`` alone.

    Attributes:
        mean: (targets,) mean of ``m`` on the rows that it was fitted on, in the target's units; 1 where it is zero.
    """

    mean: Floats

    @classmethod
    def learn(cls, values: Floats, since: Indices) -> Self:
        """Fit to (n, targets) values, ``since`` (n,) rows since the last gap."""
        average = _average_change(values, since)
        known = since > 0
        mean = average[known].mean(axis=0) if known.any() else np.zeros(values.shape[1])
        return cls(np.where(mean > 0, mean, 1.0))

    def at(self, values: Floats, since: Indices) -> Floats:
        """Return (n, targets) ``v`` of every row."""
        average: Floats = np.where(since[:, None] > 0, _average_change(values, since), self.mean)
        volatility: Floats = average + FLOOR * self.mean
        return volatility


def error_weights(data: ProcessedData, origins: Indices, stop: int, *, by_volatility: bool) -> Floats:
    """Return weights of the squared errors of forecasts from each row on: ``1 / v`` of the row before.

    Their mean over the ``origins`` (k,) is one. The mean volatility is that of the rows [0, stop); without
    ``by_volatility`` all weights are one. The row after the data has a weight, too: (n + 1, targets).
    """
    values, since = data.frame.matrix(data.targets), rows_since_gap(data.gap_before())
    if not by_volatility:
        return np.ones((len(values) + 1, values.shape[1]))
    inverse = 1.0 / Volatility.learn(values[:stop], since[:stop]).at(values, since)
    weights: Floats = np.concatenate([inverse[:1], inverse]) / inverse[origins - 1].mean(axis=0)
    return weights


def _average_change(values: Floats, since: Indices) -> Floats:
    change = np.abs(np.diff(values, axis=0, prepend=values[:1]))
    averages: Floats = exponential_averages(change, since - 1, (HALF_LIFE,))[:, 0]
    return averages
