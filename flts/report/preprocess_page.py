"""Report of preprocess: the data, its filled and clipped values, and its parts."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from flts.report.data import PreprocessReport, SeriesReport
from flts.report.marks import Band, Chart, Dots, Lane, Line
from flts.report.numbers import duration, fixed, moment, number, percent, plural
from flts.report.render import Fact, Figure, drawable, figure, flatten, render
from flts.report.sampling import gap_breaks, microseconds
from flts.timeseries.arrays import Floats, Indices, Times

LARGE_CHARTS = 4
CHARTS = 20
GAPS_LISTED = 12
DOTS_PER_CHART = 40


@dataclass(frozen=True)
class _Column:
    name: str
    target: bool
    filled: str
    clipped: str
    lowest: float
    mean: float
    highest: float
    test_mean: float
    note: str


@dataclass(frozen=True)
class _Counts:
    filled: int
    clipped: int

    @classmethod
    def of(cls, series: SeriesReport) -> Self:
        return cls(int(np.count_nonzero(series.missing)), int(np.count_nonzero(series.clipped)))


@dataclass(frozen=True)
class _Part:
    name: str
    rows: str
    start: str
    stop: str
    use: str


@dataclass(frozen=True)
class _Gap:
    start: str
    stop: str
    length: str


def preprocess_page(report: PreprocessReport) -> str:
    """Render the report of preprocess; its size and time hardly grow with the number of rows."""
    targets = [series for series in report.series if series.name in report.targets]
    others = [series for series in report.series if series.name not in report.targets]
    charted = [series for series in targets + others if _has_values(report, series)][:CHARTS]
    large = [series.name for series in charted if series.name in report.targets][:LARGE_CHARTS]
    counts = {series.name: _Counts.of(series) for series in report.series}
    figures = {
        series.name: _figure(report, series, counts[series.name], large=series.name in large) for series in charted
    }
    gaps = sorted(report.gaps, key=lambda gap: gap[0] - gap[1])[:GAPS_LISTED]
    return render(
        "preprocess.html",
        figures=list(figures.values()),
        title=report.dataset_name or "Processed data",
        eyebrow="Data report",
        lead=_lead(report),
        facts=_facts(report, counts.values()),
        notes=report.notes,
        targets=[figures[name] for name in large],
        others=[drawing for name, drawing in figures.items() if name not in large],
        charts_left_out=len(report.series) - len(charted),
        columns=[_column(report, series, counts[series.name]) for series in targets + others],
        parts=_parts(report),
        gaps=[_Gap(moment(start), moment(stop), duration(_seconds(stop - start))) for start, stop in sorted(gaps)],
        gaps_left_out=len(report.gaps) - len(gaps),
        config=flatten(report.config),
        identity=_identity(report),
    )


def _lead(report: PreprocessReport) -> str:
    if not len(report.time):
        return "No training rows."
    span = duration(_seconds(report.time[-1] - report.time[0]))
    return (
        f"{moment(report.time[0])} to {moment(report.time[-1])}: {span} of training data, "
        f"one row every {duration(report.sampling_seconds)}."
    )


def _facts(report: PreprocessReport, counts: Collection[_Counts]) -> list[Fact]:
    values = len(report.time) * len(report.series)
    filled, clipped = sum(count.filled for count in counts), sum(count.clipped for count in counts)
    return [
        Fact("Training rows", fixed(len(report.time), 0), plural(len(report.series), "measured column")),
        Fact(
            "Test rows",
            fixed(len(report.test_time), 0),
            f"to {moment(report.test_time[-1])}" if len(report.test_time) else "",
        ),
        Fact("Sampling", duration(report.sampling_seconds), "usual time between rows"),
        Fact("Gaps in time", fixed(len(report.gaps), 0), _gap_detail(report)),
        Fact("Values filled", fixed(filled, 0), _share(filled, values)),
        Fact("Values clipped", fixed(clipped, 0), _share(clipped, values)),
    ]


def _gap_detail(report: PreprocessReport) -> str:
    if not report.gaps:
        return "rows follow without interruption"
    return f"longest {duration(max(_seconds(stop - start) for start, stop in report.gaps))}"


def _share(count: int, values: int) -> str:
    return f"{percent(count / values, 2)} of all training values" if count else "none"


def _has_values(report: PreprocessReport, series: SeriesReport) -> bool:
    return drawable(series.values, report.test_series.get(series.name, np.zeros(0)))


def _figure(report: PreprocessReport, series: SeriesReport, counts: _Counts, *, large: bool) -> Figure:
    time, test_time = microseconds(report.time), microseconds(report.test_time)
    breaks = np.array([gap[0] for gap in report.gaps], "datetime64[us]").astype(np.int64) + 1
    lines = [Line("training", time, series.values, "model thin", breaks)]
    if series.name in report.test_series and len(test_time):
        test_breaks = gap_breaks(test_time, report.sampling_seconds * 1e6)
        lines.append(Line("test", test_time, report.test_series[series.name], "linear thin", test_breaks))
    lines = [line for line in lines if len(line.x)]
    dots, lanes, counted = [], [], []
    for name, count, flags in (
        ("filled", counts.filled, series.missing),
        ("clipped", counts.clipped, series.clipped),
    ):
        if not count:
            continue
        counted.append(f"{plural(count, 'value')} {name}")
        lanes.append(Lane(name, time, flags, name))
        if count <= DOTS_PER_CHART:
            rows = np.flatnonzero(flags)
            dots.append(Dots(name, time[rows], series.values[rows], name))
    chart = Chart(
        title=series.name,
        description=f"{series.name} over time, training and test rows; "
        f"{' and '.join(counted) or 'nothing filled or clipped'}.",
        lines=lines,
        dots=dots,
        bands=_bands(report, time, test_time),
        lanes=lanes,
        time=True,
        height=240 if large else 130,
    )
    caption = f"{' and '.join(counted)}; strips under the chart show where." if counted else ""
    drawing = figure(chart, " ".join(text for text in (caption, series.note) if text))
    return drawing if large else replace(drawing, legend=())


def _bands(report: PreprocessReport, time: Indices, test_time: Indices) -> list[Band]:
    bounds = (0, report.fit_end, report.validation_end, len(time))
    bands = []
    for name, start, stop in zip(("fit", "validation", "selection"), bounds[:-1], bounds[1:], strict=True):
        if start < stop:
            bands.append(Band(int(time[start]), int(time[min(stop, len(time) - 1)]), name, name))
    if len(test_time):
        bands.append(Band(int(test_time[0]), int(test_time[-1]), "test", "test"))
    return bands


def _column(report: PreprocessReport, series: SeriesReport, counts: _Counts) -> _Column:
    known = drawable(series.values)
    test = report.test_series.get(series.name, np.zeros(0))
    return _Column(
        name=series.name,
        target=series.name in report.targets,
        filled=_count(counts.filled, len(series.values)),
        clipped=_count(counts.clipped, len(series.values)),
        lowest=float(np.fmin.reduce(series.values)) if known else np.nan,
        mean=_mean(series.values),
        highest=float(np.fmax.reduce(series.values)) if known else np.nan,
        test_mean=_mean(test),
        note=series.note,
    )


def _mean(values: Floats) -> float:
    """Average the known values; the plain mean is tried first, because it needs no copy."""
    if not drawable(values):
        return np.nan
    with np.errstate(over="ignore", invalid="ignore"):
        mean = float(values.mean())
    if np.isfinite(mean):
        return mean
    known = values[np.isfinite(values)]
    return float(np.sum(known / len(known)))  # divided first, so that the largest floats do not overflow


def _count(count: int, rows: int) -> str:
    return f"{fixed(count, 0)} ({percent(count / rows, 2)})" if count else "0"


def _parts(report: PreprocessReport) -> list[_Part]:
    bounds = (0, report.fit_end, report.validation_end, len(report.time))
    uses = (
        ("fit", "learning: models, scaling, clip bounds, filling"),
        ("validation", "stopping early, choosing strengths"),
        ("selection", "comparing models"),
    )
    parts = [
        _part(name, report.time[start:stop], use)
        for (name, use), start, stop in zip(uses, bounds[:-1], bounds[1:], strict=True)
    ]
    return [*parts, _part("test", report.test_time, "forecast and backtest of the winner")]


def _part(name: str, time: Times, use: str) -> _Part:
    ends = (moment(time[0]), moment(time[-1])) if len(time) else (number(None), number(None))
    return _Part(name, fixed(len(time), 0), *ends, use)


def _identity(report: PreprocessReport) -> list[tuple[str, str]]:
    return [(name, text) for name, text in (("run", report.identifier), ("config_hash", report.config_hash)) if text]


def _seconds(span: np.timedelta64) -> float:
    return float(span / np.timedelta64(1, "us")) / 1e6
