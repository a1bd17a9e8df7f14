"""Contents of the reports. Stages fill these; `flts.report.pages` renders them. Arrays are in original units."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from flts.contracts import LeaderboardEntry
from flts.timeseries.arrays import Flags, Floats, Times
from flts.timeseries.metrics import HorizonScores, Scores


@dataclass(frozen=True)
class SeriesReport:
    """One measured column of the training data: cleaned values (n,), and which of them were filled or clipped."""

    name: str
    values: Floats
    missing: Flags
    clipped: Flags
    note: str = ""


@dataclass(frozen=True)
class PreprocessReport:
    """Report of preprocess. ``time`` (n,), ``test_time`` (m,); bounds are row numbers of the training data."""

    dataset_name: str
    identifier: str
    config_hash: str
    config: Mapping[str, object]
    time: Times
    test_time: Times
    series: Sequence[SeriesReport]
    test_series: Mapping[str, Floats]
    targets: Sequence[str]
    fit_end: int
    validation_end: int
    sampling_seconds: float
    gaps: Sequence[tuple[np.datetime64, np.datetime64]] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class TrainingReport:
    """Report of a trainer. ``time`` (m,) and the forecasts (m, targets) cover the scored rows of the selection part.

    ``scores`` (min-max units) and ``original_scores`` name the model first, then every ``Baseline`` and, for Prophet,
    ``plain``. Losses are per epoch; empty where there are none.
    ``remark`` tells readers about this type of model.
    """

    model_type: str
    identifier: str
    run_id: str
    config_hash: str
    parameters: Mapping[str, object]
    targets: Sequence[str]
    time: Times
    actual: Floats
    predicted: Floats
    persistence: Floats
    scores: Mapping[str, Scores]
    original_scores: Mapping[str, Scores]
    train_loss: Sequence[float] = ()
    validation_loss: Sequence[float] = ()
    best_epoch: int = 0
    stopped_early: bool = False
    step_mae: Sequence[float] = ()
    notes: Sequence[str] = ()
    remark: str = ""


@dataclass(frozen=True)
class CandidateScores:
    """A model that eval compared; ``composite`` is NaN where a metric is missing. Scores in min-max units."""

    model_type: str
    run_id: str
    scores: Scores
    composite: float
    baselines: Mapping[str, Scores] = field(default_factory=dict)


@dataclass(frozen=True)
class Champion:
    """The model in production; scores of it and of the winner on the same ``rows``, where they can be compared.

    ``obstacle`` says why there is no comparison.
    """

    model_type: str
    run_id: str
    promotion_time: str
    scores: Scores | None = None
    challenger: Scores | None = None
    rows: int = 0
    obstacle: str = ""


@dataclass(frozen=True)
class MembershipReport:
    """A model that may be a member of the ensemble, and ``reason``, why it is one or not."""

    model_type: str
    member: bool
    reason: str


@dataclass(frozen=True)
class EvaluationReport:
    """Report of eval; ``reason`` says why the winner won, ``decision`` why a gate promoted or held it.

    ``leaderboard`` is that of the selection part. ``memberships`` are empty where no ensemble was asked for.
    """

    identifier: str
    config_hash: str
    candidates: Sequence[CandidateScores]
    winner: str
    reason: str
    weights: Mapping[str, float]
    promotion_time: str
    notes: Sequence[str] = ()
    held: bool = False
    decision: str = ""
    champion: Champion | None = None
    leaderboard: Sequence[LeaderboardEntry] = ()
    memberships: Sequence[MembershipReport] = ()


@dataclass(frozen=True)
class ForecastReport:
    """Report of inference. Forecast arrays are (steps, targets), backtest arrays (rows, targets); NaN: unknown.

    ``recursive`` and ``after_gap`` are (steps,). ``lower`` and ``upper`` bound the interval of each step, meant to
    contain the share ``interval_level`` of measured values; ``backtest_lower`` and ``backtest_upper`` in the backtest.
    Models without intervals have ``None`` and NaN there. ``backtest_scores`` (original units) names the model, then the
    baselines. ``backtest_horizons`` are by horizon, ascending. ``leaderboard`` is of the test data and the selection
    part. ``quantiles`` are those that were asked for, ascending, and ``backtest_quantile_coverage`` the share of
    measured values at or below each in the backtest; ``backtest_wql`` is their weighted quantile loss, NaN without any.
    """

    identifier: str
    run_id: str
    model_type: str
    config_hash: str
    targets: Sequence[str]
    time: Times
    predicted: Floats
    actual: Floats
    lower: Floats | None
    upper: Floats | None
    recursive: Flags
    after_gap: Flags
    step_mae: Sequence[tuple[int, float]]
    backtest_time: Times
    backtest_actual: Floats
    backtest_predicted: Floats
    backtest_lower: Floats
    backtest_upper: Floats
    backtest_coverage: float
    interval_level: float
    backtest_persistence: Floats
    backtest_scores: Mapping[str, Scores]
    backtest_horizons: Sequence[HorizonScores] = ()
    quantiles: Mapping[float, Floats] = field(default_factory=dict)
    backtest_quantile_coverage: Mapping[float, float] = field(default_factory=dict)
    backtest_wql: float = math.nan
    leaderboard: Sequence[LeaderboardEntry] = ()
    notes: Sequence[str] = ()
