"""Long series as few points: nothing that a reader should see is lost."""

import numpy as np
import pytest

from flts.report.sampling import density, gap_breaks, microseconds, reduce_series

NO_BREAKS = np.zeros(0, np.int64)


def test_short_series_are_kept_as_they_are():
    x, y = np.arange(6), np.array([1.0, 5.0, -2.0, 0.0, 3.0, 3.0])
    reduced = reduce_series(x, y, 0.0, 5.0, 10, NO_BREAKS)
    np.testing.assert_array_equal(reduced.x, x)
    np.testing.assert_array_equal(reduced.lowest, y)
    assert reduced.joined.tolist() == [False, True, True, True, True, True]


def test_missing_values_interrupt_a_line():
    y = np.array([1.0, np.nan, 2.0, 3.0, np.nan, np.nan, 4.0])
    reduced = reduce_series(np.arange(7), y, 0.0, 6.0, 10, NO_BREAKS)
    assert reduced.x.tolist() == [0, 2, 3, 6]
    assert reduced.joined.tolist() == [False, False, True, False]


def test_a_gap_in_time_interrupts_a_line():
    time = np.array([0, 60, 120, 600, 660], dtype="datetime64[s]")
    x = microseconds(time)
    reduced = reduce_series(x, np.ones(5), float(x[0]), float(x[-1]), 10, gap_breaks(x))
    assert reduced.joined.tolist() == [False, True, True, False, True]


@pytest.mark.parametrize("whole", [True, False])
def test_every_pixel_column_keeps_its_first_lowest_highest_and_last_value(whole):
    rng = np.random.default_rng(1)
    x = np.sort(rng.integers(0, 10_000, 5000)) if whole else np.sort(rng.uniform(0, 10_000, 5000))
    y = rng.normal(size=5000)
    y[rng.random(5000) < 0.1] = np.nan
    buckets = 40
    reduced = reduce_series(x, y, 0.0, 10_000.0, buckets, NO_BREAKS)
    for index in range(buckets):
        start, stop = index * 250, (index + 1) * 250
        inside = y[(x >= start) & ((x < stop) | (index == buckets - 1))]
        known = inside[~np.isnan(inside)]
        group = np.flatnonzero(np.isclose(reduced.x, (start + stop) / 2))[0]
        assert (reduced.lowest[group], reduced.highest[group]) == (known.min(), known.max())
        if not np.isnan(inside[0]):
            assert reduced.first[group] == inside[0]
        if not np.isnan(inside[-1]):
            assert reduced.last[group] == inside[-1]


def test_one_spike_among_a_million_rows_is_kept():
    y = np.zeros(1_000_000)
    y[654_321] = 7.0
    reduced = reduce_series(np.arange(len(y)), y, 0.0, float(len(y)), 300, NO_BREAKS)
    assert len(reduced.x) == 300
    assert reduced.highest.max() == 7.0
    assert reduced.joined[1:].all()


def test_a_long_gap_is_a_gap_after_reduction_too_and_a_short_one_is_not():
    x = np.concatenate([np.arange(0, 4000), np.arange(4002, 6000), np.arange(9000, 10_000)])
    breaks = gap_breaks(x)
    assert breaks.tolist() == [4000, 6000]
    reduced = reduce_series(x, np.ones(len(x)), 0.0, 10_000.0, 100, breaks)
    assert np.flatnonzero(~reduced.joined).tolist() == [0, 60]


def test_a_long_run_of_missing_values_is_a_gap_after_reduction():
    y = np.ones(10_000)
    y[4000:6000] = np.nan
    reduced = reduce_series(np.arange(10_000), y, 0.0, 10_000.0, 100, NO_BREAKS)
    assert np.flatnonzero(~reduced.joined).tolist() == [0, 40]
    assert not np.isnan(reduced.lowest).any()


def test_columns_of_missing_values_only_leave_nothing():
    reduced = reduce_series(np.arange(5000), np.full(5000, np.nan), 0.0, 5000.0, 10, NO_BREAKS)
    assert len(reduced.x) == 0


def test_density_is_the_share_of_flagged_rows():
    flags = np.zeros(100, bool)
    flags[[0, 10, 11, 99]] = True
    assert density(np.arange(100), flags, 0.0, 100.0, 10).tolist() == [0.1, 0.2, 0, 0, 0, 0, 0, 0, 0, 0.1]


def test_one_flagged_row_among_a_million_is_in_the_density():
    flags = np.zeros(1_000_000, bool)
    flags[-1] = True
    shares = density(np.arange(1_000_000), flags, 0.0, 999_999.0, 250)
    assert np.flatnonzero(shares).tolist() == [249]
