"""Preparing processed data: the order of the steps, what is learned from where, and lags."""

import numpy as np
import pytest

from flts.errors import BadInputError
from flts.params import PreprocessParams
from flts.stages.preprocessing.transforms import gaps, prepare, resolve_targets
from flts.timeseries.features import TIME_FEATURES
from flts.timeseries.frame import Frame, Parts

NAN = np.nan
START = np.datetime64("2024-01-01", "us")


def frame(start=0, minutes=None, **columns):
    rows = len(next(iter(columns.values())))
    after = np.arange(start, start + rows) if minutes is None else np.array(minutes)
    return Frame(START + after * np.timedelta64(60, "s"), {n: np.array(v, dtype=float) for n, v in columns.items()})


def prepared(train, test, **params):
    train, test = (Frame(part.time, {n: v.copy() for n, v in part.columns.items()}) for part in (train, test))
    return prepare(train, test, PreprocessParams(dataset_name="d", identifier="i", **params), "{}")


def random_dataset(rows=100, test_rows=20, missing=0.1, seed=0):
    random = np.random.default_rng(seed)
    columns = {name: random.normal(size=rows + test_rows) for name in "ab"}
    for values in columns.values():
        values[random.random(len(values)) < missing] = NAN
    whole = frame(**columns)
    return whole.rows(0, rows), whole.rows(rows, rows + test_rows)


def test_columns_come_in_order_measured_time_features_lags():
    train, test = random_dataset()
    made = prepared(train, test, lags_enable=True, lags_n=2, lags_step=3, target_columns="b")
    assert made.train.features == ("a", "b", *TIME_FEATURES, "a_lag_3", "a_lag_6", "b_lag_3", "b_lag_6")
    assert made.test.features == made.train.features
    assert made.train.targets == ("b",)
    assert not np.isnan(made.train.frame.matrix(made.train.features)).any()
    assert not np.isnan(made.test.frame.matrix(made.test.features)).any()
    assert not set(made.train.scaler.columns) & set(TIME_FEATURES)


def test_actual_values_are_as_measured_before_filling_and_clipping():
    train, test = random_dataset()
    made = prepared(train, test, clip_enable=True, clip_method="quantile", clip_factor=20, target_columns="*")
    for name in "ab":
        np.testing.assert_array_equal(made.train.actual[name], train.columns[name])
        np.testing.assert_array_equal(made.test.actual[name], test.columns[name])
    assert made.train.frame.columns["a"].max() < np.nanmax(train.columns["a"])


@pytest.mark.parametrize("scaler", ["MinMaxScaler", "StandardScaler", "RobustScaler", "MaxAbsScaler"])
@pytest.mark.parametrize("clip_method", ["iqr", "zscore", "quantile"])
def test_nothing_is_learned_from_after_the_fit_part(scaler, clip_method):
    train, test = random_dataset()
    other_train, other_test = random_dataset(seed=1)
    fit_end = Parts.of(100).fit_end
    for name, values in other_train.columns.items():
        values[:fit_end] = train.columns[name][:fit_end]
        values[fit_end:] *= 1000
    params = {"scaler": scaler, "clip_enable": True, "clip_method": clip_method, "lags_enable": True, "lags_n": 2}
    one = prepared(train, test, **params)
    other = prepared(other_train, other_test, **params)
    assert one.train.scaler.to_dict() == other.train.scaler.to_dict()
    kept = one.train.parts.fit_end
    for name in one.train.features:
        np.testing.assert_array_equal(one.train.frame.columns[name][:kept], other.train.frame.columns[name][:kept])
    # Clip bounds are the fit part's, so that no wilder value passes.
    assert other.train.frame.columns["a"].max() <= np.nanmax(np.abs(train.columns["a"][:fit_end])) * 10


def test_no_row_hangs_on_a_later_one_after_the_fit_part():
    train, test = random_dataset()
    later, later_test = random_dataset()
    for values in later.columns.values():
        values[85:] = NAN
    for values in later_test.columns.values():
        values[:] = 5
    one, other = prepared(train, test), prepared(later, later_test)
    for name in "ab":
        np.testing.assert_array_equal(one.train.frame.columns[name][:85], other.train.frame.columns[name][:85])


def test_values_are_filled_before_outliers_are_clipped():
    # The outlier 100 fills its neighbour with (2 + 100) / 2 = 51, which is clipped too.
    values = [1, 2, NAN, 100, 3, 2, 1, 2, 3, 2, 1, 2, 3, 2, 1, 2, 3, 2, 1, 2]
    made = prepared(frame(a=values), frame(20, a=[200]), clip_enable=True, clip_method="iqr")
    fit = np.array([1, 2, 51, 100, 3, 2, 1, 2, 3, 2, 1, 2, 3, 2])
    lower, upper = np.quantile(fit, [0.25, 0.75])
    bound = upper + 1.5 * (upper - lower)
    np.testing.assert_allclose(made.train.frame.columns["a"][:5], [1, 2, bound, bound, 3])
    np.testing.assert_array_equal(np.flatnonzero(made.columns["a"].clipped), [2, 3])
    np.testing.assert_array_equal(np.flatnonzero(made.columns["a"].missing), [2])
    assert made.test.frame.columns["a"][0] == bound


