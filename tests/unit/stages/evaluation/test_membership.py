"""Members of the ensemble: close to the best, or not clearly worse than it, by the selection part alone."""

import time

import numpy as np
import pytest

from flts.stages.evaluation.membership import choose_members

ROWS = 2400
UNIT = np.ones(1)


def errors(seed, rows=ROWS, scale=1.0):
    return scale * np.random.default_rng(seed).normal(size=(rows, 1))


def chosen(actual, **forecasts):
    return {one.model_type: one for one in choose_members(actual, forecasts, UNIT)}


@pytest.fixture
def actual():
    return np.zeros((ROWS, 1))


def test_what_scores_within_five_percent_of_the_best_is_a_member(actual):
    best = errors(0)
    found = chosen(actual, GRU=best * 1.03, LSTM=best, PROPHET=best * 1.07)
    assert [one.member for one in found.values()] == [True, True, False]
    assert found["LSTM"].reason.startswith("it has the lowest composite score, ")
    assert found["GRU"].reason.endswith("above the best: within 5%")
    assert "and clearly worse: 0.0% of 1,000 resamples show it no worse" in found["PROPHET"].reason


def test_what_is_statistically_tied_is_a_member_though_its_score_is_higher():
    """Of 60 rows, two bad forecasts make a higher score, but not one that other rows would show too."""
    rows, actual = 60, np.zeros((60, 1))
    unlucky = errors(1, rows)
    unlucky[7] *= 4
    found = chosen(actual, GRU=errors(2, rows), LSTM=unlucky)
    worse = next(one for one in found.values() if not one.reason.startswith("it has the lowest"))
    assert worse.member
    assert "but statistically tied with it" in worse.reason


def test_the_same_difference_on_many_more_rows_is_clear(actual):
    found = chosen(actual, GRU=errors(3), LSTM=errors(4, scale=1.2))
    assert not found["LSTM"].member


def test_errors_that_last_are_less_of_a_proof_than_as_many_that_come_and_go():
    """Squared errors of 1.95 and 0.35 where the best has 1: for 50 rows each, or in turn."""
    actual, large, small = np.zeros((1000, 1)), np.sqrt(1.95), np.sqrt(0.35)
    row = np.arange(1000)
    lasting, passing = (np.where(row // run % 2, large, small)[:, None] for run in (50, 1))
    found = chosen(actual, GRU=np.ones((1000, 1)), LSTM=lasting, PROPHET=passing)
    assert "statistically tied" in found["LSTM"].reason
    assert "clearly worse" in found["PROPHET"].reason


def test_rows_and_targets_that_were_not_measured_do_not_count():
    actual = np.zeros((200, 2))
    actual[::3, 1] = np.nan
    forecast = np.where(np.isnan(actual), 1e9, errors(5, 200))
    found = choose_members(actual, {"GRU": forecast, "LSTM": forecast * 1.01}, np.ones(2))
    assert [one.member for one in found] == [True, True]


@pytest.mark.parametrize("scale", [0.0, 1e-300, 1e9])
def test_any_scale_is_judged_without_a_warning(scale):
    found = chosen(np.zeros((30, 1)), GRU=errors(0, 30) * scale, LSTM=errors(1, 30) * scale)
    assert sum(one.member for one in found.values()) >= 1


def test_one_row_is_enough_for_an_answer():
    assert chosen(np.zeros((1, 1)), GRU=np.ones((1, 1)), LSTM=np.full((1, 1), 2.0))["GRU"].member


def test_it_is_the_same_whenever_it_is_asked_and_takes_no_time(actual):
    forecasts = {"GRU": errors(0), "LSTM": errors(1), "PROPHET": errors(2, scale=1.06), "LIGHTGBM": errors(3)}
    started = time.process_time()
    found = choose_members(actual, forecasts, UNIT)
    assert time.process_time() - started < 1
    assert choose_members(actual, forecasts, UNIT) == found
