"""Lists of quantiles from outside: what is read, and one sentence about the rest."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flts.boundary.quantiles import MOST_QUANTILES, parse_quantiles, quantile_text, quantiles_text


@pytest.mark.parametrize("asked", [None, "", [], ()])
def test_nothing_asks_for_none(asked):
    assert parse_quantiles(asked) == ()


@pytest.mark.parametrize("asked", ["0.95, .05,0.5", [0.95, 0.05, 0.5], ["0.5", 0.95, "5e-2"]])
def test_text_and_lists_are_read_and_sorted(asked):
    assert parse_quantiles(asked) == (0.05, 0.5, 0.95)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ("0.5,1", "must be numbers between 0 and 1, such as 0.05,0.5,0.95, not '1'"),
        ("0", "must be numbers between 0 and 1, such as 0.05,0.5,0.95, not '0'"),
        ("nan", "not 'nan'"),
        ("0.5,", "not ''"),
        ("half", "not 'half'"),
        ([0.5, True], "not True"),
        ([[0.5]], r"not \[0.5\]"),
        ({"0.5": 1}, "not {'0.5': 1}"),
        (2, "not 2"),
        ("0.5,0.50", "must not name 0.5 twice"),
        ([0.001 * n for n in range(1, MOST_QUANTILES + 2)], "must be at most 99 numbers, got 100"),
    ],
)
def test_anything_else_is_one_sentence(asked, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        parse_quantiles(asked)
    assert "\n" not in str(caught.value)


@given(st.lists(st.floats(0, 1, exclude_min=True, exclude_max=True), max_size=MOST_QUANTILES, unique=True))
def test_their_text_is_read_as_the_same(levels):
    text = quantiles_text(sorted(levels))
    assert parse_quantiles(text) == tuple(sorted(levels))
    assert "e" not in text


def test_a_quantile_is_named_by_its_decimal_number():
    assert [quantile_text(level) for level in (0.05, 0.5, 1e-05)] == ["0.05", "0.5", "0.00001"]
