"""Scores several steps ahead, against a loop that forecasts from one origin after another."""

from dataclasses import replace

import numpy as np
import pytest

from flts.contracts import canonical_json, flat_metadata
from flts.models.baselines import persistence
from flts.models.forecasting import forecast_steps
from flts.stages.forecasting.horizons import (
    horizon_entries,
    longest_horizon,
    score_horizons,
)
from flts.timeseries.processed import ProcessedData
from flts.timeseries.windows import SPREAD, spread_origins
from tests.support.processed import processed
from tests.support.series import ToyForecaster

WINDOW = 4
DAY = np.timedelta64(1, "D")


def hourly(rows: int = 90, *, targets: tuple[str, ...] = ("y",), gap: int | None = None) -> ProcessedData:
    """Noise at every hour, some of it not measured; ten hours are missing before row ``gap``."""
    random = np.random.default_rng(4)
    columns = {name: random.normal(10, 3, rows) for name in ("y", "z")}
    actual = {name: np.where(random.random(rows) < 0.1, np.nan, values) for name, values in columns.items()}
    minutes = 60.0 * np.arange(rows)
    if gap is not None:
        minutes[gap:] += 600
    return processed(columns, targets=targets, actual=actual, minutes=minutes)


class ByHand:
    """Errors by horizon, from forecasts and naive forecasts made for one origin at a time."""

    def __init__(self, forecaster, data, steps):
        self.errors = {h: {"model": [], "persistence": [], "seasonal": []} for h in range(1, steps + 1)}
        self.rows = dict.fromkeys(range(1, steps + 1), 0)
        gaps = set(np.flatnonzero(data.gap_before()).tolist())
        for origin in range(WINDOW, len(data)):
            known = replace(
                data,
                frame=data.frame.rows(0, origin),
                actual={name: values[:origin] for name, values in data.actual.items()},
            )
            forecast = forecast_steps(forecaster, known, origin, steps).values
            for h in range(1, min(steps, len(data) - origin) + 1):
                if gaps.isdisjoint(range(origin - WINDOW + 1, origin + h)):
                    self._score(known, data, origin + h - 1, h, forecast[h - 1])

    def _score(self, known, data, row, h, forecast):
        self.rows[h] += not np.isnan(data.actual_matrix()[row]).all()
        [last] = persistence(known, np.array([len(known)]))
        moment = data.frame.time[row] - DAY
        while moment > known.frame.time[-1]:
            moment -= DAY
        for column, name in enumerate(data.targets):
            actual = data.actual[name][row]
            if np.isnan(actual):
                continue
            before = known.actual[name][known.frame.time == moment]
            seasonal = before[0] if len(before) and not np.isnan(before[0]) else last[column]
            for kind, value in (("model", forecast[column]), ("persistence", last[column]), ("seasonal", seasonal)):
                self.errors[h][kind].append(value - actual)

    def rmse(self, h, kind):
        return float(np.sqrt(np.mean(np.square(self.errors[h][kind]))))


@pytest.mark.parametrize("gap", [None, 40])
@pytest.mark.parametrize("targets", [("y",), ("z", "y")])
@pytest.mark.parametrize("block", [1, 3])
def test_scores_equal_those_of_one_origin_after_another(block, targets, gap):
    data, steps = hourly(targets=targets, gap=gap), 30
    forecaster = ToyForecaster(data, WINDOW, block)
    expected = ByHand(forecaster, data, steps)

    scores = score_horizons(forecaster, data, steps)

    assert [entry.horizon for entry in scores] == list(range(1, steps + 1))
    assert [entry.recursive for entry in scores] == [h > block for h in range(1, steps + 1)]
    for entry in scores:
        assert entry.rows == expected.rows[entry.horizon]
        assert entry.rmse == pytest.approx(expected.rmse(entry.horizon, "model"), rel=1e-9)
        assert entry.persistence_rmse == pytest.approx(expected.rmse(entry.horizon, "persistence"))
        assert entry.seasonal_naive_rmse == pytest.approx(expected.rmse(entry.horizon, "seasonal"))
        assert entry.skill_over_persistence == pytest.approx(1 - entry.rmse / entry.persistence_rmse)
        assert entry.skill_over_seasonal_naive == pytest.approx(1 - entry.rmse / entry.seasonal_naive_rmse)


def test_what_lies_behind_a_gap_is_not_scored():
    data = hourly(gap=40)
    columns = {name: np.where(np.arange(90) < 40, values, 1e6) for name, values in data.frame.columns.items()}
    changed = replace(data, frame=replace(data.frame, columns=columns), actual={"y": columns["y"]})
    for entry in score_horizons(ToyForecaster(data, WINDOW, 1), changed, 30):
        assert entry.persistence_rmse < 100  # 1e6 lies on both sides of no error


def test_horizons_beyond_the_data_are_left_out():
    data = processed({"y": np.arange(WINDOW + 5.0)})
    scores = score_horizons(ToyForecaster(data, WINDOW, 2), data, 12)
    assert [(entry.horizon, entry.rows) for entry in scores] == [(1, 5), (2, 4), (3, 3), (4, 2), (5, 1)]


def test_data_without_a_row_behind_a_window_has_no_scores():
    data = processed({"y": np.arange(float(WINDOW))})
    assert score_horizons(ToyForecaster(data, WINDOW, 1), data, 12) == []


def test_a_constant_series_has_errors_but_no_skill():
    data = processed({"y": np.full(60, 3.0)})
    entries = horizon_entries(score_horizons(ToyForecaster(data, WINDOW, 1), data, 12))
    text = flat_metadata({"backtest_horizons": entries})["backtest_horizons"]
    assert len(entries) == 12
    assert all(entry["persistence_rmse"] == 0 and entry["rmse"] > 0 for entry in entries)
    assert text.count('"skill_over_persistence":null') == text.count('"skill_over_seasonal_naive":null') == 12


def test_the_entries_of_the_longest_backtest_are_compact():
    data = hourly(900)
    entries = horizon_entries(score_horizons(ToyForecaster(data, WINDOW, 1), data, 48))
    assert len(entries) == 48
    assert len(canonical_json(entries)) < 10_000


@pytest.mark.parametrize(("length", "longest"), [(1, 12), (12, 12), (13, 13), (48, 48), (10_000, 48)])
def test_the_longest_horizon_follows_the_forecast_within_bounds(length, longest):
    assert longest_horizon(length) == longest


def spread(data):
    return spread_origins(data.gap_before(), WINDOW, len(data), WINDOW, data.sampling_seconds)


@pytest.mark.parametrize(("rows", "every"), [(4, 1), (503, 1), (504, 1), (505, 5), (12_004, 25)])
def test_origins_are_every_kth_row_and_bounded(rows, every):
    origins = spread(hourly(rows))
    assert origins.tolist() == list(range(WINDOW, rows, every))
    assert len(origins) <= SPREAD


def test_origins_are_at_every_hour_of_the_day_and_every_day_of_the_week():
    # Every 24th row would be enough, but they would all be at four in the morning.
    data = hourly(12_004)
    hours = (data.frame.time[spread(data)].astype("datetime64[h]").astype(int)) % (24 * 7)
    counts = np.bincount(hours, minlength=24 * 7)
    assert counts.min() > 0
    assert counts.max() - counts.min() <= 1
