"""The eval stage: compares the trained models and promotes the best if it passes the gate."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from flts.contracts import SCORE_WEIGHTS, Promotion, utc_timestamp
from flts.errors import BadInputError, ChecksumMismatchError, RefusedError
from flts.models.registry import ENSEMBLE
from flts.params import EvalParams
from flts.promotion import Promoted, promote
from flts.report import data as report_data
from flts.report.pages import evaluation_page
from flts.stage_interface import Artifact, Context, Result
from flts.stages.evaluation import ranking
from flts.stages.evaluation.candidates import Candidate, common_config_hash, read_candidates
from flts.stages.evaluation.ensemble import EnsembleChoice, propose_ensemble
from flts.stages.evaluation.gate import Gate
from flts.stages.evaluation.leaderboard import candidate_messages, selection_leaderboard, shared_uri
from flts.stages.evaluation.training_data import CandidatesData
from flts.stages.inputs import is_path
from flts.stages.scores import scores_artifact

_SCORES = ("test_rmse", "test_mae", "test_mse", "composite_score", "interval_coverage", "promoted")


def run(params: EvalParams, context: Context, *, model_types: str = "") -> Result:
    """Score the candidates, promote the best if it passes the gate, and say why.

    Args:
        params: The parameters.
        context: Models, metrics and services.
        model_types: The types that compete, separated by commas; empty: all that are required, and those of the
            optional ones that were given.

    Raises:
        BadInputError: A trainer is missing or not finished, a model is of another type than its input, the models
            were trained on different data, or none has metrics that can be compared.
        ServiceUnavailableError: The store, or MLflow if it holds the champion, stays out of reach.
    """
    trained = read_candidates(context, model_types.split(",") if model_types else ())
    config_hash = common_config_hash(params.config_hash, trained)
    data = CandidatesData(context, config_hash)
    choice = propose_ensemble(params.identifier, trained, data, context) if params.ensemble else EnsembleChoice()
    competition = _compete(params, trained, choice, data, context)
    candidates, ranked = competition.candidates, competition.ranked
    winner = ranked[0]
    proposed = _promotion(params.identifier, config_hash, winner, competition, context.output_dir)
    forecasts = choice.proposal.forecasts if choice.proposal and winner.name == ENSEMBLE.model_type else None
    gate = Gate(params, context, winner, proposed, data=data, forecasts=forecasts)
    if context.store:
        run_ids = [candidate.message.run_id for candidate in competition.made]
        done = promote(context.store, proposed, run_ids, params.promotion_bucket, gate.decide)
    else:
        done = Promoted(gate.decide(None), history_key="", repeated=False)
    decided = done.promotion
    fallback = gate.fallback_champion(done.champion) if decided.held else None
    notes = [
        *filter(None, [competition.note]),
        *ranking.notes(candidates, winner, "held" if decided.held else "promoted"),
        *gate.notes,
        *([decided.reason] if decided.held and decided.reason else []),
        *(f"{params.promotion_bucket}/{key} already names a later promotion" for key in done.newer_pointers),
    ]
    report = report_data.EvaluationReport(
        identifier=params.identifier,
        config_hash=config_hash,
        candidates=[
            report_data.CandidateScores(c.name, c.message.run_id, c.scores, c.scores.composite, c.baselines)
            for c in candidates
        ],
        winner=winner.name,
        reason=ranking.reason(ranked),
        weights=SCORE_WEIGHTS,
        promotion_time=decided.promotion_time,
        notes=[note for note in notes if note not in (decided.reason or "")],  # the decision has a place of its own
        held=decided.held,
        decision=decided.reason or "",
        champion=_champion(gate, done.champion),
        leaderboard=proposed.leaderboard or (),
        memberships=[
            report_data.MembershipReport(one.model_type, one.member, one.reason) for one in choice.memberships
        ],
    )
    # Also where a champion stands in, or an older version made the same decision.
    shared = {"candidates": proposed.candidates, "leaderboard": proposed.leaderboard}
    selected = (fallback or decided).model_copy(update=shared)
    return Result(
        artifacts={
            "selected_model": Artifact(selected.to_json(), selected.metadata()),
            "promotion_metadata": Artifact(decided.to_json(), decided.metadata()),
            "scores": scores_artifact(decided.model_dump() | {"promoted": int(not decided.held)}, _SCORES),
            "report": Artifact(evaluation_page(report)),
        },
        message=_message(params, winner, done, fallback),
        files=competition.files,
        cached=done.repeated,
        notes=tuple(notes),
    )


@dataclass(frozen=True)
class _Competition:
    """The candidates and their ranking.

    Attributes:
        candidates: All that have scores, in the order that breaks ties.
        ranked: Those that can win, the best first.
        made: Those that exist: an ensemble is made only if it comes first.
        note: Why there is no ensemble, if one was asked for.
        files: The files of an ensemble that is kept without MLflow.
    """

    candidates: Sequence[Candidate]
    ranked: Sequence[Candidate]
    made: Sequence[Candidate]
    note: str = ""
    files: Mapping[str, Path] = field(default_factory=dict)


def _compete(
    params: EvalParams, trained: Sequence[Candidate], choice: EnsembleChoice, data: CandidatesData, context: Context
) -> _Competition:
    """Rank the candidates, and make the ensemble if it comes first."""
    without = _Competition(trained, ranking.rank(trained), trained, choice.note)
    if choice.proposal is None:
        return without
    mean = choice.proposal.candidate
    candidates = [*trained, mean]
    ranked = ranking.rank(candidates, mean if choice.proposal.tied else None)
    if ranked[0] is not mean:
        return _Competition(candidates, ranked, trained)
    from flts.stages.evaluation.ensemble_run import make_ensemble

    try:
        made = make_ensemble(params, choice.proposal, data, context)
    except (ChecksumMismatchError, RefusedError):
        raise
    except BadInputError as error:
        return replace(without, note=f"no {ENSEMBLE.model_type}: {error}")
    candidates = [*trained, made.candidate]
    return _Competition(candidates, ranking.rank(candidates, made.candidate), candidates, files=made.files)


def _promotion(
    identifier: str, config_hash: str, winner: Candidate, competition: _Competition, output_dir: Path | None
) -> Promotion:
    """Return the promotion of the winner; its time is the latest ``train_end``, so that a repeat is the same one."""
    moment = utc_timestamp(max(c.trained_at for c in competition.made))
    model_uri = winner.message.model_uri
    # On the machine that trained, readers find the bundle by it without asking MLflow.
    artifact_uri = None if is_path(model_uri) else winner.message.artifact_uri
    scores = winner.scores
    return Promotion(
        model_uri=shared_uri(model_uri, output_dir),
        model_type=winner.name,
        run_id=winner.message.run_id,
        config_hash=config_hash,
        composite_score=scores.composite,
        test_rmse=scores.rmse,
        test_mae=scores.mae,
        test_mse=scores.mse,
        promotion_time=moment,
        identifier=identifier,
        experiment=winner.experiment,
        rmse=scores.rmse,
        mae=scores.mae,
        mse=scores.mse,
        score=scores.composite,
        timestamp=moment,
        artifact_uri=artifact_uri,
        bundle_sha256=winner.message.bundle_sha256,
        interval_coverage=winner.coverage,
        operation="Promotion",
        status="PROMOTED",
        candidates=candidate_messages(competition.made, output_dir),
        leaderboard=selection_leaderboard(competition.candidates, winner),
    )


def _champion(gate: Gate, champion: Promotion | None) -> report_data.Champion | None:
    """Describe the champion for the report, with scores if it was compared."""
    comparison = gate.comparison
    in_production = comparison.champion if comparison else champion
    if in_production is None:
        return None
    scores = comparison.scores if comparison else None
    return report_data.Champion(
        model_type=in_production.model_type,
        run_id=in_production.run_id,
        promotion_time=in_production.promotion_time,
        scores=scores.champion if scores else None,
        challenger=scores.challenger if scores else None,
        rows=scores.rows if scores else 0,
        obstacle=comparison.obstacle if comparison else "",
    )


def _message(params: EvalParams, winner: Candidate, done: Promoted, fallback: Promotion | None) -> str:
    model = f"{winner.name} (run {winner.message.run_id}), composite score {winner.scores.composite:.4g}"
    key = f"{params.promotion_bucket}/{done.history_key}" if done.history_key else ""
    if not done.promotion.held:
        return f"selected {model}" + (f", {'found' if done.repeated else 'promoted'} as {key}" if key else "")
    instead = f"{fallback.model_type} (run {fallback.run_id}) stays in production" if fallback else "it is not promoted"
    return f"held {model}: {instead}" + (f"; kept as {key}" if key else "")
