"""Axis ticks at round values, for numbers, logarithms and time."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flts.report.numbers import GROUP, fixed, scientific

SECOND = 1_000_000
MINUTE, HOUR, DAY = 60 * SECOND, 3600 * SECOND, 86400 * SECOND
MONTH = 61 * DAY // 2
_MONDAY = 4 * DAY  # 1970-01-05
_STEPS = (
    *(base * 10**power for power in range(6) for base in (1, 2, 5)),
    *(seconds * SECOND for seconds in (1, 2, 5, 10, 15, 30)),
    *(minutes * MINUTE for minutes in (1, 2, 5, 10, 15, 30)),
    *(hours * HOUR for hours in (1, 2, 3, 6, 12)),
    *(days * DAY for days in (1, 2, 4, 7, 14)),
)
_MONTH_STEPS = (1, 2, 3, 6, *(12 * base * 10**power for power in range(4) for base in (1, 2, 5)))
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True)
class Tick:
    """A labelled position; ``context`` is the coarser part of a time, given where it changes."""

    position: float
    label: str
    context: str = ""


def linear_ticks(low: float, high: float, count: int, *, whole: bool = False) -> list[Tick]:
    """Return at most ``count + 1`` ticks within [low, high] at multiples of 1, 2 or 5 times a power of ten.

    ``whole``: only at whole numbers.
    """
    step = _nice_step(high / count - low / count)
    if whole:
        step = max(1.0, step)
    numbers = range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)
    values = [number * step for number in numbers]
    return [Tick(value, label) for value, label in zip(values, _labels(values, step), strict=True)]


def log_ticks(low: float, high: float) -> list[Tick]:
    """Return ticks within [low, high], both positive, at 1, 2 and 5 times powers of ten; only powers when many."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for bases in ((1, 2, 5), (1, 3), (1,)):
        values = [base * 10.0**power for power in exponents for base in bases]
        values = [value for value in values if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]
        if len(values) <= 7:
            break
    else:
        values = values[:: math.ceil(len(values) / 7)]
    return [Tick(value, scientific(value, 0) if value < 1e-4 else f"{value:g}") for value in values]


def time_ticks(low: int, high: int, count: int) -> list[Tick]:
    """Return about ``count`` ticks within [low, high], microseconds since 1970, at round clock or calendar times."""
    wanted = max(1, (high - low) // count)
    step = next((step for step in _STEPS if step >= wanted), None)
    if step is not None:
        offset = _MONDAY if step % (7 * DAY) == 0 else 0
        first = -((offset - low) // step) * step + offset
        return _time_labels(range(first, high + 1, step), step)
    months = next((months for months in _MONTH_STEPS if months * MONTH >= wanted), _MONTH_STEPS[-1])
    low_month, high_month = (int(np.datetime64(edge, "us").astype("datetime64[M]").astype(int)) for edge in (low, high))
    starts = (
        int(np.datetime64(month, "M").astype("datetime64[us]").astype(np.int64))
        for month in range(-(-low_month // months) * months, high_month + 1, months)
    )
    return _time_labels([start for start in starts if low <= start <= high], months * MONTH)


def _nice_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(rough))
    return next(base * power for base in (1, 2, 5, 10) if base * power >= rough * (1 - 1e-9))


def _labels(values: Sequence[float], step: float) -> list[str]:
    """Label values with no more decimals than the step needs, in thousands, millions or billions when large."""
    largest = max(map(abs, values), default=0.0)
    if largest >= 1e15 or 0 < largest < 1e-3:
        scale = 10.0 ** math.floor(math.log10(largest))
        decimals = _decimals(step / scale)
        return [scientific(value, decimals) if value else "0" for value in values]
    power = max(p for p in (0, 3, 6, 9, 12) if p == 0 or largest >= (1e4 if p == 3 else 10.0**p))
    suffix = {0: "", 3: "k", 6: "M", 9: "G", 12: "T"}[power]
    decimals = _decimals(step / 10.0**power)
    return [
        f"{fixed(value / 10.0**power, decimals)}{GROUP}{suffix}" if suffix and value else fixed(value, decimals)
        for value in values
    ]


def _decimals(step: float) -> int:
    return max(0, -math.floor(math.log10(step) + 1e-9))


def _time_labels(positions: Sequence[int], step: int) -> list[Tick]:
    ticks = []
    shown = ""
    for position in positions:
        label, context = _time_label(position, step)
        ticks.append(Tick(position, label, context if context != shown else ""))
        shown = context
    return ticks


def _time_label(position: int, step: int) -> tuple[str, str]:
    text = str(np.datetime64(position, "us"))
    year, month, day = text[:10].rsplit("-", 2)
    month = _MONTHS[int(month) - 1]
    if step < DAY:
        end = 26 if step < SECOND else 19 if step < MINUTE else 16
        return text[11:end], f"{int(day)} {month} {year}"
    if step < 28 * DAY:
        return f"{int(day)} {month}", year
    return (month, year) if step < 360 * DAY else (year, "")
