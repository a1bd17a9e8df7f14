"""Quantiles of scores: split conformal on signed scores, the sides apart, recalibrated as measured values arrive.

Sources: Lei et al. (2018), Distribution-free predictive inference for regression; the sides apart as in Romano et al.
(2019), Conformalized quantile regression; isotonic regression as in Barlow et al. (1972).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from typing import Self

import numpy as np

from flts.models.config import LEVELS, RECENT_SCORES, FittedSignedScores
from flts.models.error_scale import Errors, ErrorScale
from flts.models.recent_scores import RecentScores, signed_quantiles
from flts.models.volatility import Volatility
from flts.timeseries.arrays import Floats, Indices
from flts.timeseries.processed import ProcessedData

_MEDIAN = LEVELS.index(0.5)
_REACH = 2  # steps to each side that widths are averaged over
_TIE = 1e-6  # tells equal scores apart by their quantile
_DIGITS = 6  # significant ones of what a bundle keeps


@dataclass(frozen=True)
class SignedScores:
    """Scores with their sign, ``(measured - forecast) / scale``, of forecasts of rows that a model had not seen.

    Attributes:
        scale: The unit of the scores.
        recent: For each target the last scores one step ahead, at most ``RECENT_SCORES``, in order of time.
        ahead: (steps, targets, quantiles) the quantiles ``LEVELS`` of the scores by steps ahead. Their distance from
            the median does not fall from step to step.
    """

    scale: ErrorScale
    recent: tuple[tuple[float, ...], ...]
    ahead: Floats

    @classmethod
    def learn(cls, volatility: Volatility, data: ProcessedData, first: Errors) -> Self | None:
        """Learn from the errors of forecasts one step ahead of rows that the model had not seen.

        Args:
            volatility: The unit of the errors.
            data: Training data.
            first: (k, 1, targets) the errors, in order of time; each target has a known one.

        Returns:
            The scores, of one step; ``None`` where the data's values are too large to compute with.
        """
        scale = ErrorScale.learn(volatility, data, first)
        scores = scale.scores(scale.history(data)[first.origins], first.predicted[:, 0], first.errors[:, 0])
        recent = tuple(tuple(column[~np.isnan(column)][-RECENT_SCORES:].tolist()) for column in scores.T)
        signed = cls(scale, recent, _rounded(_grid(scores)[None]))
        return signed if all(map(np.isfinite, chain(*recent))) and scale.finite else None

    def reaching(self, data: ProcessedData, ahead: Errors) -> Self:
        """Return these scores with those of the steps from the second on, as far as their quantiles are known.

        Args:
            data: Training data.
            ahead: (m, steps, targets) errors of forecasts several steps ahead of rows that the model had not seen.
        """
        history = self.scale.history(data)[ahead.origins]
        steps = [self.ahead[0]]
        for step in range(1, ahead.errors.shape[1]):
            quantiles = _grid(self.scale.scores(history, ahead.predicted[:, step], ahead.errors[:, step]))
            if not np.isfinite(quantiles).all():
                break
            steps.append(quantiles)
        return replace(self, ahead=_rounded(_widening(np.array(steps))))

    def widening_like(self, others: "Sequence[SignedScores]", steps: int) -> Self:
        """Return these scores with up to ``steps`` steps, as far as all ``others``, of the same targets, have them.

        The distance from the median grows as it does in the mean of the others.
        """
        steps = min((steps, *(len(one.ahead) for one in others))) if others else 1
        growth = np.ones((steps, *self.ahead.shape[1:]))
        if others:
            growth = np.mean(
                [_distances(one.ahead[:steps]) / _nonzero(_distances(one.ahead[:1])) for one in others],
                axis=0,
            )
        median = self.ahead[:1, :, _MEDIAN : _MEDIAN + 1]
        # Sorted, because quantiles next to each other may grow differently.
        ahead = np.sort(median + np.maximum(growth, 1.0) * (self.ahead[:1] - median), axis=-1)
        return replace(self, ahead=_rounded(_widening(ahead)))

    @classmethod
    def symmetric(cls, volatility: Volatility, recent: Sequence[Sequence[float]], widths: Floats) -> Self:
        """Stand in for the signed scores of a bundle that has none: every absolute score with both signs.

        Args:
            volatility: The unit of the scores.
            recent: For each target the last absolute scores one step ahead.
            widths: (steps, targets) half width of its intervals by steps ahead.
        """
        last = RECENT_SCORES // 2
        both = tuple(tuple(signed for score in scores[-last:] for signed in (score, -score)) for scores in recent)
        first = np.array([signed_quantiles(sorted(scores), LEVELS) for scores in both])
        growth = widths / _nonzero(widths[0])
        side = np.sign(np.array(LEVELS) - 0.5)
        ahead = np.where(widths[0][:, None] > 0, growth[..., None] * first, widths[..., None] * side)
        ahead[0] = first
        return cls(ErrorScale.of_volatility(volatility), both, _widening(ahead))

    @classmethod
    def of(cls, fitted: FittedSignedScores, targets: Sequence[str]) -> Self:
        """Restore scores from their JSON form; ``KeyError`` where it is of other targets."""
        ahead = np.array([fitted.ahead[name] for name in targets])
        recent = tuple(tuple(fitted.recent[name]) for name in targets)
        return cls(ErrorScale.of(fitted.scale, targets), recent, ahead.transpose(1, 0, 2))

    def fitted(self, targets: Sequence[str]) -> FittedSignedScores:
        """Return the JSON form."""
        return FittedSignedScores(
            scale=self.scale.fitted(targets),
            recent={name: list(scores) for name, scores in zip(targets, self.recent, strict=True)},
            ahead=dict(zip(targets, self.ahead.transpose(1, 0, 2).tolist(), strict=True)),
        )

    def at(self, levels: Sequence[float], arrived: Floats, origins: Indices, ahead: Indices) -> Floats:
        """Return (k, targets, levels) quantiles of the scores of forecasts, ascending.

        Args:
            levels: The quantiles, ascending.
            arrived: (n, targets) scores one step ahead of the data's rows, NaN where there is none.
            origins: (k,) rows that forecasts are made from, at most n: only the scores of rows before them count.
            ahead: (k,) steps ahead; 1 is the row itself.
        """
        columns = zip(self.recent, arrived.T, strict=True)
        scores = np.stack([_running(before, column, origins, levels) for before, column in columns], axis=1)
        steps = np.minimum(ahead, len(self.ahead)) - 1
        for step in np.unique(steps[steps > 0]).tolist():
            rows = steps == step
            for target, (one, several) in enumerate(zip(self.ahead[0], self.ahead[step], strict=True)):
                scores[rows, target] = _mapped(scores[rows, target], levels, one, several)
        ascending: Floats = np.maximum.accumulate(scores, axis=-1)
        return ascending


class CalibratedQuantiles:
    """Quantiles around forecasts of some data, recalibrated by its own rows; computed when they are first asked for."""

    def __init__(
        self, signed: Callable[[], SignedScores], data: ProcessedData, predicted: Floats, unit: Floats
    ) -> None:
        """Prepare.

        Args:
            signed: Returns the scores that the model came with.
            data: The rows.
            predicted: (n, targets) one-step forecasts of them, NaN where there is none.
            unit: (n + 1, targets) the volatility that a forecast from each row sees, and of the row after the data.
        """
        self._make, self._data, self._predicted, self._unit = signed, data, predicted, unit

    @cached_property
    def _signed(self) -> SignedScores:
        return self._make()

    @cached_property
    def _history(self) -> Floats:
        return self._signed.scale.history(self._data)

    @cached_property
    def _arrived(self) -> Floats:
        """(n, targets) scores of the rows, NaN where unknown."""
        errors = (self._data.actual_matrix() - self._predicted) / self._unit[:-1]
        return self._signed.scale.scores(self._history[:-1], self._predicted, errors)

    def around(self, values: Floats, origins: Indices, ahead: Indices, levels: Sequence[float]) -> Floats:
        """Return (k, targets, levels) quantiles, in original units, ascending.

        Args:
            values: (k, targets) forecasts.
            origins: (k,) the rows that they were made from: no row from there on counts.
            ahead: (k,) steps ahead; 1 is the row itself.
            levels: The quantiles, ascending.
        """
        scores = self._signed.at(levels, self._arrived, origins, ahead)
        errors = self._signed.scale.errors(self._history[origins], values, scores)
        quantiles: Floats = values[..., None] + self._unit[origins][..., None] * errors
        return quantiles


def _running(before: Sequence[float], arrived: Floats, origins: Indices, levels: Sequence[float]) -> Floats:
    """Return (k, levels) quantiles of the last ``RECENT_SCORES`` scores before each of (k,) origins."""
    rows, where = np.unique(origins, return_inverse=True)
    start = int(rows[0]) if len(rows) else 0
    earlier = arrived[:start]
    recent = RecentScores([*before, *earlier[~np.isnan(earlier)].tolist()])
    quantiles = np.empty((len(rows), len(levels)))
    for position, row in enumerate(rows.tolist()):
        for score in arrived[start:row].tolist():
            recent.push(score)
        quantiles[position] = signed_quantiles(recent.ordered, levels)
        start = row
    return quantiles[where.reshape(-1)]


def _mapped(scores: Floats, levels: Sequence[float], one: Floats, several: Floats) -> Floats:
    """Map (k, levels) quantiles one step ahead to those of a later step, by what was learned of both.

    The map is linear between the learned quantiles, and beyond them in proportion to the distance from the median. It
    ascends, so that quantiles cannot cross.
    """
    x, at = one + _TIE * np.array(LEVELS), scores + _TIE * np.array(levels)
    mapped: Floats = np.interp(at, x, several)
    for end, beyond in ((0, np.minimum(at - x[0], 0)), (-1, np.maximum(at - x[-1], 0))):
        spread = abs(one[end] - one[_MEDIAN])
        mapped += beyond * (abs(several[end] - several[_MEDIAN]) / spread if spread > 1e3 * _TIE else 1.0)
    return mapped


def _grid(scores: Floats) -> Floats:
    """Return (targets, quantiles) the quantiles ``LEVELS`` of scores (k, targets), NaN left out."""
    return np.array([signed_quantiles(sorted(column[~np.isnan(column)].tolist()), LEVELS) for column in scores.T])


def _widening(ahead: Floats) -> Floats:
    """Smooth quantiles (steps, targets, quantiles) over the steps, neither side narrower with the distance.

    The first step stays. Those after it are fitted by isotonic regression of the distances from the median, and then
    averaged over neighbouring steps, which keeps their order.
    """
    median, distance = ahead[..., _MEDIAN : _MEDIAN + 1], _distances(ahead)
    distance[1:] = np.maximum(_averaged(_isotonic(distance[1:])), distance[0])
    centre = np.concatenate([median[:1], _averaged(median[1:])])
    # Ascending but for rounding.
    smooth: Floats = np.maximum.accumulate(centre + np.sign(np.arange(len(LEVELS)) - _MEDIAN) * distance, axis=-1)
    return smooth


def _distances(ahead: Floats) -> Floats:
    """Return the distances of quantiles (.., quantiles) from their median."""
    distances: Floats = np.abs(ahead - ahead[..., _MEDIAN : _MEDIAN + 1])
    return distances


def _nonzero(values: Floats) -> Floats:
    return np.where(values > 0, values, 1.0)


def _isotonic(values: Floats) -> Floats:
    """Return the ascending series nearest to (n, ..) values in squared error.

    Its value at i is the largest, over a <= i, of the smallest mean, over b >= i, of the values from a to b.
    """
    sums = np.concatenate([np.zeros_like(values[:1]), np.cumsum(values, axis=0)])
    fitted = np.empty_like(values)
    for row in range(len(values)):
        begins, ends = np.arange(row + 1)[:, None], np.arange(row, len(values))[None]
        lengths = (ends - begins + 1).reshape(row + 1, -1, *(1,) * (values.ndim - 1))
        fitted[row] = ((sums[ends + 1] - sums[begins]) / lengths).min(axis=1).max(axis=0)
    return fitted


def _averaged(values: Floats) -> Floats:
    """Average (n, ..) values over up to ``_REACH`` rows to each side, as many to both."""
    averages = np.empty_like(values)
    for row in range(len(values)):
        reach = min(_REACH, row, len(values) - 1 - row)
        averages[row] = values[row - reach : row + reach + 1].mean(axis=0)
    return averages


def _rounded(values: Floats) -> Floats:
    """Return values as a bundle keeps them, so that a model forecasts the same before and after it is saved."""
    return np.array([float(f"{value:.{_DIGITS}g}") for value in values.ravel()]).reshape(values.shape)
