"""Champion and challenger with real bundles: which rows they are compared on, and which scores that gives."""

import json
from dataclasses import replace

import numpy as np
import pytest

from flts.contracts import composite_score
from flts.errors import BadInputError
from flts.models import bundle
from flts.stage_interface import Context
from flts.stages.evaluation.champion import LEAST_ROWS, compare
from flts.stages.evaluation.selection_series import SelectionSeries
from flts.timeseries.frame import Parts
from flts.timeseries.metrics import target_range
from tests.support.champions import noise, off_by, promotion_of, scored, trained, until
from tests.support.processed import processed

SCORED_BY, NOW = 2.0, 1.0  # how far off the champion's forecasts are: those that its training kept, and those made now


@pytest.fixture(scope="module")
def data():
    return noise()


@pytest.fixture(scope="module")
def forecasters(data):
    return {offset: off_by(data, offset) for offset in (0.0, NOW, SCORED_BY)}


def rows_of(data, first, stop):
    """The first ``stop - first`` rows of a longer series, as a dataset of its own."""
    part = replace(
        data,
        frame=data.frame.rows(first, stop),
        actual={name: values[first:stop] for name, values in data.actual.items()},
        parts=Parts.of(stop - first),
        config_hash="e" * 64,
    )
    return replace(part, scaler=type(data.scaler).fit("MinMaxScaler", part.frame.rows(0, part.parts.fit_end).columns))


class Comparison:
    """A champion in a folder, and a challenger that was trained on ``data``."""

    def __init__(self, folder, data, forecasters):
        self.folder, self.data, self.forecasters = folder, data, forecasters

    def champion(self, last_row, data=None):
        """Train the champion on the rows up to ``last_row`` of ``data``."""
        data = data or self.data
        return trained(
            self.folder,
            data,
            self.forecasters[SCORED_BY],
            minute=0,
            trained_until=until(data, last_row),
            refitted=self.forecasters[NOW],
        )

    def rewrite(self, **fields):
        path = self.folder / "selection.json"
        content = json.loads(path.read_text()) | fields
        path.write_text(json.dumps({name: value for name, value in content.items() if value is not None}))

    def run(self, champion, data=None):
        data = data or self.data
        rows = scored(data)
        challenger = SelectionSeries(rows, self.forecasters[0.0].forecast(data.frame, rows)[:, 0])
        loaded = bundle.load(self.folder / "bundle")
        return compare(promotion_of(champion), loaded, data, challenger, Context({}, self.folder))


@pytest.fixture
def comparison(tmp_path, data, forecasters):
    return Comparison(tmp_path / "champion", data, forecasters)


def composite(errors, data):
    errors = np.concatenate(errors) / target_range(data)[0]
    mse = float(np.mean(errors**2))
    return pytest.approx(composite_score(np.sqrt(mse), np.abs(errors).mean(), mse), rel=1e-12)


def errors_of(forecaster, data, rows):
    return forecaster.forecast(data.frame, rows)[:, 0, 0] - data.actual["y"][rows]


def check(result, data, forecasters, kept, later):
    """Compare with scores by hand on the rows ``kept`` by the champion's training, and on ``later`` ones."""
    by_hand = (
        (result.champion, [errors_of(forecasters[SCORED_BY], data, kept), errors_of(forecasters[NOW], data, later)]),
        (result.challenger, [errors_of(forecasters[0.0], data, np.concatenate([kept, later]))]),
    )
    for scores, errors in by_hand:
        assert scores.composite == composite(errors, data)
    assert (result.rows, result.later) == (len(kept) + len(later), len(later))


def no_rows():
    return np.arange(0)


def test_a_champion_that_was_not_refitted_forecasts_the_whole_selection_part(data, forecasters, comparison):
    champion = comparison.champion(data.parts.validation_end - 1)
    (comparison.folder / "selection.json").unlink()
    result = comparison.run(champion)
    check(result, data, forecasters, no_rows(), scored(data))
    assert result.provenance == (
        "the rows are from 2024-01-29 08:00:00 to 2024-02-03 07:00:00, and the champion forecast all of them now, "
        "because they are later than its training data"
    )


