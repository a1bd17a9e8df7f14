"""Columns computed from others: sine and cosine of calendar time, and lags."""

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from flts.timeseries.arrays import Floats, Times

# Period of each calendar feature, in its own unit.
_PERIODS: Mapping[str, float] = MappingProxyType({"min_of_day": 1440, "day_of_week": 7, "day_of_year": 365.25})
_PERIOD_DAYS: Mapping[str, float] = MappingProxyType({"min_of_day": 1, "day_of_week": 7, "day_of_year": 365.25})

TIME_FEATURES = tuple(f"{name}_{function}" for name in _PERIODS for function in ("sin", "cos"))

_LAG = re.compile(r"(.+)_lag_([1-9]\d*)")
_MINUTE = 60_000_000
_FEW = 100
# 1970-01-01, day 0, was a Thursday; weeks begin on Monday, as in Python's datetime.
_FIRST_WEEKDAY = 3


def time_features(time: Times) -> dict[str, Floats]:
    """Return the ``TIME_FEATURES`` of (n,) times, each (n,) in [-1, 1].

    With minute of day 0..1439, day of week 0..6 (Monday 0) and day of year 1..366, a feature is the sine or cosine of
    ``2 pi value / period``; the periods are 1440, 7 and 365.25.
    """
    features: dict[str, Floats] = {}
    for name, codes in _calendar(time).items():
        # There are few distinct values: for many rows a table is far cheaper than a sine for each.
        distinct = np.arange(int(codes.max(initial=0)) + 1) if len(codes) > _FEW else codes
        angles = 2 * np.pi / _PERIODS[name] * distinct
        for function, values in (("sin", np.sin(angles)), ("cos", np.cos(angles))):
            features[f"{name}_{function}"] = values if distinct is codes else values.take(codes)
    return features


def learnable(names: Sequence[str], time: Times) -> tuple[str, ...]:
    """Return ``names`` without the time features of which (n,) ``time`` spans less than two periods.

    A season that is seen only once cannot be told from a constant or a trend, and misleads a model.
    """
    days = (time[-1] - time[0]) / np.timedelta64(1, "D") if len(time) else 0.0
    enough = {
        f"{name}_{function}"
        for name, period in _PERIOD_DAYS.items()
        if days >= 2 * period
        for function in ("sin", "cos")
    }
    return tuple(name for name in names if name in enough or name not in TIME_FEATURES)


def lag_name(column: str, rows: int) -> str:
    """Return the name of the column that holds ``column`` as it was ``rows`` rows earlier."""
    return f"{column}_lag_{rows}"


def parse_lag(name: str) -> tuple[str, int] | None:
    """Return the column and the number of rows that a lag's name stands for, or ``None`` for any other name."""
    found = _LAG.fullmatch(name)
    return (found[1], int(found[2])) if found else None


def _calendar(time: Times) -> dict[str, NDArray[np.int32]]:
    """Return (n,) integers for each of the periods."""
    minutes = (time.astype("datetime64[us]", copy=False).view(np.int64) // _MINUTE).astype(np.int32)
    days = minutes // 1440
    first, last = (days.min(), days.max()) if len(days) else (0, 0)
    every_day = np.arange(first, last + 1).astype("datetime64[D]")
    day_of_year = (every_day - every_day.astype("datetime64[Y]").astype("datetime64[D]")).astype(np.int32) + 1
    return {
        "min_of_day": minutes - days * 1440,
        "day_of_week": (days + _FIRST_WEEKDAY) % 7,
        "day_of_year": day_of_year.take(days - first),
    }
