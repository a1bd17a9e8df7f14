"""Sampling, missing values and outliers, against figures worked out by hand."""

import numpy as np
import pytest

from flts.stages.preprocessing.cleaning import clip_bounds, drop_rows, fill_test, fill_training, outside_bounds, sample
from flts.timeseries.frame import Frame

NAN = np.nan


def at(*minutes):
    return np.datetime64("2024-01-01", "us") + np.array(minutes) * np.timedelta64(60, "s")


def array(*values):
    return np.array(values, dtype=float)


def frame_of(rows):
    return Frame(at(*range(rows)), {"a": np.arange(rows, dtype=float)})


def filled(minutes, values, fit_end, neighbours):
    values = array(*values)
    fill_training(at(*minutes), values, fit_end, neighbours)
    return values


def test_head_and_tail_keep_the_first_and_the_last_rows():
    np.testing.assert_array_equal(sample(frame_of(10), 3, "head", 0).columns["a"], [0, 1, 2])
    np.testing.assert_array_equal(sample(frame_of(10), 3, "tail", 0).columns["a"], [7, 8, 9])


def test_a_random_sample_is_one_block_that_its_seed_decides():
    starts = set()
    for seed in range(50):
        block = sample(frame_of(10), 3, "random", seed).columns["a"]
        np.testing.assert_array_equal(np.diff(block), [1, 1])
        np.testing.assert_array_equal(block, sample(frame_of(10), 3, "random", seed).columns["a"])
        starts.add(int(block[0]))
    assert starts == set(range(8))


@pytest.mark.parametrize("strategy", ["head", "tail", "random"])
@pytest.mark.parametrize("rows", [0, 10, 11])
def test_a_sample_of_no_or_too_many_rows_keeps_all(strategy, rows):
    assert len(sample(frame_of(10), rows, strategy, 1)) == 10


def test_rows_are_dropped_above_the_threshold_not_at_it():
    frame = Frame(at(0, 1, 2, 3), {"a": array(1, NAN, NAN, NAN), "b": array(1, 2, NAN, NAN), "c": array(1, 2, 3, NAN)})
    np.testing.assert_array_equal(drop_rows(frame, 2 / 3).time, at(0, 1, 2))
    np.testing.assert_array_equal(drop_rows(frame, 0.4).time, at(0, 1))
    np.testing.assert_array_equal(drop_rows(frame, 0.0).columns["c"], [1])


def test_a_value_is_the_mean_of_its_neighbours_by_inverse_distance():
    # Distances 1 and 3 minutes: (10 / 1 + 30 / 3) / (1 / 1 + 1 / 3) = 15.
    np.testing.assert_allclose(filled([0, 1, 4], [10, NAN, 30], 3, 2), [10, 15, 30])


def test_neighbours_are_the_nearest_in_time_on_either_side():
    # The two nearest of minute 3 both lie before it.
    np.testing.assert_allclose(filled([0, 1, 2, 3, 9], [0, 10, 40, NAN, 99], 5, 2)[3], (10 / 2 + 40 / 1) / (1 / 2 + 1))
    # A run of missing values is filled from observations, not from what was filled.
    np.testing.assert_allclose(filled([0, 1, 2, 3], [0, NAN, NAN, 3], 4, 2), [0, 1, 2, 3])


def test_of_two_observations_equally_far_the_earlier_one_counts():
    np.testing.assert_allclose(filled([0, 1, 2], [5, NAN, 7], 3, 1), [5, 5, 7])


def test_the_ends_of_the_fit_part_are_filled_from_inside_it():
    np.testing.assert_allclose(filled([0, 1, 2, 3], [NAN, 4, NAN, 100], 3, 1), [4, 4, 4, 100])


def test_rows_after_the_fit_part_look_back_only():
    values = filled([0, 1, 2, 3, 4, 5], [1, 2, 3, NAN, NAN, 100], 3, 2)
    np.testing.assert_allclose(values[3], (3 / 1 + 2 / 2) / (1 + 1 / 2))
    np.testing.assert_allclose(values[4], (3 / 2 + 2 / 3) / (1 / 2 + 1 / 3))


def test_later_rows_may_use_what_was_measured_after_the_fit_part():
    np.testing.assert_allclose(filled([0, 1, 2, 3], [1, 2, 8, NAN], 2, 1), [1, 2, 8, 8])


def test_fewer_observations_than_neighbours_are_enough():
    np.testing.assert_allclose(filled([0, 1, 2], [NAN, 6, NAN], 3, 1000), [6, 6, 6])


def test_filling_equals_a_search_row_by_row():
    random = np.random.default_rng(3)
    minutes = np.cumsum(random.integers(1, 9, 400))
    values = np.where(random.random(400) < 0.4, NAN, random.normal(size=400))
    fit_end, neighbours = 280, 3
    expected = values.copy()
    for row in np.flatnonzero(np.isnan(values)):
        last = fit_end if row < fit_end else row
        candidates = [other for other in range(last) if not np.isnan(values[other])]
        nearest = sorted(candidates, key=lambda other: (abs(minutes[other] - minutes[row]), other))[:neighbours]
        weights = [1 / abs(minutes[other] - minutes[row]) for other in nearest]
        expected[row] = np.average(values[nearest], weights=weights)
    np.testing.assert_allclose(filled(minutes, values, fit_end, neighbours), expected, rtol=1e-12)


def test_many_missing_values_are_filled_in_blocks(monkeypatch):
    values = np.where(np.arange(100) % 3 == 1, NAN, np.arange(100))
    whole = filled(range(100), values, 70, 2)
    monkeypatch.setattr("flts.stages.preprocessing.cleaning._BLOCK", 8)
    np.testing.assert_array_equal(filled(range(100), values, 70, 2), whole)


def test_the_test_part_looks_back_into_the_training_tail():
    values = array(NAN, 9, NAN, 100)
    fill_test(at(10, 11, 12, 13), values, (at(7, 8, 9), array(1, 2, NAN)), 2)
    np.testing.assert_allclose(values, [(2 / 2 + 1 / 3) / (1 / 2 + 1 / 3), 9, (9 / 1 + 2 / 4) / (1 + 1 / 4), 100])


def test_nothing_is_invented_where_nothing_was_measured_before():
    values = array(NAN, 5, NAN)
    fill_test(at(0, 1, 2), values, (at(), array()), 2)
    np.testing.assert_array_equal(values, [NAN, 5, 5])


def test_clip_bounds_of_each_method():
    values = array(0, 1, 2, 3, 4)
    assert clip_bounds(values, "iqr", 1.5) == (1 - 1.5 * 2, 3 + 1.5 * 2)
    assert clip_bounds(values, "zscore", 2.0) == pytest.approx((2 - 2 * np.sqrt(2), 2 + 2 * np.sqrt(2)))
    assert clip_bounds(values, "quantile", 25.0) == (1, 3)


@pytest.mark.parametrize("method", ["iqr", "zscore", "quantile"])
def test_values_without_spread_have_no_bounds(method):
    assert clip_bounds(array(0.1, 0.1, 0.1), method, 1.5) is None
    assert clip_bounds(array(*[0] * 99, 7), "iqr", 1.5) is None


def test_values_at_the_bounds_are_not_outside():
    np.testing.assert_array_equal(outside_bounds(array(-1, 0, 2, 3), (0, 2)), [True, False, False, True])