def test_a_champion_refitted_on_the_same_data_is_judged_by_what_its_training_forecast(data, forecasters, comparison):
    result = comparison.run(comparison.champion(len(data) - 1))
    check(result, data, forecasters, scored(data), no_rows())
    assert result.provenance == (
        "the rows are from 2024-01-29 08:00:00 to 2024-02-03 07:00:00, and the champion forecast all of them in its "
        "training, before any refit"
    )


def test_rows_later_than_its_data_are_added(data, forecasters, comparison):
    """The selection part of the champion's 720 rows begins at row 612, that of the challenger's 800 rows at 680."""
    earlier = rows_of(data, 0, 720)
    result = comparison.run(comparison.champion(719, earlier))
    check(result, data, forecasters, np.arange(680, 720), np.arange(720, 800))
    assert result.provenance == (
        "the rows are from 2024-01-29 08:00:00 to 2024-02-03 07:00:00, and the champion forecast 40 of them in its "
        "training, before any refit, and 80 of them now, because they are later than its training data"
    )


def test_other_rows_of_the_same_series_are_matched_by_time(data, forecasters, comparison):
    """The selection part of the champion's last 700 rows begins at row 695."""
    result = comparison.run(comparison.champion(699, rows_of(data, 100, 800)))
    check(result, data, forecasters, np.arange(695, 800), no_rows())


def test_rows_with_other_measured_values_are_left_out(data, forecasters, comparison):
    champion = comparison.champion(len(data) - 1)
    actual = np.where(np.arange(len(data)) % 2, data.actual["y"], data.actual["y"] + 5.0)
    actual[: data.parts.fit_end] = data.actual["y"][: data.parts.fit_end]  # the unit of scores
    changed = replace(data, actual={"y": actual}, config_hash="f" * 64)
    check(comparison.run(champion, changed), changed, forecasters, scored(data)[scored(data) % 2 == 1], no_rows())
    with pytest.raises(BadInputError, match=r"selection\.json holds other measured values at all 120 times"):
        comparison.run(champion, replace(data, actual={"y": data.actual["y"] + 5.0}))


def test_rows_without_a_measured_value_do_not_count(data, forecasters, comparison):
    missing = {"y": np.where(np.arange(len(data)) < 730, data.actual["y"], np.nan)}
    champion = comparison.champion(len(data) - 1, replace(data, actual=missing))
    check(comparison.run(champion, replace(data, actual=missing)), data, forecasters, np.arange(680, 730), no_rows())
    missing["y"][729] = np.nan
    with pytest.raises(BadInputError, match="only 49 rows that shaped neither are known, 50 are needed"):
        comparison.run(champion, replace(data, actual=missing))


@pytest.mark.parametrize("rows", [LEAST_ROWS - 1, LEAST_ROWS])
def test_fifty_rows_are_enough(data, forecasters, comparison, rows):
    champion = comparison.champion(len(data) - 1 - rows)
    (comparison.folder / "selection.json").unlink()
    if rows >= LEAST_ROWS:
        check(comparison.run(champion), data, forecasters, no_rows(), np.arange(len(data) - rows, len(data)))
        return
    with pytest.raises(BadInputError) as caught:
        comparison.run(champion)
    assert str(caught.value) == (
        "only 49 rows that shaped neither are known, 50 are needed: 49 rows of the selection part are later than what "
        f"it was trained on; {comparison.folder}/selection.json is missing: the training of PROPHET writes it next to "
        "the model"
    )


def test_the_rows_of_both_sources_are_counted_together(data, forecasters, comparison):
    """40 later rows and 9 that its training forecast, of a series that ends after them: 49."""
    champion = comparison.champion(759)
    content = json.loads((comparison.folder / "selection.json").read_text())
    first = {name: values[71:80] for name, values in (("time", content["time"]),)}
    columns = {kind: {"y": content[kind]["y"][71:80]} for kind in ("predicted", "actual")}
    comparison.rewrite(**first, **columns)
    measured, predicted = (np.array(columns[kind]["y"])[:, None] for kind in ("actual", "predicted"))
    error = np.abs(measured - predicted) / target_range(data)
    mse = float(np.mean(error**2))
    scores = replace(champion.scores, rmse=np.sqrt(mse), mae=float(error.mean()), mse=mse)
    with pytest.raises(
        BadInputError, match=r"only 49 rows .* 40 rows of the selection part are later .* of 9 of the same"
    ):
        comparison.run(replace(champion, scores=scores))


