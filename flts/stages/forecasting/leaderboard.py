"""Every candidate and baseline on the test data, one step ahead on the same rows as the promoted model's backtest."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from flts.contracts import LeaderboardEntry, Promotion, TrainedModel
from flts.datafiles.arrow import table_of
from flts.errors import BadInputError
from flts.models.baselines import LearnedBaselines, persistence, seasonal_naive
from flts.models.forecasting import one_step
from flts.stage_interface import Context
from flts.stages.forecasting.backtest import Backtest
from flts.stages.forecasting.input import ForecastInput, adapt_to_model
from flts.stages.inputs import is_path, load_selected
from flts.timeseries.arrays import Flags, Floats
from flts.timeseries.baseline import Baseline
from flts.timeseries.leaderboard import Competitor, rank_competitors
from flts.timeseries.metrics import Scores, score
from flts.timeseries.windows import forecast_origins

LEADERBOARD_FILE = "leaderboard.parquet"

_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("model", "run_id", "part")),
        ("rank", pa.int64()),
        *((name, pa.float64()) for name in ("composite", "rmse", "mae", "mse", "mase", "smape", "nrmse", "skill")),
        ("rows", pa.int64()),
    ]
)


@dataclass(frozen=True)
class Leaderboard:
    """Scores of everything that was compared.

    Attributes:
        model: Scores of the promoted model on all rows of the backtest, in original units.
        baselines: Scores of the baselines on these rows; those that the bundle does not hold are missing.
        entries: The test data's leaderboard, then that of the selection part, if the promotion brings it.
        notes: Why candidates are missing.
    """

    model: Scores
    baselines: Mapping[str, Scores]
    entries: tuple[LeaderboardEntry, ...]
    notes: tuple[str, ...]

    def metrics(self) -> dict[str, float]:
        """Return ``backtest_*`` numbers: those of the model without a unit, all of each baseline."""
        named = {f"backtest_{kind}": getattr(self.model, kind) for kind in ("mase", "smape", "nrmse")}
        for name, scores in self.baselines.items():
            for kind in ("rmse", "mae", "mse", "mase", "smape", "nrmse"):
                named[f"backtest_{name}_{kind}"] = getattr(scores, kind)
        return named

    def parquet(self) -> bytes:
        """Return the Parquet file: one row per entry; the same entries give the same bytes."""
        sink = pa.BufferOutputStream()
        pq.write_table(table_of([entry.model_dump() for entry in self.entries], _SCHEMA), sink)
        return bytes(sink.getvalue())


def compare_on_test_data(source: ForecastInput, backtested: Backtest, context: Context) -> Leaderboard:
    """Forecast the rows of the backtest with the baselines and with every other candidate of the evaluation.

    A candidate that cannot be loaded, or that cannot forecast the data, is left out with a note. All that are on the
    leaderboard are scored on the same rows: those that the longest window of any of them allows.
    """
    selected, actual = source.selected, backtested.actual
    learned, baselines = _baselines(source, backtested)
    forecasts = {(selected.model_type, selected.run_id): backtested.predicted}
    allowed, notes = np.ones(len(actual), dtype=bool), []
    for candidate in _others(selected):
        try:
            predicted, possible = _forecast(candidate, source, backtested, context)
        except Exception as error:  # one model's trouble, a missing library too, must not take the forecast away
            notes.append(f"{candidate.model_type} is not on the leaderboard of the test data: {_sentence(error)}")
            continue
        forecasts[candidate.model_type, candidate.run_id] = predicted
        allowed &= possible
    unit = np.array([source.loaded.config.target_range[name] for name in source.data.targets])
    rows = int((~np.isnan(actual[allowed])).any(axis=1).sum())

    def competitor(name: str, run_id: str | None, predicted: Floats) -> Competitor:
        scores = score(actual[allowed], predicted[allowed], naive_mae=learned.naive_mae)
        composite = score(actual[allowed], predicted[allowed], unit=unit).composite
        return Competitor(name, run_id, scores, composite, rows)

    competitors = [competitor(name, run_id, predicted) for (name, run_id), predicted in forecasts.items()]
    competitors += [competitor(name, None, predicted) for name, predicted in baselines.items()]
    selection = selected.leaderboard if isinstance(selected, Promotion) else None
    return Leaderboard(
        model=score(actual, backtested.predicted, naive_mae=learned.naive_mae),
        baselines={name: score(actual, values, naive_mae=learned.naive_mae) for name, values in baselines.items()},
        entries=(*rank_competitors("test", competitors), *(selection or ())),
        notes=tuple(notes),
    )


def log_to_run(board: Leaderboard, selected: Promotion | TrainedModel, context: Context) -> str:
    """Log the leaderboard to the MLflow run of the promoted model, in place of an earlier one.

    Returns:
        Why that failed, as a note; empty where it did not, or where the model is not in MLflow.
    """
    if context.tracking_uri is None or is_path(selected.model_uri):
        return ""
    from flts.tracking import Tracking, short_timeouts

    folder = context.work_dir / "leaderboard"
    folder.mkdir(exist_ok=True)
    (folder / LEADERBOARD_FILE).write_bytes(board.parquet())
    try:
        with short_timeouts():
            Tracking(context.tracking_uri).log_folder(selected.run_id, folder)
    except Exception as error:  # a forecast that is made must not be lost over this
        return f"the leaderboard is not in MLflow: {_sentence(error)}"
    return ""


def _baselines(source: ForecastInput, backtested: Backtest) -> tuple[LearnedBaselines, dict[str, Floats]]:
    """Return what the baselines learned, and their forecasts (k, targets) of the rows of the backtest."""
    data, origins = source.data, backtested.origins
    if fitted := source.loaded.config.baselines:
        learned = LearnedBaselines.of(fitted, data.targets)
        return learned, learned.forecasts(data, origins, source.forecaster.input_seq_len)
    nothing = LearnedBaselines(np.zeros(len(data.targets)), np.ones(len(data.targets)), None)
    return nothing, {
        Baseline.PERSISTENCE: persistence(data, origins),
        Baseline.SEASONAL_NAIVE: seasonal_naive(data, origins),
    }


def _others(selected: Promotion | TrainedModel) -> list[TrainedModel]:
    candidates = (selected.candidates or []) if isinstance(selected, Promotion) else []
    return [one for one in candidates if one.run_id != selected.run_id]


def _forecast(
    candidate: TrainedModel, source: ForecastInput, backtested: Backtest, context: Context
) -> tuple[Floats, Flags]:
    """Return (k, targets) forecasts of the rows of the backtest, and (k,) which of them its window allows."""
    folder = context.work_dir / "candidates" / candidate.model_type
    # MLflow has just answered; where it is away now, this is not worth waiting for.
    forecaster = load_selected(candidate, context.tracking_uri, folder).forecaster
    if set(forecaster.targets) != set(source.data.targets):
        raise BadInputError(f"it forecasts {', '.join(forecaster.targets)}, not {', '.join(source.data.targets)}")
    data, history = adapt_to_model(forecaster, source.data, str(source.path)), forecaster.input_seq_len
    possible = np.isin(backtested.origins, forecast_origins(data.gap_before(), history, len(data), history))
    predicted = np.full_like(backtested.actual, np.nan)
    if possible.any():
        order = [forecaster.targets.index(name) for name in source.data.targets]
        predicted[possible] = one_step(forecaster, data, backtested.origins[possible])[:, order]
    return predicted, possible


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
