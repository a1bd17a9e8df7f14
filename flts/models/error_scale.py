"""The size that errors are expected to have, below and above a forecast, given the rows before it and the forecast.

Sources: a linear model of the logarithm of errors as in Harvey (1976), Estimating regression models with multiplicative
heteroscedasticity; conformal scores in units of such a model as in Lei et al. (2018), section 5.2.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from flts.models.config import ERROR_FEATURES, FittedErrorScale
from flts.models.volatility import FLOOR, Volatility
from flts.timeseries.arrays import Floats, Indices
from flts.timeseries.averages import exponential_averages, rows_since_gap
from flts.timeseries.processed import ProcessedData

# Half-lives, in rows, of the averages that explain the size of errors: of absolute changes, and of values.
_CHANGES, _VALUES = (2.0, 5.0, 15.0, 50.0), (10.0, 50.0)
_NEAR_ZERO = 0.1  # of the mean absolute value: below it, the logarithmic scale of levels is linear
_CONSTANT = 1e-9  # standard deviation of a feature that explains nothing
_LEAST = 100  # errors of a side that its weights are learned from; with fewer, the scale is volatility alone
_PENALTY = 30.0  # of squared weights, as much as thirty rows count
_SMALLEST = 0.2  # of the median error: the logarithms of smaller ones say little but luck
_FARTHEST = 4.0  # standard deviations that a feature may be from its mean
_DIGITS = 8  # significant ones of what a bundle keeps


@dataclass(frozen=True)
class Errors:
    """Errors of forecasts from k origins.

    Attributes:
        origins: (k,) rows.
        predicted: (k, steps, targets) forecasts in original units; the first step is the origin itself.
        errors: (k, steps, targets) in units of volatility, NaN where unknown.
    """

    origins: Indices
    predicted: Floats
    errors: Floats

    def first(self, steps: int) -> "Errors":
        """Return those of the first ``steps`` steps."""
        return Errors(self.origins, self.predicted[:, :steps], self.errors[:, :steps])


@dataclass(frozen=True)
class ErrorScale:
    """The unit of signed scores: volatility times ``exp(w . z)``, with standardised features z.

    Features are logarithms of averages of absolute changes, and the levels ``arcsinh(y / near_zero)`` of the last
    value, of averages and of the forecast: logarithmic, with a place for zero and negative values. Errors below and
    above the forecast have weights of their own.

    Attributes:
        floor: (targets,) what is added to averages of changes, in the target's units.
        near_zero: (targets,) in the target's units.
        centre: (targets, features) means of the features.
        spread: (targets, features) their standard deviations.
        weights: (targets, 2, features + 1) for errors below and above the forecast; the last is the constant.
        bounds: (targets, 2, 2) the lowest and the highest ``w . z`` of each side among what it was learned from.
    """

    floor: Floats
    near_zero: Floats
    centre: Floats
    spread: Floats
    weights: Floats
    bounds: Floats

    @classmethod
    def of_volatility(cls, volatility: Volatility) -> Self:
        """Return the scale that is volatility alone."""
        targets = len(volatility.mean)
        nothing, one = np.zeros((targets, ERROR_FEATURES)), np.ones((targets, ERROR_FEATURES))
        weights, bounds = np.zeros((targets, 2, ERROR_FEATURES + 1)), np.zeros((targets, 2, 2))
        return cls(FLOOR * volatility.mean, np.ones(targets), nothing, one, weights, bounds)

    @classmethod
    def learn(cls, volatility: Volatility, data: ProcessedData, errors: Errors) -> Self:
        """Learn from the errors of one-step forecasts of rows that the model has not seen.

        Args:
            volatility: The unit of the errors.
            data: Training data; what is near zero is learned from its fit part.
            errors: (k, 1, targets) the errors.
        """
        level = _NEAR_ZERO * np.abs(data.frame.matrix(data.targets)[: data.parts.fit_end]).mean(axis=0)
        scale = replace(cls.of_volatility(volatility), near_zero=_rounded(np.where(level > 0, level, 1.0)))
        history, predicted = scale.history(data)[errors.origins], errors.predicted[:, 0]
        features = scale._features(history, predicted)
        spread = np.where(features.std(axis=0) > _CONSTANT, features.std(axis=0), 1.0)
        scale = replace(scale, centre=_rounded(features.mean(axis=0)), spread=_rounded(spread))
        z, weights, bounds = scale._standardised(history, predicted), scale.weights.copy(), scale.bounds.copy()
        for target, column in enumerate(errors.errors[:, 0].T):
            for side, sizes in enumerate((-column, column)):
                known = sizes > 0
                if known.sum() >= _LEAST:
                    weights[target, side] = _rounded(_ridge(z[known, target], sizes[known]))
                    exponents = z[known, target] @ weights[target, side]
                    bounds[target, side] = _rounded(np.array([exponents.min(), exponents.max()]))
        return replace(scale, weights=weights, bounds=bounds)

    @classmethod
    def of(cls, fitted: Mapping[str, FittedErrorScale], targets: Sequence[str]) -> Self:
        """Restore a scale from its JSON form; ``KeyError`` where it is of other targets."""
        return cls(*(np.array([getattr(fitted[name], part) for name in targets]) for part in _PARTS))

    def fitted(self, targets: Sequence[str]) -> dict[str, FittedErrorScale]:
        """Return the JSON form."""
        rows = zip(*(getattr(self, part).tolist() for part in _PARTS), strict=True)
        return {
            name: FittedErrorScale(**dict(zip(_PARTS, row, strict=True)))
            for name, row in zip(targets, rows, strict=True)
        }

    @property
    def finite(self) -> bool:
        """True unless the data's values were too large to compute with."""
        return all(np.isfinite(getattr(self, part)).all() for part in _PARTS)

    def history(self, data: ProcessedData) -> Floats:
        """Return (n + 1, targets, features - 1) features of the row before each row and the row after the data."""
        values, since = data.frame.matrix(data.targets), rows_since_gap(data.gap_before())
        changes = exponential_averages(np.abs(np.diff(values, axis=0, prepend=values[:1])), since - 1, _CHANGES)
        # After a gap there are no changes: they are taken to be as usual.
        changes = np.where(np.isnan(changes), self.floor / FLOOR, changes) + self.floor
        levels = np.concatenate([values[:, None], exponential_averages(values, since, _VALUES)], axis=1)
        features = np.concatenate([np.log(changes), np.arcsinh(levels / self.near_zero)], axis=1).transpose(0, 2, 1)
        return np.concatenate([features[:1], features])

    def scores(self, history: Floats, predicted: Floats, errors: Floats) -> Floats:
        """Return errors in units of this scale.

        Args:
            history: (k, targets, features - 1) rows of ``history``.
            predicted: (k, targets) forecasts.
            errors: (k, targets, ..) their errors, in units of volatility.
        """
        return errors / self._by_sign(history, predicted, errors)

    def errors(self, history: Floats, predicted: Floats, scores: Floats) -> Floats:
        """Return the errors, in units of volatility, of scores (k, targets, ..); the inverse of ``scores``."""
        return scores * self._by_sign(history, predicted, scores)

    def _by_sign(self, history: Floats, predicted: Floats, values: Floats) -> Floats:
        """Return, for values (k, targets, ..), the factor of the side that the sign of each names."""
        exponent = np.einsum("ktf,tsf->kts", self._standardised(history, predicted), self.weights)
        below, above = np.moveaxis(np.exp(np.clip(exponent, self.bounds[..., 0], self.bounds[..., 1])), -1, 0)
        shape = (*below.shape, *(1,) * (values.ndim - below.ndim))
        factors: Floats = np.where(values < 0, below.reshape(shape), above.reshape(shape))
        return factors

    def _standardised(self, history: Floats, predicted: Floats) -> Floats:
        """Return (k, targets, features + 1): standardised features, and a one for the constant."""
        z = np.clip((self._features(history, predicted) - self.centre) / self.spread, -_FARTHEST, _FARTHEST)
        return np.concatenate([z, np.ones((*z.shape[:-1], 1))], axis=-1)

    def _features(self, history: Floats, predicted: Floats) -> Floats:
        return np.concatenate([history, np.arcsinh(predicted / self.near_zero)[..., None]], axis=-1)


_PARTS = ("floor", "near_zero", "centre", "spread", "weights", "bounds")


def _ridge(z: Floats, sizes: Floats) -> Floats:
    """Return the weights of a ridge regression of the logarithm of sizes (k,) on z (k, features + 1)."""
    penalty = _PENALTY * np.eye(z.shape[1])
    penalty[-1, -1] = 0.0  # of the constant
    logarithms = np.log(sizes + _SMALLEST * float(np.median(sizes)))
    return np.asarray(np.linalg.solve(z.T @ z + penalty, z.T @ logarithms), dtype=np.float64)


def _rounded(values: Floats) -> Floats:
    """Return values as a bundle keeps them, so that a model forecasts the same before and after it is saved."""
    return np.array([float(f"{value:.{_DIGITS}g}") for value in np.ravel(values)]).reshape(np.shape(values))
