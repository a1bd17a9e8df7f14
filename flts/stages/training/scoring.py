"""Scores of a trained model and the baselines: one-step forecasts of the selection part."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count

import numpy as np

from flts.datafiles.times import show_time
from flts.errors import BadInputError
from flts.models.base import Forecaster
from flts.models.baselines import LearnedBaselines
from flts.models.forecasting import one_step
from flts.params import TrainParams
from flts.timeseries.arrays import Floats, Indices
from flts.timeseries.baseline import Baseline
from flts.timeseries.frame import Parts
from flts.timeseries.metrics import Scores, score, target_range
from flts.timeseries.processed import ProcessedData
from flts.timeseries.windows import forecast_origins


@dataclass(frozen=True)
class SelectionEvaluation:
    """Scores on the rows ``origins`` (k,) of the selection part; forecasts (k, targets) in original units.

    ``scores`` (min-max units of the fit part) and ``original_scores`` name the model first, then every ``Baseline``,
    and ``plain`` where there is an uncorrected model; MASE, sMAPE and NRMSE are in ``original_scores``. ``step_mae``
    (output_seq_len,) is in original units, and empty for models that forecast one step at once. ``baselines`` is what
    the baselines learned.
    """

    origins: Indices
    actual: Floats
    predicted: Floats
    persistence: Floats
    scores: Mapping[str, Scores]
    original_scores: Mapping[str, Scores]
    step_mae: tuple[float, ...]
    baselines: LearnedBaselines

    def metrics(self) -> dict[str, float]:
        """Return every score by its metric name.

        ``test_rmse``, ``test_mae``, ``test_mse`` and ``composite_score`` in min-max units, the first three again with
        the suffix ``_original`` in original units; ``test_mase``, ``test_smape``, ``test_nrmse``, which have no unit.
        Those of the model have no prefix, those of others their name and ``_`` in front.
        """
        named: dict[str, float] = {}
        for position, (name, scores) in enumerate(self.scores.items()):
            prefix = f"{name}_" if position else ""
            original = self.original_scores[name]
            for kind in ("rmse", "mae", "mse"):
                named[f"{prefix}test_{kind}"] = getattr(scores, kind)
                named[f"{prefix}test_{kind}_original"] = getattr(original, kind)
            for kind in ("mase", "smape", "nrmse"):
                named[f"{prefix}test_{kind}"] = getattr(original, kind)
            named[f"{prefix}composite_score"] = scores.composite
        return named | {"scored_rows": float(len(self.origins))}


def check_rows(data: ProcessedData, params: TrainParams) -> None:
    """Make sure that every part of the training data is long enough.

    Raises:
        BadInputError: One is not; the sentence says how many rows are needed.
    """
    if not _long_enough(data.parts, params):
        least = params.input_seq_len + params.output_seq_len
        needed = next(rows for rows in count(least) if _long_enough(Parts.of(rows), params))
        raise BadInputError(
            f"the training data has {len(data)} rows, but input_seq_len {params.input_seq_len} and output_seq_len "
            f"{params.output_seq_len} need at least {needed}: 70 % are for fitting, 15 % for validation "
            "and 15 % for testing"
        )


def scored_origins(data: ProcessedData, params: TrainParams) -> Indices:
    """Return the rows of the selection part that every model is scored on, one step ahead.

    Raises:
        BadInputError: There is none.
    """
    origins = _measured(data, forecast_origins(data.gap_before(), *_selection(data), params.input_seq_len))
    if not len(origins):
        first, last = show_time(data.frame.time[data.parts.validation_end]), show_time(data.frame.time[-1])
        raise BadInputError(
            f"no row from {first} to {last} can be scored: each lacks a measured target, or "
            f"{params.input_seq_len} rows before it without a gap in time"
        )
    return origins


def evaluate(
    forecaster: Forecaster, data: ProcessedData, params: TrainParams, origins: Indices, plain: Forecaster | None = None
) -> SelectionEvaluation:
    """Score a model and the baselines on ``origins``; ``plain`` is the same model without its residual correction."""
    actual, unit = data.actual_matrix()[origins], target_range(data)
    learned = LearnedBaselines.learn(data, params)
    forecasts = {
        forecaster.model_type: one_step(forecaster, data, origins),
        **learned.forecasts(data, origins, params.input_seq_len),
    }
    if plain:
        forecasts["plain"] = one_step(plain, data, origins)
    return SelectionEvaluation(
        origins=origins,
        actual=actual,
        predicted=forecasts[forecaster.model_type],
        persistence=forecasts[Baseline.PERSISTENCE],
        scores={name: score(actual, values, unit=unit) for name, values in forecasts.items()},
        original_scores={
            name: score(actual, values, naive_mae=learned.naive_mae) for name, values in forecasts.items()
        },
        step_mae=_step_mae(forecaster, data),
        baselines=learned,
    )


def _step_mae(forecaster: Forecaster, data: ProcessedData) -> tuple[float, ...]:
    """Return the mean absolute error of each step of a block, over the blocks that lie in the selection part."""
    block = forecaster.output_seq_len
    if block == 1:
        return ()
    origins = forecast_origins(data.gap_before(), *_selection(data), forecaster.input_seq_len, block)
    if not len(origins):
        return ()
    actual = data.actual_matrix()[origins[:, None] + np.arange(block)]
    forecast = forecaster.forecast(data.frame, origins)
    return tuple(score(actual[:, step], forecast[:, step]).mae for step in range(block))


def _selection(data: ProcessedData) -> tuple[int, int]:
    return data.parts.validation_end, len(data)


def _measured(data: ProcessedData, origins: Indices) -> Indices:
    return origins[~np.isnan(data.actual_matrix()[origins]).all(axis=1)]


def _long_enough(parts: Parts, params: TrainParams) -> bool:
    return (
        parts.fit_end >= params.input_seq_len + params.output_seq_len
        and parts.validation_end - parts.fit_end >= params.output_seq_len
        and parts.rows > parts.validation_end
    )
