"""The linear baseline: ridge regression on the windows that the recurrent models see."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from flts.errors import BadInputError
from flts.models import ridge
from flts.models.fitted_baselines import FittedLinear
from flts.params import TrainParams
from flts.timeseries.arrays import Floats, Indices
from flts.timeseries.metrics import score, target_range
from flts.timeseries.processed import ProcessedData
from flts.timeseries.scaling import standard_deviation
from flts.timeseries.windows import forecast_origins, window_rows

ALPHAS = tuple(10.0**exponent for exponent in range(4, -5, -1))
BATCH = 8192


@dataclass(frozen=True)
class LinearBaseline:
    """A ridge regression, fitted in closed form.

    Source: Hoerl and Kennard (1970). With centred windows ``X`` and targets ``y`` of the fit part, the weights are
    ``(X'X + alpha I)^-1 X'y``; the intercept is not penalised, and ``alpha`` is the one of ``ALPHAS`` with the lowest
    RMSE on the validation part. Every feature is standardised on the fit part, so that the forecast does not depend on
    the scaler that was chosen for the recurrent models.

    Attributes:
        features: The columns that it sees.
        history: Rows of a window.
        mean: (features,) means of the fit part.
        deviation: (features,) standard deviations of the fit part.
        centre: (history * features,) the mean window, standardised.
        level: (targets,) means of the targets.
        weights: (history * features, targets).
    """

    features: tuple[str, ...]
    history: int
    mean: Floats
    deviation: Floats
    centre: Floats
    level: Floats
    weights: Floats

    @classmethod
    def learn(cls, data: ProcessedData, params: TrainParams) -> Self:
        """Fit on windows of ``input_seq_len`` rows.

        Raises:
            BadInputError: The fit part is shorter than one window and the row after it.
        """
        history, parts = params.input_seq_len, data.parts
        gaps = data.gap_before()
        fit = forecast_origins(gaps, 0, parts.fit_end, history)
        validation = forecast_origins(gaps, parts.fit_end, parts.validation_end, history)
        if not len(fit):
            raise BadInputError(
                f"the training data's fit part has {parts.fit_end} rows and no window without a gap in time; "
                f"input_seq_len {history} needs at least {history + 1} consecutive rows there"
            )
        names = data.learnable_features()
        columns = data.frame.matrix(names)
        mean, deviation = columns[: parts.fit_end].mean(axis=0), standard_deviation(columns[: parts.fit_end])
        features = (columns - mean) / deviation
        targets = data.frame.matrix(data.targets)
        centre, level = _mean_window(features, fit, history), targets[fit].mean(axis=0)

        gram = np.zeros((len(centre), len(centre)))
        moment = np.zeros((len(centre), len(level)))
        for rows, x in _windows(features, fit, centre, history):
            gram += x.T @ x
            moment += x.T @ (targets[rows] - level)
        weights = ridge.solve_centred(gram, moment, ALPHAS)

        actual, unit = data.actual_matrix()[validation], target_range(data)
        trials = _forecast(features, validation, centre, level, weights)
        losses = [score(actual, trial, unit=unit).rmse for trial in trials]
        # Without a validation value every loss is NaN: the strongest penalty, the first, is then the safe choice.
        best = 0 if np.isnan(losses).all() else int(np.nanargmin(losses))
        return cls(names, history, mean, deviation, centre, level, weights[best])

    def forecast(self, data: ProcessedData, origins: Indices) -> Floats:
        """Forecast (k,) rows, each at least ``history``, to (k, targets) in original units."""
        features = (data.frame.matrix(self.features) - self.mean) / self.deviation
        chosen: Floats = _forecast(features, origins, self.centre, self.level, self.weights[None])[0]
        return chosen

    @classmethod
    def of(cls, fitted: FittedLinear, targets: Sequence[str]) -> Self:
        """Restore it from its JSON form."""
        return cls(
            fitted.features,
            fitted.history,
            np.array(fitted.mean),
            np.array(fitted.deviation),
            np.array(fitted.centre),
            np.array([fitted.level[name] for name in targets]),
            np.array([fitted.weights[name] for name in targets]).T,
        )

    def fitted(self, targets: Sequence[str]) -> FittedLinear:
        """Return the JSON form."""
        return FittedLinear(
            features=self.features,
            history=self.history,
            mean=self.mean.tolist(),
            deviation=self.deviation.tolist(),
            centre=self.centre.tolist(),
            level=dict(zip(targets, self.level.tolist(), strict=True)),
            weights=dict(zip(targets, self.weights.T.tolist(), strict=True)),
        )


def _forecast(features: Floats, rows: Indices, centre: Floats, level: Floats, weights: Floats) -> Floats:
    """Forecast with weights (m, window, targets) to (m, len(rows), targets)."""
    history = len(centre) // features.shape[1]
    blocks = [np.matmul(x, weights) for _, x in _windows(features, rows, centre, history)]
    return np.concatenate(blocks, axis=1) + level if blocks else np.empty((len(weights), 0, len(level)))


def _mean_window(features: Floats, origins: Indices, history: int) -> Floats:
    """Return (history * features,) the mean of the flattened windows."""
    means: list[Floats] = [features[origins - lag].mean(axis=0) for lag in range(history, 0, -1)]
    return np.concatenate(means)


def _windows(features: Floats, origins: Indices, centre: Floats, history: int) -> Iterator[tuple[Indices, Floats]]:
    """Yield batches of origins and their flattened, centred windows (batch, history * features): bounded memory."""
    for start in range(0, len(origins), BATCH):
        rows = origins[start : start + BATCH]
        yield rows, features[window_rows(rows, history)].reshape(len(rows), -1) - centre
