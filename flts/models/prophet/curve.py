"""The curve of a fitted Prophet, evaluated from its JSON: trend, seasons and holidays at any time.

``Prophet.predict`` builds data frames in every call, 30 ms for a single row. A recursive forecast of 10,000 steps makes
that many calls; on arrays each takes a fraction of a millisecond, and loading needs no Prophet.
Formulas: Taylor and Letham, "Forecasting at scale" (The American Statistician, 2018), in Prophet's parametrisation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Json, model_validator

from flts.timeseries.arrays import Floats, Times

Mode = Literal["additive", "multiplicative"]

SECONDS_PER_DAY = 86400.0


def _single_draw(value: Any) -> Any:
    """Take a parameter of a fit out of its list of one draw, ``[[..]]``, if it is in one."""
    while isinstance(value, list) and len(value) == 1 and isinstance(value[0], list):
        value = value[0]
    return value


def _number(value: Any) -> Any:
    value = _single_draw(value)
    return value[0] if isinstance(value, list) and len(value) == 1 else value


Scalar = Annotated[float, BeforeValidator(_number)]
Vector = Annotated[list[float], BeforeValidator(_single_draw), Field(max_length=100_000)]
Positive = Annotated[float, Field(gt=0)]


class FittedSeason(BaseModel):
    """A season of a fitted Prophet; ``period`` in days."""

    model_config = ConfigDict(allow_inf_nan=False)

    period: Positive
    fourier_order: Annotated[int, Field(ge=1, le=1000)]
    mode: Mode


class FittedParams(BaseModel):
    """The parameters of a fitted Prophet that its curve needs."""

    model_config = ConfigDict(allow_inf_nan=False)

    k: Scalar
    m: Scalar
    delta: Vector
    beta: Vector


class HolidayNames(BaseModel):
    """A pandas series of names in JSON."""

    data: list[str]


class FittedProphet(BaseModel):
    """The part of Prophet's JSON that the curve needs; the rest is neither checked nor read."""

    model_config = ConfigDict(allow_inf_nan=False)

    growth: Literal["linear", "flat"]
    start: float
    t_scale: Positive
    y_scale: Positive
    changepoints_t: Vector
    seasonalities: tuple[list[str], dict[str, FittedSeason]]
    country_holidays: str | None
    train_holiday_names: Json[HolidayNames] | None = None
    holidays_mode: Mode = "additive"
    params: FittedParams

    @property
    def holidays(self) -> list[str]:
        """The holidays in the order of their coefficients: by column name, a holiday's name and its window, "+0"."""
        names = self.train_holiday_names.data if self.country_holidays and self.train_holiday_names else []
        return sorted(names, key=lambda name: f"{name}_delim_+0")

    @model_validator(mode="after")
    def _parameters_fit(self) -> Self:
        order, seasons = self.seasonalities
        if set(order) != set(seasons) or len(order) != len(seasons):
            raise ValueError("must name exactly the seasons that it describes in field 'seasonalities'")
        if len(self.params.delta) != len(self.changepoints_t):
            raise ValueError("must have as many changes in field 'changepoints_t' as in 'params.delta'")
        used = sum(2 * season.fourier_order for season in seasons.values())
        # Without seasons and holidays there is one coefficient that is not used.
        if len(self.params.beta) != max(used + len(self.holidays), 1):
            raise ValueError("must have as many coefficients in field 'params.beta' as seasons and holidays need")
        return self


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
    """Effects, by name, of the holidays of a country in the years of the training data."""

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
        """Read the fields that ``prophet.serialize.model_to_dict`` gives of a model with linear or flat growth.

        Raises:
            pydantic.ValidationError: They are not of such a model.
        """
        fitted = FittedProphet.model_validate(fields)
        beta, used = np.array(fitted.params.beta), 0
        terms: list[Season | Holidays] = []
        order, seasons = fitted.seasonalities
        for name in order:
            season, size = seasons[name], 2 * seasons[name].fourier_order
            terms.append(Season(season.period, beta[used : used + size].reshape(-1, 2), season.mode))
            used += size
        if fitted.country_holidays:
            effects = dict(zip(fitted.holidays, beta[used:].tolist(), strict=False))
            terms.append(Holidays(fitted.country_holidays, effects, fitted.holidays_mode))
        return cls(fitted.y_scale, _trend(fitted), tuple(terms))

    def __call__(self, time: Times) -> Floats:
        """Evaluate at timestamps (n,); gives (n,) in original units."""
        seconds = time.astype("datetime64[us]").astype(np.int64) / 1e6
        trend = self.trend(seconds)
        values = trend.copy()
        for term in self.terms:
            effect = term(seconds)
            values += trend * effect if term.mode == "multiplicative" else effect
        return self.unit * values


def _trend(fitted: FittedProphet) -> Trend:
    params, flat = fitted.params, fitted.growth == "flat"
    changes, delta = (np.array([] if flat else values) for values in (fitted.changepoints_t, params.delta))
    return Trend(
        start=fitted.start,
        scale=fitted.t_scale,
        changes=changes,
        slope=(0.0 if flat else params.k) + np.concatenate([[0.0], np.cumsum(delta)]),
        # The offsets keep the trend continuous where the slope changes.
        offset=params.m + np.concatenate([[0.0], np.cumsum(-changes * delta)]),
    )


@lru_cache(maxsize=256)
def _holidays(country: str, year: int) -> tuple[tuple[np.datetime64, str], ...]:
    """Return the days and names of a country's holidays in a year, named as in Prophet, each once."""
    from holidays import country_holidays

    if not 1 <= year <= 9999:  # the range of Python's dates
        return ()
    calendar = country_holidays(country, years=year, expand=False, language="en_US")
    days = {(np.datetime64(day, "D"), name) for day in calendar for name in calendar.get_list(day)}
    return tuple(sorted(days))
