"""The ensemble as a candidate: its members, their mean on the selection part, and the scores of that."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import numpy as np

from flts.contracts import TrainedModel, utc_timestamp
from flts.errors import BadInputError
from flts.models.registry import ENSEMBLE
from flts.stage_interface import Context
from flts.stages.evaluation.candidates import Candidate
from flts.stages.evaluation.membership import Membership, choose_members, statistically_tied
from flts.stages.evaluation.selection_series import SelectionSeries, read_challenger
from flts.stages.evaluation.training_data import CandidatesData
from flts.timeseries.metrics import one_step_naive_mae, score, target_range
from flts.timeseries.processed import ProcessedData


@dataclass(frozen=True)
class EnsembleProposal:
    """An ensemble that eval may make.

    Attributes:
        members: The models that it is the mean of, in the order that breaks ties.
        candidate: The mean as a candidate: its scores, and baselines on the same rows.
        forecasts: Its forecasts of the selection part.
        tied: Whether it is statistically tied with the best of its members, or better.
    """

    members: Sequence[Candidate]
    candidate: Candidate
    forecasts: SelectionSeries
    tied: bool


@dataclass(frozen=True)
class EnsembleChoice:
    """The members and the others, and the ensemble; where there are fewer than two members, a note in its place."""

    memberships: Sequence[Membership] = ()
    proposal: EnsembleProposal | None = None
    note: str = ""


@dataclass
class _Readable:
    """The candidates whose forecasts can be averaged, and why the others' cannot."""

    series: dict[str, SelectionSeries] = field(default_factory=dict)
    obstacles: dict[str, str] = field(default_factory=dict)


def propose_ensemble(
    identifier: str, candidates: Sequence[Candidate], data: CandidatesData, context: Context
) -> EnsembleChoice:
    """Choose the members of an ensemble, and score their mean.

    Args:
        identifier: Of this run.
        candidates: The trained models, in the order that breaks ties.
        data: The training data.
        context: Where MLflow is, which may keep the forecasts.

    Raises:
        BadInputError: ``training_data`` is not what the candidates were trained on.
        ServiceUnavailableError: MLflow is out of reach.
    """
    if not data.given:
        return EnsembleChoice(
            note=f"no {ENSEMBLE.model_type}: training_data was not given, which holds the measured values"
        )
    found = _read(candidates, data.processed, context)
    if not found.series:
        obstacles = "; ".join(f"{name}: {why}" for name, why in found.obstacles.items())
        return EnsembleChoice(note=f"no {ENSEMBLE.model_type}: no candidate's forecasts can be read: {obstacles}")
    processed = data.processed
    origins = next(iter(found.series.values())).origins
    forecasts = {name: series.predicted for name, series in found.series.items()}
    actual, unit = processed.actual_matrix()[origins], target_range(processed)
    judged = choose_members(actual, forecasts, unit)
    known = {one.model_type: one for one in judged} | {
        name: Membership(name, member=False, reason=why) for name, why in found.obstacles.items()
    }
    memberships = [known[candidate.name] for candidate in candidates]
    members = [candidate for candidate in candidates if known[candidate.name].member]
    if len(members) < 2:
        return EnsembleChoice(
            memberships, note=f"no {ENSEMBLE.model_type}: no other model comes close enough to {members[0].name}"
        )
    mean = np.mean([found.series[member.name].predicted for member in members], axis=0)
    series = SelectionSeries(origins, mean)
    best = min(members, key=lambda member: member.scores.composite)
    tied = statistically_tied(actual, mean, forecasts[best.name], unit)
    proposal = EnsembleProposal(members, _candidate(identifier, members, processed, series), series, tied)
    return EnsembleChoice(memberships, proposal)


def _read(candidates: Sequence[Candidate], data: ProcessedData, context: Context) -> _Readable:
    """Read the forecasts of the candidates; those of other rows than the best's are of no use."""
    found = _Readable()
    for candidate in candidates:
        if not candidate.valid:
            found.obstacles[candidate.name] = "its scores are not finite numbers"
            continue
        try:
            found.series[candidate.name] = read_challenger(candidate, data, context)
        except BadInputError as error:
            found.obstacles[candidate.name] = str(error)
    best = min((c for c in candidates if c.name in found.series), key=lambda c: c.scores.composite, default=None)
    for name, series in list(found.series.items()) if best else []:
        if best and not np.array_equal(series.origins, found.series[best.name].origins):
            found.obstacles[name] = f"it was scored on other rows than {best.name}"
            del found.series[name]
    return found


def _candidate(
    identifier: str, members: Sequence[Candidate], data: ProcessedData, series: SelectionSeries
) -> Candidate:
    best = min(members, key=lambda member: member.scores.composite)
    actual, naive_mae = data.actual_matrix()[series.origins], one_step_naive_mae(data)
    scores = score(actual, series.predicted, unit=target_range(data), naive_mae=naive_mae)
    # A moment later than its members, and the same whenever it is made: a repeated evaluation is the same promotion,
    # and one with an ensemble is later than one of the same models without.
    begun = max(member.trained_at for member in members)
    message = TrainedModel(
        model_type=ENSEMBLE.model_type,
        config_hash=data.config_hash,
        run_id="",
        status="RUNNING",
        model_uri="",
        test_rmse=scores.rmse,
        test_mae=scores.mae,
        test_mse=scores.mse,
        train_start=utc_timestamp(begun),
        train_end=utc_timestamp(begun + timedelta(microseconds=1)),
        identifier=identifier,
        artifact_uri="",
        operation=f"Trained: {ENSEMBLE.model_type}",
        experiment=best.experiment,
    )
    return Candidate(
        message=message,
        metrics_path=best.metrics_path,
        selection_path=Path(),
        scores=scores,
        baselines=best.baselines,
        coverage=None,
        experiment=best.experiment,
        rows=len(series.origins),
    )
