"""Prediction intervals: split conformal, in units of recent volatility, recalibrated as measured values arrive.

Source: split conformal prediction as in Lei et al. (2018), Distribution-free predictive inference for regression, with
residuals scaled by a measure of difficulty, here the volatility of recent rows. Quantiles: flts.models.quantiles.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil, isnan
from typing import Self

import numpy as np

from flts.boundary.quantiles import quantile_text
from flts.models.base import Forecaster
from flts.models.config import RECENT_SCORES, STEPS, FittedIntervals
from flts.models.error_scale import Errors
from flts.models.forecasting import Forecast, forecast_from, one_step
from flts.models.quantiles import CalibratedQuantiles, SignedScores
from flts.models.recent_scores import RecentScores, of_sorted
from flts.models.volatility import Volatility
from flts.timeseries.arrays import Floats, Indices
from flts.timeseries.averages import rows_since_gap
from flts.timeseries.processed import ProcessedData
from flts.timeseries.windows import forecast_origins, spans_gap, spread_origins

# The fewest scores that coverage is estimated from.
_LEAST = 20


@dataclass(frozen=True)
class Intervals:
    """Prediction intervals of a model, for each target separately.

    The score of a forecast is its absolute error divided by the volatility of the row before its origin. The half width
    of an interval is the ``level`` quantile of such scores, on rows that the model was not trained on.

    Attributes:
        level: Share of measured values that the intervals should contain.
        targets: The columns.
        volatility: The unit of the scores.
        widths: (steps, targets) half width by steps ahead, in units of volatility.
        recent: For each target the last scores one step ahead, at most ``RECENT_SCORES``, in order of time.
        signed: The scores with their sign, which give quantiles; ``None`` for bundles of older versions.
        non_negative: Targets whose intervals end at zero.
    """

    level: float
    targets: tuple[str, ...]
    volatility: Volatility
    widths: Floats
    recent: tuple[tuple[float, ...], ...]
    signed: SignedScores | None = None
    non_negative: tuple[str, ...] = ()

    @classmethod
    def learn(
        cls, forecaster: Forecaster, data: ProcessedData, predicted: Floats, origins: Indices, level: float
    ) -> Self:
        """Calibrate on the selection part, which the model has not seen.

        Args:
            forecaster: The model.
            data: Training data.
            predicted: (k, targets) its one-step forecasts, in original units.
            origins: (k,) the rows of the selection part that are forecast, at least one.
            level: Share of measured values that the intervals should contain.
        """
        first = cls.of_one_step(data, predicted, origins, level)
        ahead = _errors_ahead(forecaster, data, _units(first.volatility, data))
        widths = np.array([*first.widths, *_widths_ahead(np.abs(ahead.errors), level)])
        signed = first.signed.reaching(data, ahead.first(len(widths))) if first.signed else None
        non_negative = getattr(forecaster, "non_negative", ())
        return replace(first, widths=widths, signed=signed, non_negative=non_negative)

    @classmethod
    def of_one_step(cls, data: ProcessedData, predicted: Floats, origins: Indices, level: float) -> Self:
        """Calibrate one step ahead alone, which needs no model; steps farther ahead have the same width.

        Arguments as of ``learn``.
        """
        since = rows_since_gap(data.gap_before())
        stop = data.parts.fit_end
        volatility = Volatility.learn(data.frame.matrix(data.targets)[:stop], since[:stop])
        errors = _errors(data, predicted, origins, _units(volatility, data))
        scores = np.abs(errors)
        recent = tuple(tuple(_known(column)[-RECENT_SCORES:].tolist()) for column in scores.T)
        signed = SignedScores.learn(volatility, data, Errors(origins, predicted[:, None], errors[:, None]))
        return cls(level, data.targets, volatility, _quantiles(scores, level)[None], recent, signed=signed)

    def widening_like(self, others: "Sequence[Intervals]") -> Self:
        """Return these intervals with the steps that all ``others``, of the same targets, have a width for.

        The width of a step is that of the first one times the mean over the others of the ratio of the same two widths;
        quantiles move away from their median likewise. Intervals end at zero where those of all others do.
        """
        steps = min((len(one.widths) for one in others), default=1)
        ratios = [
            np.where(one.widths[:1] > 0, one.widths[:steps] / np.where(one.widths[:1] > 0, one.widths[:1], 1.0), 1.0)
            for one in others
        ]
        if not ratios:
            return self
        signed = self.signed and self.signed.widening_like([one.signed for one in others if one.signed], steps)
        never_below = tuple(name for name in self.targets if all(name in one.non_negative for one in others))
        widths = self.widths[:1] * np.mean(ratios, axis=0)
        return replace(self, widths=widths, signed=signed, non_negative=never_below)

    @classmethod
    def of(cls, fitted: FittedIntervals, targets: Sequence[str]) -> Self:
        """Restore intervals from their JSON form; ``KeyError`` where it is of other targets."""
        return cls(
            fitted.level,
            tuple(targets),
            Volatility(np.array([fitted.volatility[name] for name in targets])),
            np.array([fitted.widths[name] for name in targets]).T,
            tuple(tuple(fitted.recent[name]) for name in targets),
            SignedScores.of(fitted.signed, targets) if fitted.signed else None,
            tuple(fitted.non_negative),
        )

    def fitted(self) -> FittedIntervals:
        """Return the JSON form."""
        return FittedIntervals(
            level=self.level,
            volatility=dict(zip(self.targets, self.volatility.mean.tolist(), strict=True)),
            widths=dict(zip(self.targets, self.widths.T.tolist(), strict=True)),
            recent={name: list(scores) for name, scores in zip(self.targets, self.recent, strict=True)},
            signed=self.signed.fitted(self.targets) if self.signed else None,
            non_negative=list(self.non_negative),
        )

    def calibrated(self, data: ProcessedData, predicted: Floats, origins: Indices) -> "CalibratedIntervals":
        """Recalibrate by the values measured in some data.

        Args:
            data: The rows, with the targets.
            predicted: (k, targets) one-step forecasts, in original units.
            origins: (k,) the rows that are forecast, ascending.
        """
        unit = _units(self.volatility, data)
        scores = np.full((len(data), len(self.targets)), np.nan)
        scores[origins] = np.abs(_errors(data, predicted, origins, unit))
        first = [running_quantiles(before, scores[:, i], self.level) for i, before in enumerate(self.recent)]
        forecasts = np.full_like(scores, np.nan)
        forecasts[origins] = predicted
        quantiles = CalibratedQuantiles(self._signed_or_symmetric, data, forecasts, unit)
        least = np.array([0.0 if name in self.non_negative else -np.inf for name in self.targets])
        return CalibratedIntervals(self.widths, unit, np.stack(first, axis=1), least, self.level, quantiles)

    def _signed_or_symmetric(self) -> SignedScores:
        return self.signed or SignedScores.symmetric(self.volatility, self.recent, self.widths)

    def calibrated_on_recent(self, forecaster: Forecaster, data: ProcessedData) -> "CalibratedIntervals":
        """Recalibrate by the last ``RECENT_SCORES`` values of each target, for forecasts of what follows the data."""
        history = forecaster.input_seq_len
        origins = forecast_origins(data.gap_before(), history, len(data), history)
        known = ~np.isnan(data.actual_matrix()[origins])
        # The last values of each target: one that was measured less often looks back further.
        since = known[::-1].cumsum(axis=0)[::-1]
        origins = np.compress((known & (since <= RECENT_SCORES)).any(axis=1), origins)
        predicted = one_step(forecaster, data, origins) if len(origins) else np.empty((0, len(self.targets)))
        return self.calibrated(data, predicted, origins)

    def coverage(self, data: ProcessedData, predicted: Floats, origins: Indices) -> float:
        """Return the share of measured values within intervals calibrated on the rows before them.

        Counted from the twentieth row on, so that no interval contains a row that it was calibrated on. NaN where there
        are fewer rows; arguments as of ``calibrated``.
        """
        unit = _units(self.volatility, data)
        scores = np.abs(_errors(data, predicted, origins, unit))
        inside, counted = 0, 0
        for column in scores.T:
            known = _known(column)
            widths = running_quantiles(known[:_LEAST].tolist(), known[_LEAST:], self.level)[:-1]
            inside += int(np.count_nonzero(known[_LEAST:] <= widths))
            counted += len(widths)
        return inside / counted if counted else np.nan


@dataclass(frozen=True)
class Bounds:
    """Intervals around n forecasts, in original units.

    Attributes:
        lower: (n, targets) lower bounds.
        upper: (n, targets) upper bounds.
        quantiles: (n, targets) each of the quantiles that were asked for, ascending.
    """

    lower: Floats
    upper: Floats
    quantiles: Mapping[float, Floats] = field(default_factory=dict)

    @property
    def arrays(self) -> tuple[Floats, ...]:
        """All of them."""
        return (self.lower, self.upper, *self.quantiles.values())

    def columns(self, targets: Sequence[str]) -> dict[str, Floats]:
        """Return (n,) values by column, such as ``<target>_lower`` and ``<target>_q0.05``, target by target.

        A name that is that of a target as well is left out.
        """
        suffixes = {"lower": self.lower, "upper": self.upper}
        suffixes |= {f"q{quantile_text(quantile)}": values for quantile, values in self.quantiles.items()}
        columns = {
            f"{name}_{suffix}": values[:, index]
            for index, name in enumerate(targets)
            for suffix, values in suffixes.items()
        }
        return {name: values for name, values in columns.items() if name not in targets}


@dataclass(frozen=True)
class CalibratedIntervals:
    """Intervals around forecasts of some data, recalibrated by its own rows.

    Attributes:
        widths: (steps, targets) half width by steps ahead, in units of volatility, before the recalibration.
        unit: (n + 1, targets) the volatility that a forecast from each row sees, and of the row after the data.
        first: (n + 1, targets) half width one step ahead, in the same units, calibrated on the rows before each row.
        least: (targets,) the least value of a bound.
        level: Share of measured values that the intervals should contain.
        quantiles: Quantiles of what will be measured.
    """

    widths: Floats
    unit: Floats
    first: Floats
    least: Floats
    level: float
    quantiles: CalibratedQuantiles

    def half_widths(self, origins: Indices, ahead: Indices) -> Floats:
        """Return (k, targets) half widths, in original units, of forecasts ``ahead`` (k,) steps from rows (k,).

        One step ahead is the row itself. The recalibration of one step scales the other steps in proportion.
        """
        widths = self.widths[np.minimum(ahead, len(self.widths)) - 1]
        first = self.first[origins]
        usual = np.broadcast_to(self.widths[0], first.shape)
        scaled = np.where(usual > 0, widths * first / np.where(usual > 0, usual, 1.0), np.maximum(widths, first))
        half: Floats = self.unit[origins] * scaled
        return half

    def bounds(self, forecast: Forecast, quantiles: Sequence[float] = ()) -> Bounds:
        """Return the bounds of the intervals around a forecast of that data; see ``around``."""
        return self.around(forecast.values, forecast.origin, forecast.ahead, quantiles)

    def around(self, values: Floats, origins: Indices, ahead: Indices, quantiles: Sequence[float] = ()) -> Bounds:
        """Return the bounds around forecasts (k, targets) made ``ahead`` (k,) steps from rows (k,).

        With ``quantiles``, ascending, the bounds are quantiles too, those of ``(1 - level) / 2`` and
        ``(1 + level) / 2``; else they are as far below the forecast as above it.
        """
        if not quantiles:
            half = self.half_widths(origins, ahead)
            lower, upper = (np.maximum(values + sign * half, self.least) for sign in (-1, 1))
            return Bounds(lower, upper)
        ends = [round((1 + side * self.level) / 2, 12) for side in (-1, 1)]
        levels = sorted({*quantiles, *ends})
        around = self.quantiles.around(values, origins, ahead, levels)
        found = dict(zip(levels, np.moveaxis(np.maximum(around, self.least[:, None]), -1, 0), strict=True))
        return Bounds(found[ends[0]], found[ends[1]], {level: found[level] for level in quantiles})


def running_quantiles(before: Sequence[float], arriving: Floats, level: float) -> Floats:
    """Return the corrected quantile of the last ``RECENT_SCORES`` scores before each arriving one, and after the last.

    Args:
        before: Earlier scores, in order of time; the last ``RECENT_SCORES`` of them count.
        arriving: (n,) new scores, NaN where there is none.
        level: As in ``of_sorted``.

    Returns:
        (n + 1,); NaN while there is no score.
    """
    recent = RecentScores(before)
    quantiles = np.empty(len(arriving) + 1)
    quantiles[0] = of_sorted(recent.ordered, level)
    for row, score in enumerate(arriving.tolist(), start=1):
        if isnan(score):
            quantiles[row] = quantiles[row - 1]
            continue
        recent.push(score)
        quantiles[row] = of_sorted(recent.ordered, level)
    return quantiles


def _quantiles(scores: Floats, level: float) -> Floats:
    """Return (targets,) the corrected quantile of scores (k, targets), NaN left out."""
    return np.array([of_sorted(sorted(_known(column).tolist()), level) for column in scores.T])


def _widths_ahead(scores: Floats, level: float) -> Iterator[Floats]:
    """Yield (targets,) the quantiles of scores (k, steps, targets) of each step from the second on.

    They end before the first step that has too few scores, or forecasts that are not finite.
    """
    enough = ceil(level / (1 - level) - 1e-9)
    for step in range(1, scores.shape[1]):
        widths = _quantiles(scores[:, step], level)
        if ((~np.isnan(scores[:, step])).sum(axis=0) < enough).any() or not np.isfinite(widths).all():
            return
        yield widths


def _known(scores: Floats) -> Floats:
    return scores[~np.isnan(scores)]


def _units(volatility: Volatility, data: ProcessedData) -> Floats:
    """Return (n + 1, targets) the volatility of the row before each row, and before the row after the data."""
    values = data.frame.matrix(data.targets)
    of_rows = volatility.at(values, rows_since_gap(data.gap_before()))
    return np.concatenate([of_rows[:1], of_rows])


def _errors(data: ProcessedData, predicted: Floats, origins: Indices, unit: Floats) -> Floats:
    """Return (k, targets) the errors of one-step forecasts of rows, in units of volatility, NaN where unknown."""
    errors: Floats = (data.actual_matrix()[origins] - predicted) / unit[origins]
    return errors


def _errors_ahead(forecaster: Forecaster, data: ProcessedData, unit: Floats) -> Errors:
    """Return the errors of forecasts from at most ``SPREAD`` origins all over the selection part."""
    start, history = data.parts.validation_end, forecaster.input_seq_len
    origins = spread_origins(data.gap_before(), start, len(data), history, data.sampling_seconds)
    steps = min(STEPS, len(data) - start)
    if not len(origins):
        return Errors(origins, *np.empty((2, 0, 0, len(data.targets))))
    rows = origins[:, None] + np.arange(steps)
    known = (rows < len(data)) & ~spans_gap(data.gap_before(), origins[:, None], rows)
    actual = np.where(known[..., None], data.actual_matrix()[np.minimum(rows, len(data) - 1)], np.nan)
    predicted = forecast_from(forecaster, data, origins, steps)
    return Errors(origins, predicted, (actual - predicted) / unit[origins][:, None])
