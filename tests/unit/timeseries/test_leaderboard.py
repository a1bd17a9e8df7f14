"""Ranks of models and baselines."""

import math

from flts.timeseries.leaderboard import Competitor, rank_competitors
from flts.timeseries.metrics import Scores


def competitor(name, composite, rmse, run_id=None):
    return Competitor(name, run_id, Scores(rmse, 0.5, 0.25), composite, 9)


def test_the_lowest_composite_score_comes_first_and_unknown_ones_last():
    board = rank_competitors(
        "selection",
        [
            competitor("GRU", math.nan, math.inf, "a"),
            competitor("LSTM", 0.3, 0.6, "b"),
            competitor("persistence", 0.4, 0.8),
            competitor("PROPHET", 0.2, 0.4, "c"),
            competitor("LIGHTGBM", 0.3, 0.6, "d"),
        ],
    )
    assert [(entry.model, entry.rank) for entry in board] == [
        *(("PROPHET", 1), ("LSTM", 2), ("LIGHTGBM", 3), ("persistence", 4), ("GRU", None))
    ]
    assert [entry.skill for entry in board] == [0.5, 1 - 0.6 / 0.8, 1 - 0.6 / 0.8, 0, None]
    assert {(entry.part, entry.mae, entry.mase, entry.rows) for entry in board} == {("selection", 0.5, None, 9)}
    assert board[-1].rmse is None


def test_without_persistence_there_is_no_skill():
    (entry,) = rank_competitors("test", [competitor("GRU", 0.1, 0.2, "a")])
    assert (entry.rank, entry.skill) == (1, None)