def test_rows_that_the_champion_has_learned_from_count_for_neither(data, comparison):
    champion = comparison.champion(data.parts.validation_end + 40)
    (comparison.folder / "selection.json").unlink()
    known = {"y": np.where(np.arange(len(data)) > data.parts.validation_end + 40, data.actual["y"], 1000.0)}
    known["y"][: data.parts.fit_end] = data.actual["y"][: data.parts.fit_end]  # the unit of scores
    assert comparison.run(champion, replace(data, actual=known)) == comparison.run(champion)


def test_forecasts_of_an_older_version_count_for_the_same_data(data, forecasters, comparison):
    champion = comparison.champion(len(data) - 1)
    comparison.rewrite(actual=None)
    check(comparison.run(champion), data, forecasters, scored(data), no_rows())
    with pytest.raises(BadInputError, match="does not hold the measured values, because an older version wrote it"):
        comparison.run(champion, replace(data, config_hash="f" * 64))


def test_a_bundle_that_does_not_say_until_when_it_was_trained_is_judged_by_its_training(data, forecasters, comparison):
    champion = trained(comparison.folder, data, forecasters[SCORED_BY], minute=0, trained_until=None)
    check(comparison.run(champion), data, forecasters, scored(data), no_rows())


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"predicted": {"z": [1.0] * 120}, "actual": {"z": [1.0] * 120}}, "holds forecasts of z, not y"),
        ({"predicted": {"y": [1.0] * 120}}, r"gives the composite score 51\.\d+, but 0\.\d+ was reported"),
        ({"predicted": {"y": [None] * 120}}, r"gives the composite score nan, but 0\.\d+ was reported"),
        ({"time": "never"}, "does not hold forecasts of selection rows"),
    ],
)
def test_forecasts_that_are_not_the_champions_are_not_believed(data, comparison, fields, sentence):
    champion = comparison.champion(len(data) - 1)
    comparison.rewrite(**fields)
    with pytest.raises(BadInputError, match=sentence):
        comparison.run(champion)


def test_a_forecast_farther_ahead_is_not_compared(data, comparison):
    champion = comparison.champion(len(data) - 1)
    minutes = np.arange(len(data)) * 30.0
    denser = replace(
        data, frame=replace(data.frame, time=data.frame.time[0] + (minutes * 60e6).astype("timedelta64[us]"))
    )
    with pytest.raises(BadInputError, match="holds a forecast every 3600 s, but the data has a row every 1800 s"):
        comparison.run(champion, replace(denser, sampling_seconds=1800.0))


def test_several_targets_in_another_order(tmp_path):
    values = np.random.default_rng(1).normal(size=(2, 800)) * np.array([[1.0], [50.0]]) + 100
    data = processed({"a": values[0].tolist(), "b": values[1].tolist()}, targets=("a", "b"))
    other = replace(data, targets=("b", "a"))
    good, bad = off_by(data, 0.0), off_by(other, 3.0)
    champion = trained(tmp_path / "champion", other, bad, minute=0, trained_until=until(data, 739))
    rows = scored(data)
    result = compare(
        promotion_of(champion),
        bundle.load(tmp_path / "champion" / "bundle"),
        data,
        SelectionSeries(rows, good.forecast(data.frame, rows)[:, 0]),
        Context({}, tmp_path),
    )
    assert (result.rows, result.later) == (120, 60)
    error = np.abs(bad.forecast(data.frame, rows)[:, 0][:, ::-1] - data.actual_matrix()[rows]) / target_range(data)
    assert result.champion.mae == pytest.approx(error.mean(), rel=1e-12)
