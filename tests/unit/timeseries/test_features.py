"""Time features and the names of lags."""

from datetime import datetime, timedelta

import numpy as np
import pytest

from flts.timeseries.features import TIME_FEATURES, lag_name, learnable, parse_lag, time_features

MOMENTS = [
    datetime(1969, 12, 31, 23, 59, 59),
    datetime(1970, 1, 1),
    datetime(2018, 2, 5, 23, 40),
    datetime(2023, 12, 31, 12, 0, 30),
    datetime(2024, 2, 29, 6),
    datetime(2024, 12, 31, 18, 30),
]


def test_every_feature_follows_its_formula():
    features = time_features(np.array(MOMENTS, dtype="datetime64[us]"))
    assert tuple(features) == TIME_FEATURES
    for row, moment in enumerate(MOMENTS):
        day_of_year = moment.timetuple().tm_yday
        for name, value, period in (
            ("min_of_day", moment.hour * 60 + moment.minute, 1440),
            ("day_of_week", moment.weekday(), 7),
            ("day_of_year", day_of_year, 365.25),
        ):
            assert features[f"{name}_sin"][row] == pytest.approx(np.sin(2 * np.pi * value / period), abs=1e-12)
            assert features[f"{name}_cos"][row] == pytest.approx(np.cos(2 * np.pi * value / period), abs=1e-12)


def test_features_of_a_row_do_not_hang_on_the_other_rows():
    time = np.array([MOMENTS[2] + timedelta(hours=hour) for hour in range(500)], dtype="datetime64[us]")
    whole, part = time_features(time), time_features(time[100:200])
    for name in TIME_FEATURES:
        np.testing.assert_array_equal(whole[name][100:200], part[name])


def test_no_rows_have_no_features():
    assert {len(values) for values in time_features(np.array([], dtype="datetime64[us]")).values()} == {0}


def test_the_name_of_a_lag_says_column_and_rows():
    assert lag_name("down", 12) == "down_lag_12"
    assert parse_lag("down_lag_12") == ("down", 12)
    assert parse_lag(lag_name("down_lag_3", 4)) == ("down_lag_3", 4)
    assert [parse_lag(name) for name in ("down", "down_lag_", "down_lag_0", "_lag_1", "down_lag_x")] == [None] * 5


@pytest.mark.parametrize(("days", "kept"), [(1.9, 0), (2, 2), (13.9, 2), (14, 4), (730, 4), (730.5, 6)])
def test_a_time_feature_is_learned_from_where_time_spans_two_of_its_periods(days: float, kept: int):
    time = np.datetime64("2024-01-01", "us") + np.array([0, days * 86400e6]).astype("timedelta64[us]")
    assert learnable(("load", *TIME_FEATURES, "load_lag_1"), time) == ("load", *TIME_FEATURES[:kept], "load_lag_1")
