"""Scores of a training, against an independent loop; and the data that cannot be scored."""

import math
from dataclasses import replace

import numpy as np
import pytest

from flts.errors import BadInputError
from flts.params import RecurrentParams
from flts.stages.training.scoring import check_rows, evaluate, scored_origins
from flts.timeseries.baseline import Baseline
from flts.timeseries.frame import Parts
from tests.support.series import ToyForecaster, make_data

HISTORY = 5


def params(**given) -> RecurrentParams:
    return RecurrentParams(config_hash="", config_json="", identifier="", **{"input_seq_len": HISTORY} | given)


def unmeasured(data, rows):
    """The same data in which nothing was measured at ``rows``; cleaning has filled what models see."""
    actual = {name: values.copy() for name, values in data.actual.items()}
    for values in actual.values():
        values[rows] = np.nan
    return replace(data, actual=actual)


def one_at_a_time(model, data, origins):
    return np.concatenate([model.forecast(data.frame, np.array([t]))[:, 0] for t in origins])


@pytest.mark.parametrize("targets", [("a",), ("a", "c")])
def test_scores_are_the_textbook_ones_in_min_max_units_of_the_fit_part(targets):
    data = unmeasured(make_data(120, targets=targets), [110, 113])
    model = ToyForecaster(data, HISTORY, 1)
    evaluation = evaluate(model, data, params(), scored_origins(data, params()))

    rows = [t for t in range(102, 120) if t not in (110, 113)]
    measured = np.array([[data.actual[name][t] for name in targets] for t in rows])
    width = [np.ptp(data.actual[name][:84]) for name in targets]
    before = np.array(
        [
            [data.frame.columns[name][t - 1] if t - 1 in (110, 113) else data.actual[name][t - 1] for name in targets]
            for t in rows
        ]
    )
    for name, forecast in (("GRU", one_at_a_time(model, data, rows)), ("persistence", before)):
        for unit, scores in ((width, evaluation.scores[name]), (1.0, evaluation.original_scores[name])):
            errors = ((forecast - measured) / unit).ravel()
            assert scores.mse == pytest.approx(sum(e * e for e in errors) / len(errors))
            assert scores.rmse == pytest.approx(math.sqrt(scores.mse))
            assert scores.mae == pytest.approx(sum(abs(e) for e in errors) / len(errors))


def test_a_row_with_one_measured_target_of_two_is_scored_on_that_one():
    data = make_data(120, targets=("a", "b"))
    data.actual["b"][110] = np.nan
    model = ToyForecaster(data, HISTORY, 1)
    origins = scored_origins(data, params())
    assert 110 in origins
    errors = one_at_a_time(model, data, origins) - data.actual_matrix()[origins]
    scores = evaluate(model, data, params(), origins).original_scores["GRU"]
    assert scores.mae == pytest.approx(np.nanmean(np.abs(errors)))


def test_every_model_is_scored_on_the_same_rows_and_none_across_a_gap():
    data = make_data(120, gaps=[108])
    origins = scored_origins(data, params())
    assert origins.tolist() == [*range(102, 108), *range(113, 120)]
    evaluation = evaluate(
        ToyForecaster(data, HISTORY, 1), data, params(), origins, plain=ToyForecaster(data, HISTORY, 1)
    )
    assert list(evaluation.scores) == ["GRU", *Baseline, "plain"]
    assert evaluation.metrics()["scored_rows"] == 13
    assert evaluation.scores["plain"] == evaluation.scores["GRU"]


def test_metrics_name_the_model_bare_and_the_others_by_prefix():
    data = make_data(120)
    evaluation = evaluate(ToyForecaster(data, HISTORY, 1), data, params(), scored_origins(data, params()))
    metrics = evaluation.metrics()
    measured = data.actual["a"][evaluation.origins]
    naive = np.abs(np.diff(data.actual["a"][:84])).mean()
    named = ("persistence", "seasonal_naive", "exponential_smoothing", "linear")
    for name, prefix in (("GRU", ""), *((name, f"{name}_") for name in named)):
        scores, original = evaluation.scores[name], evaluation.original_scores[name]
        assert metrics[f"{prefix}test_rmse"] == scores.rmse
        assert metrics[f"{prefix}test_mae"] == scores.mae
        assert metrics[f"{prefix}test_mse"] == scores.mse
        assert metrics[f"{prefix}composite_score"] == 0.5 * scores.rmse + 0.3 * scores.mae + 0.2 * scores.mse
        assert metrics[f"{prefix}test_rmse_original"] == original.rmse
        assert metrics[f"{prefix}test_mase"] == original.mase == pytest.approx(original.mae / naive)
        assert metrics[f"{prefix}test_smape"] == original.smape
        assert metrics[f"{prefix}test_nrmse"] == pytest.approx(original.rmse / np.abs(measured).mean())
    assert {name for name in metrics if name.startswith("seasonal_naive_")} == {
        f"seasonal_naive_{name}" for name in metrics if name.startswith(("test_", "composite"))
    }


def test_the_error_of_each_step_is_averaged_over_the_blocks_of_the_selection_part():
    data = unmeasured(make_data(120), [110])
    model = ToyForecaster(data, HISTORY, 3)
    evaluation = evaluate(model, data, params(output_seq_len=3), scored_origins(data, params(output_seq_len=3)))
    for step in range(3):
        errors = [
            abs(model.forecast(data.frame, np.array([t]))[0, step, 0] - data.actual["a"][t + step])
            for t in range(102, 118)
            if t + step != 110
        ]
        assert evaluation.step_mae[step] == pytest.approx(sum(errors) / len(errors))


def test_models_of_one_step_have_no_error_by_step():
    data = make_data(120)
    assert evaluate(ToyForecaster(data, HISTORY, 1), data, params(), scored_origins(data, params())).step_mae == ()


@pytest.mark.parametrize(("history", "block"), [(1, 1), (5, 1), (5, 3), (10, 1), (10, 24), (100, 50)])
def test_too_few_rows_are_refused_with_the_number_that_is_enough(history, block):
    given = params(input_seq_len=history, output_seq_len=block)
    enough = next(n for n in range(1, 1000) if _suffices(Parts.of(n), history, block))
    check_rows(replace(make_data(enough), parts=Parts.of(enough)), given)
    with pytest.raises(BadInputError, match=rf"need at least {enough}: "):
        check_rows(make_data(enough - 1), given)


def _suffices(parts, history, block):
    return (
        parts.fit_end - history >= block <= parts.validation_end - parts.fit_end and parts.validation_end < parts.rows
    )


def test_a_selection_part_without_measured_values_is_refused():
    data = unmeasured(make_data(120), range(102, 120))
    with pytest.raises(BadInputError, match=r"no row from 2024-03-01 23:42:00 to .* can be scored"):
        scored_origins(data, params())