def test_the_parts_are_70_15_15_percent_of_the_rows_that_are_left():
    train, test = random_dataset(missing=0)
    train.columns["a"][[5, 50, 95]] = NAN
    made = prepared(train, test, nans_drop_rows=True, nans_threshold=0.4)
    assert made.train.parts == Parts(fit_end=67, validation_end=82, rows=97)
    assert made.test.parts == made.train.parts
    assert "3 of 100 training rows were dropped: more than 0.4 of their values missing" in made.notes
    assert made.train.sampling_seconds == 60


def test_lags_are_earlier_rows_and_those_without_are_dropped():
    train, test = frame(a=np.arange(20)), frame(20, a=np.arange(20, 23))
    made = prepared(train, test, lags_enable=True, lags_n=2, lags_step=2)
    np.testing.assert_array_equal(made.train.frame.time, train.time[4:])
    np.testing.assert_array_equal(made.train.frame.columns["a_lag_2"], np.arange(2, 18))
    np.testing.assert_array_equal(made.train.frame.columns["a_lag_4"], np.arange(16))
    np.testing.assert_array_equal(made.train.actual["a"], np.arange(4, 20))
    # The bounds are the same moments as without lags.
    assert made.train.parts == Parts(fit_end=14 - 4, validation_end=17 - 4, rows=16)
    # The test part keeps its rows, because the training data lie before it.
    np.testing.assert_array_equal(made.test.frame.time, test.time)
    np.testing.assert_array_equal(made.test.frame.columns["a_lag_4"], [16, 17, 18])


def test_lags_of_test_rows_without_history_are_not_made_up():
    train, test = frame(100, a=np.arange(20)), frame(0, a=np.arange(5))
    made = prepared(train, test, lags_enable=True, lags_n=2)
    np.testing.assert_array_equal(made.test.frame.columns["a"], [2, 3, 4])
    np.testing.assert_array_equal(made.test.actual["a"], [2, 3, 4])
    assert "the first 2 test rows are left out, because their lags would lie before the data" in made.notes
    with pytest.raises(BadInputError, match="no test row is left: lags reach 5 rows back"):
        prepared(train, test, lags_enable=True, lags_n=5)


def test_lags_switched_off_are_ignored():
    train, test = random_dataset()
    assert prepared(train, test, lags_n=3).train.features == ("a", "b", *TIME_FEATURES)
    assert prepared(train, test, time_features_enable=False).train.features == ("a", "b")


def test_a_constant_column_is_noted():
    made = prepared(frame(a=np.arange(10), b=[3] * 10), frame(10, a=[1], b=[4]))
    assert made.notes == ("column 'b' is constant in the fit part and scales to zero",)
    names = ["a", "b"]
    scaled = made.train.scaler.transform(names, made.train.frame.matrix(names))
    np.testing.assert_array_equal(scaled[:, 1], 0)
    assert prepared(frame(b=[3] * 10), frame(10, b=[4]), scaler="none").notes == ()


def test_a_column_that_is_mostly_one_value_is_not_clipped_away():
    rain = [0] * 20 + [5] + [0] * 19
    made = prepared(frame(a=rain), frame(40, a=[7]), clip_enable=True)
    np.testing.assert_array_equal(made.train.frame.columns["a"], rain)
    assert made.notes == ("column 'a' is not clipped, because most of it is one value",)


def test_irregular_sampling_and_old_test_rows_are_noted():
    made = prepared(frame(minutes=[0, 1, 2, 3, 4, 20, 21, 22, 23, 24], a=range(10)), frame(24, a=[1, 2]))
    assert made.notes == (
        "training data: 1 gap in time, the longest from 2024-01-01 00:04:00 to 2024-01-01 00:20:00",
        "1 of 2 test rows are not later than the last training row",
    )


def test_test_rows_that_are_training_rows_are_refused():
    with pytest.raises(BadInputError, match="1 of 3 test rows are rows of the training data as well, the first of"):
        prepared(frame(a=range(10)), frame(9, a=[9, 1, 2]))
    assert len(prepared(frame(a=range(10)), frame(9, a=[8, 1, 2])).test) == 3


def test_uneven_intervals_are_noted():
    seconds = np.array([0, 60, 120, 180, 240, 310, 370, 430, 490, 550])
    train = Frame(START + seconds * np.timedelta64(1, "s"), {"a": np.arange(10.0)})
    made = prepared(train, frame(20, a=[1]))
    assert made.notes == ("training data: 1 of 9 intervals between rows differ from the usual 60 s",)


