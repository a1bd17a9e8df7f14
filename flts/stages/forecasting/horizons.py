"""Backtest several steps ahead: forecasts from rows all over the test data, compared with naive ones."""

from collections.abc import Sequence

import numpy as np

from flts.models.base import Forecaster
from flts.models.baselines import persistence, seasonal_naive_ahead
from flts.models.forecasting import forecast_from
from flts.stages.forecasting.batch import RECURSIVE
from flts.timeseries.metrics import HorizonScores, score
from flts.timeseries.processed import ProcessedData
from flts.timeseries.windows import spans_gap, spread_origins

DIRECT = "direct"
LEAST_STEPS, MOST_STEPS = 12, 48

_FIGURES = ("rmse", "persistence_rmse", "seasonal_naive_rmse", "skill_over_persistence", "skill_over_seasonal_naive")


def longest_horizon(inference_length: int) -> int:
    """Return the longest horizon to score for a forecast of ``inference_length`` steps: 12 to 48."""
    return min(max(LEAST_STEPS, inference_length), MOST_STEPS)


def score_horizons(forecaster: Forecaster, data: ProcessedData, steps: int) -> list[HorizonScores]:
    """Score forecasts 1 to ``steps`` ahead from rows spread evenly over the data.

    A row is scored if it was measured and no gap in time separates it from the window before the origin.
    Horizons without a scored row, such as those beyond the end of the data, are left out.

    Args:
        forecaster: The model.
        data: Rows with the model's features and, as targets, its targets.
        steps: The longest horizon.
    """
    history = forecaster.input_seq_len
    origins = spread_origins(data.gap_before(), history, len(data), history, data.sampling_seconds)
    if not len(origins):
        return []
    steps = min(steps, len(data) - int(origins[0]))
    rows = origins[:, None] + np.arange(steps)
    within = np.minimum(rows, len(data) - 1)
    scored = (rows < len(data)) & ~spans_gap(data.gap_before(), origins[:, None], rows)
    actual = np.where(scored[:, :, None], data.actual_matrix()[within], np.nan)
    predicted = forecast_from(forecaster, data, origins, steps)
    last = persistence(data, origins)
    seasonal = seasonal_naive_ahead(data, origins, within)
    measured = (~np.isnan(actual)).any(axis=2).sum(axis=0)
    return [
        HorizonScores(
            horizon=step + 1,
            recursive=step >= forecaster.output_seq_len,
            rows=int(measured[step]),
            rmse=score(actual[:, step], predicted[:, step]).rmse,
            persistence_rmse=score(actual[:, step], last).rmse,
            seasonal_naive_rmse=score(actual[:, step], seasonal[:, step]).rmse,
        )
        for step in np.flatnonzero(measured).tolist()
    ]


def horizon_entries(scores: Sequence[HorizonScores]) -> list[dict[str, object]]:
    """Return the scores as JSON values, errors to six significant digits; an undefined skill is NaN."""
    return [
        {
            "horizon": entry.horizon,
            "mode": RECURSIVE if entry.recursive else DIRECT,
            "rows": entry.rows,
            **{name: float(f"{getattr(entry, name):.6g}") for name in _FIGURES},
        }
        for entry in scores
    ]
