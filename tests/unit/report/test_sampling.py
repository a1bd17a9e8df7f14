"""Long series as few points: nothing that a reader should see is lost."""

import numpy as np
import pytest

from flts.report.charts import chart_data
from flts.report.marks import Chart, Line
from flts.report.sampling import density, gap_breaks, microseconds, reduce_series
from tests.support.reports import drawn

NO_BREAKS = np.zeros(0, np.int64)


def test_short_series_are_kept_as_they_are():
    x, y = np.arange(6), np.array([1.0, 5.0, -2.0, 0.0, 3.0, 3.0])
    reduced = reduce_series(x, y, 10, NO_BREAKS)
    np.testing.assert_array_equal(reduced.x, x)
    np.testing.assert_array_equal(reduced.lowest, y)
    assert not reduced.grouped


def test_missing_values_interrupt_a_line_that_begins_and_ends_with_a_value():
    y = np.array([np.nan, 1.0, np.nan, 2.0, 3.0, np.nan, np.nan])
    reduced = reduce_series(np.arange(7), y, 10, NO_BREAKS)
    assert reduced.x.tolist() == [1, 2, 3, 4]
    np.testing.assert_array_equal(reduced.lowest, [1, np.nan, 2, 3])


def test_a_gap_in_time_interrupts_a_line_between_its_ends():
    time = np.array([0, 60, 120, 600, 660], dtype="datetime64[s]")
    x = microseconds(time)
    reduced = reduce_series(x, np.ones(5), 10, gap_breaks(x))
    assert (reduced.x / 1e6).tolist() == [0, 60, 120, 360, 600, 660]
    assert np.flatnonzero(np.isnan(reduced.lowest)).tolist() == [3]


@pytest.mark.parametrize("step", [1, 7])
def test_every_group_keeps_its_lowest_and_highest_value(step):
    rng = np.random.default_rng(1)
    x = step * np.arange(5000) + 11
    y = rng.normal(size=5000)
    y[rng.random(5000) < 0.1] = np.nan
    reduced = reduce_series(x, y, 80, NO_BREAKS)
    assert len(reduced.x) == 40
    for index in range(40):
        inside = y[index * 125 : (index + 1) * 125]
        assert (reduced.lowest[index], reduced.highest[index]) == (np.nanmin(inside), np.nanmax(inside))
        assert x[index * 125] <= reduced.x[index] <= x[(index + 1) * 125 - 1]
    assert set(np.diff(reduced.x)) == {125 * step}


def test_one_spike_among_a_million_rows_is_kept():
    y = np.zeros(1_000_000)
    y[654_321] = 7.0
    reduced = reduce_series(np.arange(len(y)), y, 600, NO_BREAKS)
    assert 295 <= len(reduced.x) <= 300
    assert reduced.highest.max() == 7.0
    assert not np.isnan(reduced.lowest).any()


def test_a_long_gap_is_a_gap_after_reduction_too_and_a_short_one_is_not():
    x = np.concatenate([np.arange(0, 4000), np.arange(4002, 6000), np.arange(9000, 10_000)])
    breaks = gap_breaks(x)
    assert breaks.tolist() == [4000, 6000]
    reduced = reduce_series(x, np.ones(len(x)), 200, breaks)
    gaps = np.flatnonzero(np.isnan(reduced.lowest))
    assert len(gaps) == 1
    assert 6000 <= reduced.x[gaps[0]] + 100 <= 6200
    assert reduced.x[gaps[0] + 1] >= 9000


def test_a_long_run_of_missing_values_is_a_gap_after_reduction():
    y = np.ones(10_000)
    y[4000:6000] = np.nan
    reduced = reduce_series(np.arange(10_000), y, 200, NO_BREAKS)
    assert np.flatnonzero(np.isnan(reduced.lowest)).tolist() == [40]


def test_columns_of_missing_values_only_leave_nothing():
    for points in (20, 10_000):
        assert len(reduce_series(np.arange(5000), np.full(5000, np.nan), points, NO_BREAKS).x) == 0


def test_irregular_times_of_any_distance_are_grouped():
    x = np.cumsum(np.random.default_rng(0).integers(1, 10**9, 5000))
    reduced = reduce_series(x, np.arange(5000.0), 100, gap_breaks(x))
    assert 40 <= np.count_nonzero(~np.isnan(reduced.lowest)) <= 50
    assert (np.diff(reduced.x) > 0).all()
    assert (np.nanmin(reduced.lowest), np.nanmax(reduced.highest)) == (0, 4999)


def test_density_is_the_share_of_flagged_rows():
    flags = np.zeros(100, bool)
    flags[[0, 10, 11, 99]] = True
    assert density(np.arange(100), flags, 0, 100, 10).tolist() == [0.1, 0.2, 0, 0, 0, 0, 0, 0, 0, 0.1]


def test_one_flagged_row_among_a_million_is_in_the_density():
    flags = np.zeros(1_000_000, bool)
    flags[-1] = True
    shares = density(np.arange(1_000_000), flags, 0, 999_999, 250)
    assert np.flatnonzero(shares).tolist() == [249]


def _positions(line: dict) -> list[int]:
    first, *runs = line["x"]
    steps = np.repeat(runs[::2], runs[1::2])
    return [first, *(first + np.cumsum(steps, dtype=int)).tolist()]


def test_the_browser_gets_every_position_and_value_to_the_fourth_digit():
    x = np.array([10, 20, 30, 70, 80, 90]) * 60_000_000
    y = np.array([1e9, 1e9 + 1, np.nan, 1e9 + 2.5, 1e9 - 7, 1e9])
    data = chart_data(Chart("a", "b", [Line("c", x, y, "model", gap_breaks(x))], time=True), 100)
    line = data["lines"][0]
    places = [data["x"]["low"] + place * data["x"]["unit"] for place in _positions(line)]
    assert places == [600_000_000 * n for n in (1, 2, 3, 5, 7, 8, 9)]
    np.testing.assert_allclose(drawn(data, 0), np.insert(y, 3, np.nan), rtol=0, atol=1e-3)


def test_lines_over_different_positions_share_one_axis():
    lines = [Line("a", np.arange(3, 9), np.arange(6.0), "model"), Line("b", np.arange(9, 21, 2), np.ones(6), "linear")]
    data = chart_data(Chart("a", "b", lines), 100)
    assert [data["x"][name] for name in ("low", "unit", "size")] == [3, 1, 16]
    assert [_positions(line) for line in data["lines"]] == [[*range(6)], [6, 8, 10, 12, 14, 16]]