def test_gaps_are_the_longest_in_order_of_time():
    time = START + np.array([0, 1, 5, 6, 16, 17, 20]) * np.timedelta64(60, "s")
    assert gaps(time, 60.0, most=2) == [(time[1], time[2]), (time[3], time[4])]


@pytest.mark.parametrize(
    ("text", "targets"), [("", ("a",)), ("*", ("a", "b", "c")), ("c", ("c",)), (" c , a ,c,", ("c", "a"))]
)
def test_targets_are_named_by_the_parameter(text, targets):
    assert resolve_targets(text, ["a", "b", "c"]) == targets


@pytest.mark.parametrize("text", ["d", "a,d", ",", "A"])
def test_an_unknown_target_is_a_sentence(text):
    with pytest.raises(BadInputError, match=r"target_columns '.*' names no numeric column; there are 'a', 'b', 'c'"):
        resolve_targets(text, ["a", "b", "c"])


def test_test_columns_may_come_in_another_order():
    train, test = random_dataset()
    turned = Frame(test.time, dict(reversed(test.columns.items())))
    one, other = prepared(train, test), prepared(train, turned)
    assert other.test.features == one.test.features
    np.testing.assert_array_equal(other.test.frame.columns["a"], one.test.frame.columns["a"])


TEN = np.arange(10)


@pytest.mark.parametrize(
    ("train", "test", "params", "sentence"),
    [
        (frame(a=TEN), frame(10, b=[1]), {}, "the test data lack the numeric column 'a' of the training data"),
        (
            frame(a=TEN),
            frame(10, a=[1], b=[1]),
            {},
            "the test data have a numeric column 'b' that the training data lack",
        ),
        (frame(a=[1, 2, 3]), frame(10, a=[1]), {}, "the training data have 3 rows, but preprocess needs at least 4"),
        (
            frame(a=TEN),
            frame(10, a=[1]),
            {"lags_enable": True, "lags_n": 3, "lags_step": 2},
            "the training data have 10 rows, but preprocess needs at least 12 with lags that reach 6 rows back",
        ),
        (
            frame(a=[1] * 10, b=[NAN] * 7 + [1, 2, 3]),
            frame(10, a=[1], b=[1]),
            {},
            "column 'b' has no value in the fit part, the first 7 training rows",
        ),
        (
            frame(a=[1, 2, NAN, *range(7)]),
            frame(10, a=[1]),
            {"handle_nans": False},
            "column 'a' of the training data has no value at 2024-01-01 00:02:00, and handle_nans is off",
        ),
        (
            frame(a=TEN),
            frame(10, a=[1, NAN]),
            {"handle_nans": False},
            "column 'a' of the test data has no value at 2024-01-01 00:11:00, and handle_nans is off",
        ),
        (
            frame(a=TEN),
            frame(10, a=[NAN]),
            {"nans_drop_rows": True},
            "no test row is left: more than 0.33 (nans_threshold) of each is missing",
        ),
        (
            frame(a=TEN, min_of_day_sin=TEN),
            frame(10, a=[1], min_of_day_sin=[1]),
            {},
            "column 'min_of_day_sin' has the name of a column that preprocess adds: rename or remove it",
        ),
        (
            frame(a=TEN, a_actual=TEN),
            frame(10, a=[1], a_actual=[1]),
            {},
            "column 'a_actual' has the name of a column that preprocess adds: rename or remove it",
        ),
        (
            frame(a=TEN, a_lag_2=TEN),
            frame(10, a=[1], a_lag_2=[1]),
            {"lags_enable": True, "lags_n": 2},
            "column 'a_lag_2' has the name of a column that preprocess adds: rename or remove it",
        ),
    ],
)
def test_a_dataset_that_cannot_be_prepared_is_one_sentence(train, test, params, sentence):
    with pytest.raises(BadInputError) as caught:
        prepared(train, test, **params)
    assert str(caught.value) == sentence


@pytest.mark.parametrize("lags", [0, 1, 2, 5, 10])
def test_the_rows_asked_for_are_enough(lags):
    with pytest.raises(BadInputError) as caught:
        prepared(frame(a=[1]), frame(10, a=[1]), lags_enable=True, lags_n=lags)
    needed = int(str(caught.value).split("at least ")[1].split()[0])
    made = prepared(frame(a=np.arange(needed)), frame(needed, a=[1]), lags_enable=True, lags_n=lags)
    assert 2 <= made.train.parts.fit_end < made.train.parts.validation_end < made.train.parts.rows
    with pytest.raises(BadInputError):
        prepared(frame(a=np.arange(needed - 1)), frame(needed, a=[1]), lags_enable=True, lags_n=lags)


def test_missing_values_before_anything_was_measured_become_the_median_of_the_fit_part():
    made = prepared(frame(100, a=[1, 2, 3, 4, 100, 6, 7, 8, 9, 10]), frame(0, a=[NAN, 5]))
    np.testing.assert_array_equal(made.test.frame.columns["a"], [4, 5])
