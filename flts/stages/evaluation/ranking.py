"""Ranking of the candidates by composite score, and the sentence that explains it."""

from collections.abc import Sequence

from flts.contracts import SCORE_WEIGHTS
from flts.errors import BadInputError
from flts.stages.evaluation.candidates import BASELINES, Candidate


def rank(candidates: Sequence[Candidate], preferred: Candidate | None = None) -> list[Candidate]:
    """Return the candidates with valid scores, the lowest composite score first; ties keep their order.

    Args:
        candidates: In the order that breaks ties.
        preferred: One that comes first unless another has the same score, whatever the other scores are.

    Raises:
        BadInputError: There is none.
    """
    ranking = sorted((c for c in candidates if c.valid), key=lambda c: c.scores.composite)
    if not ranking:
        raise BadInputError(
            "no model can be promoted, because none has test_rmse, test_mae and test_mse that are finite numbers: "
            + ", ".join(f"{c.name} in {c.metrics_path}" for c in candidates)
        )
    if preferred in ranking and preferred.scores.composite != ranking[0].scores.composite:
        ranking.sort(key=lambda c: c is not preferred)
    return ranking


def notes(candidates: Sequence[Candidate], winner: Candidate, decision: str) -> list[str]:
    """Name the candidates that cannot win and the baselines that beat the ``promoted`` or ``held`` winner."""
    cannot_win = [
        f"{c.name} cannot win: test_rmse, test_mae and test_mse must be finite numbers, {c.metrics_path} has "
        f"{c.scores.rmse}, {c.scores.mae} and {c.scores.mse}"
        for c in candidates
        if not c.valid
    ]
    lost = [
        f"the {decision} {winner.name} is worse than {label}: composite score {winner.scores.composite:.4g} against "
        f"{winner.baselines[name].composite:.4g}"
        for name, label in BASELINES.items()
        if name in winner.baselines and winner.baselines[name].composite < winner.scores.composite
    ]
    return cannot_win + lost


def reason(ranking: Sequence[Candidate]) -> str:
    """Say in one sentence why the first of the ranking won, and how it compares with the baselines."""
    winner = ranking[0]
    best = winner.scores.composite
    if len(ranking) == 1:
        sentence = f"{winner.name} is the only model whose metrics can be compared, with composite score {best:.4g}"
    elif (second := ranking[1]).scores.composite < best:
        sentence = (
            f"{winner.name}, composite score {best:.4g}, is preferred to {second.name}, whose score is "
            f"{1 - second.scores.composite / best:.1%} lower: they are statistically tied, and which one of several is "
            "the best is partly luck"
        )
    elif second.scores.composite == best:
        sentence = f"{winner.name} and {second.name} tie at composite score {best:.4g}, and {winner.name} comes first"
    else:
        margin = second.scores.composite - best
        gains = {
            name: weight * (getattr(second.scores, name) - getattr(winner.scores, name))
            for name, weight in SCORE_WEIGHTS.items()
        }
        decisive = max(gains, key=lambda name: gains[name])
        sentence = (
            f"{winner.name} has the lowest composite score, {best:.4g}: {margin / second.scores.composite:.1%} below "
            f"{second.name}, mostly through its {decisive.upper()}"
        )
    verdicts = [
        f"{'beats' if best < winner.baselines[name].composite else 'does not beat'} {label} "
        f"({winner.baselines[name].composite:.4g})"
        for name, label in BASELINES.items()
        if name in winner.baselines
    ]
    return f"{sentence}; it {' and '.join(verdicts)}." if verdicts else f"{sentence}."
