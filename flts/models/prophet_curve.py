"""The curve of a fitted Prophet, evaluated from its JSON: trend, seasons and holidays at any time.

``Prophet.predict`` builds data frames for every call, 30 ms for a single row. A forecast of 10,000 steps from its own
values makes that many calls; on arrays each takes a fraction of a millisecond, and loading needs no Prophet.
Formulas: Taylor and Letham, "Forecasting at scale" (The American Statistician, 2018), in Prophet's parametrisation.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, Self

import numpy as np

from flts.timeseries.arrays import Floats, Times

Mode = Literal["additive", "multiplicative"]

SECONDS_PER_DAY = 86400.0


@dataclass(frozen=True)
class Trend:
    """A piecewise linear trend; ``slope`` and ``offset`` (changes + 1,) hold before and after each change.

    Times are ``(seconds since 1970 - start) / scale``, values in units of ``Curve.unit``.
    """

    start: float
    scale: float
    changes: Floats
    slope: Floats
    offset: Floats

    def __call__(self, seconds: Floats) -> Floats:
        """Evaluate at (n,) seconds since 1970."""
        t = (seconds - self.start) / self.scale
        piece = np.searchsorted(self.changes, t, side="right")
        values: Floats = self.slope[piece] * t + self.offset[piece]
        return values


@dataclass(frozen=True)
class Season:
    """A Fourier series of ``period`` days: ``coefficients`` (order, 2) of sine and cosine."""

    period: float
    coefficients: Floats
    mode: Mode

    def __call__(self, seconds: Floats) -> Floats:
        """Evaluate at (n,) seconds since 1970."""
        angle = seconds * (2 * np.pi / SECONDS_PER_DAY / self.period)
        values = np.zeros_like(seconds)
        for harmonic, (sine, cosine) in enumerate(self.coefficients, start=1):
            values += sine * np.sin(harmonic * angle) + cosine * np.cos(harmonic * angle)
        return values


@dataclass(frozen=True)
class Holidays:
    """Effects, by name, of the holidays of a country that the training data's years have."""

    country: str
    effects: Mapping[str, float]
    mode: Mode

    def __call__(self, seconds: Floats) -> Floats:
        """Evaluate at (n,) seconds since 1970."""
        day = np.floor_divide(seconds, SECONDS_PER_DAY).astype("datetime64[D]")
        values = np.zeros_like(seconds)
        for year in np.unique(day.astype("datetime64[Y]")):
            for holiday, name in _holidays(self.country, 1970 + int(year.astype(int))):
                values[day == holiday] += self.effects.get(name, 0.0)
        return values


@dataclass(frozen=True)
class Curve:
    """``trend x (1 + multiplicative terms) + additive terms``, times ``unit``: Prophet's ``yhat``."""

    unit: float
    trend: Trend
    terms: tuple[Season | Holidays, ...]

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """Read what ``prophet.serialize.model_to_dict`` wrote of a model with linear or flat growth."""
        params = {name: np.ravel(fields["params"][name]) for name in ("k", "m", "delta", "beta")}
        beta, used = params["beta"], 0
        terms: list[Season | Holidays] = []
        order, seasons = fields["seasonalities"]
        for name in order:
            size = 2 * seasons[name]["fourier_order"]
            coefficients = beta[used : used + size].reshape(-1, 2)
            terms.append(Season(seasons[name]["period"], coefficients, seasons[name]["mode"]))
            used += size
        if fields["country_holidays"]:
            # Prophet orders these coefficients by column name, a holiday's name and its window, "+0" here.
            names = sorted(_series(fields["train_holiday_names"]), key=lambda name: f"{name}_delim_+0")
            effects = dict(zip(names, beta[used:].tolist(), strict=True))
            terms.append(Holidays(fields["country_holidays"], effects, fields["holidays_mode"]))
        return cls(fields["y_scale"], _trend(fields, params), tuple(terms))

    def __call__(self, time: Times) -> Floats:
        """Evaluate at timestamps (n,); gives (n,) in original units."""
        seconds = time.astype("datetime64[us]").astype(np.int64) / 1e6
        trend = self.trend(seconds)
        values = trend.copy()
        for term in self.terms:
            effect = term(seconds)
            values += trend * effect if term.mode == "multiplicative" else effect
        return self.unit * values


def _trend(fields: Mapping[str, Any], params: Mapping[str, Floats]) -> Trend:
    changes, delta = np.asarray(fields["changepoints_t"], dtype=np.float64), params["delta"]
    if fields["growth"] == "flat":
        changes, delta = changes[:0], delta[:0]
    slope = 0.0 if fields["growth"] == "flat" else params["k"]
    return Trend(
        start=fields["start"],
        scale=fields["t_scale"],
        changes=changes,
        slope=slope + np.concatenate([[0.0], np.cumsum(delta)]),
        # A change of slope turns the line about the point of change, so that the trend has no jump there.
        offset=params["m"] + np.concatenate([[0.0], np.cumsum(-changes * delta)]),
    )


def _series(text: str) -> list[str]:
    values: list[str] = json.loads(text)["data"]
    return values


@lru_cache(maxsize=256)
def _holidays(country: str, year: int) -> tuple[tuple[np.datetime64, str], ...]:
    """Return the days and names of a country's holidays in a year, as Prophet names them, each once."""
    from holidays import country_holidays

    calendar = country_holidays(country, years=year, expand=False, language="en_US")
    days = {(np.datetime64(day, "D"), name) for day in calendar for name in calendar.get_list(day)}
    return tuple(sorted(days))
