"""Separators that could mean thousands: refused where both readings hold up, and nowhere else."""

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings

from flts.datafiles.numbers import parse_numbers
from flts.errors import BadInputError

small = st.integers(-999, 999)
thousands = st.integers(1_000, 999_999) | st.integers(-999_999, -1_000)
marks = st.sampled_from(".,")
# How long one example takes depends on the machine's load.
unhurried = settings(deadline=None)


def parse(mark=".", **columns):
    texts = {name: pa.chunked_array([pa.array(values, pa.string())]) for name, values in columns.items()}
    return parse_numbers(texts, "data.csv", decimal_commas=mark == ",")


def refused(mark=".", **columns):
    with pytest.raises(BadInputError) as caught:
        parse(mark, **columns)
    return str(caught.value)


@pytest.mark.parametrize("mark", [".", ","])
def test_the_sentence_names_the_column_and_both_readings(mark):
    assert refused(mark, a=["999", None, f"1{mark}000", f"1{mark}001"]) == (
        f"data.csv: row 3, column 'a': '1{mark}000' may mean 1.0 or 1000, next to whole numbers such as '999': "
        f"remove thousands separators, or write '999' as '999{mark}0'"
    )


@pytest.mark.parametrize(
    "values",
    [
        ["0.125", "0.250", "1"],
        ["12.345", "12.346", "12.000"],
        ["2", "1.125", "1.5"],
        ["2", "1234.567"],
        ["1000", "1.125"],
        ["2", "1.125", "1e3"],
        ["2", "1.1250"],
        ["2", "3", "1000"],
        ["-0.001", "-1", "+1"],
    ],
)
def test_ordinary_measurements_are_no_thousands(values):
    np.testing.assert_array_equal(parse(a=values)["a"], [float(value) for value in values])


def test_another_column_may_prove_that_the_separator_is_the_decimal_one():
    assert parse(a=["1", "1.414"], b=["0.5", "2.5"])["a"].tolist() == [1, 1.414]
    assert "column 'a': '1.000' may mean" in refused(a=["1", "1.000"], b=["0.5", "2.5"])


def test_another_column_may_prove_that_the_separator_is_not_the_decimal_one():
    assert refused(",", a=["1.000", "2.345"], b=["0,5", "2,5"]) == (
        "data.csv: row 1, column 'a': '1.000' may mean 1.0 or 1000, and column 'b' has decimals with ',': "
        "remove thousands separators, or use one decimal separator everywhere"
    )
    assert "column 'b' has decimals with '.'" in refused(",", a=["1,000", "2,345"], b=["0.5", "2.5"])


@unhurried
@given(st.lists(small, min_size=1), st.lists(thousands, min_size=1), marks, st.randoms())
def test_numbers_with_separated_thousands_are_never_read_as_decimals(few, many, mark, random):
    texts = [f"{value:,}".replace(",", mark) for value in few + many]
    random.shuffle(texts)
    assert "column 'a'" in refused(mark, a=texts)


@unhurried
@given(st.lists(st.floats(-1e6, 1e6), min_size=1), marks)
def test_decimals_to_a_fixed_length_are_never_refused(values, mark):
    texts = [f"{value:.3f}" for value in values]
    read = parse(mark, a=[text.replace(".", mark) for text in texts])["a"]
    np.testing.assert_array_equal(read, [float(text) for text in texts])


@unhurried
@given(st.lists(st.integers(-5_000_000, 5_000_000), min_size=1), marks)
def test_decimals_as_short_as_possible_are_read_right_or_refused_where_all_have_three(thousandths, mark):
    texts = [f"{value / 1000:.3f}".rstrip("0").rstrip(".") for value in thousandths]
    decimals = [text for text in texts if "." in text]
    whole = [text for text in texts if "." not in text]
    ambiguous = (
        decimals
        and whole
        and all(len(text.split(".")[1]) == 3 and 1 <= abs(float(text)) < 1000 for text in decimals)
        and all(abs(int(text)) < 1000 for text in whole)
    )
    column = [text.replace(".", mark) for text in texts]
    if ambiguous:
        assert "may mean" in refused(mark, a=column)
    else:
        np.testing.assert_array_equal(parse(mark, a=column)["a"], [float(text) for text in texts])
