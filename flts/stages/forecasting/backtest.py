"""What a model is worth: one-step forecasts over a whole file, beside persistence."""

from dataclasses import dataclass

import numpy as np

from flts.models.base import Forecaster
from flts.models.baselines import persistence
from flts.models.forecasting import one_step
from flts.timeseries.arrays import Floats, Indices
from flts.timeseries.metrics import Scores, score, skill
from flts.timeseries.processed import ProcessedData
from flts.timeseries.windows import forecast_origins


@dataclass(frozen=True)
class Backtest:
    """One-step forecasts of every row whose window spans no gap, in original units.

    Attributes:
        origins: (k,) the rows forecast.
        actual: (k, targets) measured values, NaN where nothing was measured.
        predicted: (k, targets) the model's forecasts.
        naive: (k, targets) those of persistence.
        scores: The model's errors.
        naive_scores: Those of persistence, on the same values.
    """

    origins: Indices
    actual: Floats
    predicted: Floats
    naive: Floats
    scores: Scores
    naive_scores: Scores

    @property
    def rows(self) -> int:
        """How many rows could be scored."""
        return int((~np.isnan(self.actual)).any(axis=1).sum())

    @property
    def skill(self) -> float:
        """Skill over persistence; see ``flts.timeseries.metrics.skill``."""
        return skill(self.scores.rmse, self.naive_scores.rmse)

    def metrics(self) -> dict[str, float]:
        """Return ``backtest_*`` numbers by name; NaN where nothing could be scored."""
        return {
            "backtest_rmse": self.scores.rmse,
            "backtest_mae": self.scores.mae,
            "backtest_mse": self.scores.mse,
            "backtest_persistence_rmse": self.naive_scores.rmse,
            "backtest_persistence_mae": self.naive_scores.mae,
            "backtest_persistence_mse": self.naive_scores.mse,
            "backtest_skill": self.skill,
            "backtest_rows": self.rows,
        }


def backtest(forecaster: Forecaster, data: ProcessedData) -> Backtest:
    """Forecast every row from ``input_seq_len`` on one step ahead, from the cleaned rows before it.

    Args:
        forecaster: The model.
        data: Rows with the model's features and, as targets, its targets.
    """
    history = forecaster.input_seq_len
    origins = forecast_origins(data.gap_before(), history, len(data), history)
    actual = data.actual_matrix()[origins]
    # An empty batch has no shape that every model agrees on.
    predicted = one_step(forecaster, data, origins) if len(origins) else actual
    naive = persistence(data, origins)
    return Backtest(origins, actual, predicted, naive, score(actual, predicted), score(actual, naive))
