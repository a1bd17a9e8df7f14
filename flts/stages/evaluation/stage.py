"""The eval stage: compares the three trained models and promotes the one with the lowest composite score."""

import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from flts.contracts import SCORE_WEIGHTS, ModelType, Promotion, TrainedModel, parse_timestamp, utc_timestamp
from flts.errors import BadInputError
from flts.models.registry import MODELS, ModelEntry
from flts.params import EvalParams
from flts.problems import shown
from flts.promotion import promote
from flts.report.data import Candidate, EvaluationReport
from flts.report.pages import evaluation_page
from flts.stage import Artifact, Context, Result
from flts.stages.inputs import given, is_path, read_trained
from flts.timeseries.metrics import Scores
from flts.untrusted import json_object, read_document

_CLOCKS_DIFFER = timedelta(days=1)

BASELINES: Mapping[str, str] = {"persistence": "persistence", "linear": "the linear model"}


@dataclass(frozen=True)
class _Candidate:
    """A candidate: its message, and the metrics that decide."""

    message: TrainedModel
    metrics_path: Path
    scores: Scores
    baselines: Mapping[str, Scores]
    experiment: str

    @property
    def name(self) -> ModelType:
        return self.message.model_type


def run(params: EvalParams, context: Context) -> Result:
    """Score the candidates, promote the best, and say why it won.

    Raises:
        BadInputError: A trainer is missing or not finished, a model is of another type than its input, the models
            were trained on different data, or none has metrics that can be compared.
    """
    candidates = [_candidate(context, model) for model in MODELS.values()]
    config_hash = _common_config_hash(params.config_hash, candidates)
    ranking = sorted((c for c in candidates if _valid(c.scores)), key=lambda c: c.scores.composite)
    if not ranking:
        raise BadInputError(
            "no model can be promoted, because none has test_rmse, test_mae and test_mse that are finite numbers: "
            + ", ".join(f"{c.name} in {c.metrics_path}" for c in candidates)
        )
    winner = ranking[0]
    notes = [
        f"{c.name} cannot win: test_rmse, test_mae and test_mse must be finite numbers, {c.metrics_path} has "
        f"{c.scores.rmse}, {c.scores.mae} and {c.scores.mse}"
        for c in candidates
        if c not in ranking
    ]
    notes += _lost_to_baselines(winner)
    promotion = _promotion(params.identifier, config_hash, winner, candidates, context.output_dir)
    message = f"selected {winner.name} (run {winner.message.run_id}), composite score {winner.scores.composite:.4g}"
    cached = False
    if context.store:
        promoted = promote(context.store, promotion, [c.message.run_id for c in candidates], params.promotion_bucket)
        promotion, cached = promoted.promotion, promoted.repeated
        message += f", {'found' if cached else 'promoted'} as {params.promotion_bucket}/{promoted.history_key}"
        notes += [f"{params.promotion_bucket}/{key} already names a later promotion" for key in promoted.behind]

    report = EvaluationReport(
        identifier=params.identifier,
        config_hash=config_hash,
        candidates=[Candidate(c.name, c.message.run_id, c.scores, c.scores.composite, c.baselines) for c in candidates],
        winner=winner.name,
        reason=_reason(ranking),
        weights=SCORE_WEIGHTS,
        promotion_time=promotion.promotion_time,
        notes=notes,
    )
    selected = Artifact(promotion.to_json(), promotion.metadata())
    return Result(
        artifacts={
            "selected_model": selected,
            "promotion_metadata": selected,
            "report": Artifact(evaluation_page(report)),
        },
        message=message,
        cached=cached,
        notes=tuple(notes),
    )


def _candidate(context: Context, expected: ModelEntry) -> _Candidate:
    slot = expected.slot
    model, metrics = given(context, f"{slot}_model"), given(context, f"{slot}_metrics")
    message = read_trained(model)
    if message.model_type != expected.model_type:
        raise BadInputError(
            f"{slot}_model ({model.path}) is a {message.model_type} model: {expected.model_type} is expected"
        )
    fields = _read_metrics(metrics.path)
    scores = _scores(fields, "", metrics.path)
    for name, reported in (("rmse", message.test_rmse), ("mae", message.test_mae), ("mse", message.test_mse)):
        measured = getattr(scores, name)
        if reported is not None and math.isfinite(measured) and not math.isclose(reported, measured, rel_tol=1e-6):
            raise BadInputError(
                f"{slot}_metrics ({metrics.path}) are not of {slot}_model ({model.path}): "
                f"test_{name} is {measured} in one, {reported} in the other"
            )
    baselines = {
        name: _scores(fields, f"{name}_", metrics.path) for name in ("persistence", "seasonal_naive", "linear")
    }
    experiment = message.experiment or model.metadata.get("experiment") or "flts"
    return _Candidate(
        message=message,
        metrics_path=metrics.path,
        scores=scores,
        baselines={name: scores for name, scores in baselines.items() if _valid(scores)},
        experiment=str(experiment),
    )


def _read_metrics(path: Path) -> dict[str, Any]:
    return json_object(read_document(path, "metrics file"), str(path), "a metrics file", allow_nan=True)


def _scores(fields: Mapping[str, Any], prefix: str, path: Path) -> Scores:
    """Take three scores from a metrics file; a missing one or ``null`` is NaN."""
    values = {name: fields.get(f"{prefix}test_{name}") for name in ("rmse", "mae", "mse")}
    for name, value in values.items():
        too_large = isinstance(value, int) and abs(value) > sys.float_info.max
        if isinstance(value, bool) or not isinstance(value, int | float | None) or too_large:
            raise BadInputError(f"{path}: field '{prefix}test_{name}' is {shown(value)}, a number is expected")
    return Scores(**{name: math.nan if value is None else float(value) for name, value in values.items()})


def _valid(scores: Scores) -> bool:
    return all(math.isfinite(value) and value >= 0 for value in (scores.rmse, scores.mae, scores.mse))


def _common_config_hash(expected: str, candidates: Sequence[_Candidate]) -> str:
    """Return the one ``config_hash`` of all candidates, which were else trained on different data."""
    expected = expected or candidates[0].message.config_hash
    for candidate in candidates:
        if candidate.message.config_hash != expected:
            raise BadInputError(
                f"{candidate.name} was trained on data with config_hash {candidate.message.config_hash}, "
                f"but {expected} is expected of all candidates"
            )
    return expected


def _promotion(
    identifier: str, config_hash: str, winner: _Candidate, candidates: Sequence[_Candidate], output_dir: Path | None
) -> Promotion:
    """Describe the winner. The time is the latest ``train_end``, so that a repeat is the same promotion."""
    moment = utc_timestamp(max(_train_end(c.message) for c in candidates))
    model_uri = winner.message.model_uri
    # With it, a reader on the machine that trained finds the bundle without asking MLflow.
    artifact_uri = None if is_path(model_uri) else winner.message.artifact_uri
    if is_path(model_uri) and output_dir:
        model_uri = os.path.relpath(model_uri, output_dir.resolve())
    scores = winner.scores
    return Promotion(
        model_uri=model_uri,
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
    )


def _train_end(message: TrainedModel) -> datetime:
    try:
        moment = parse_timestamp(message.train_end)
        if moment > datetime.now(UTC) + _CLOCKS_DIFFER:
            # It would be promoted, and no evaluation after it.
            raise BadInputError(
                f"{message.model_type} (run {message.run_id}): train_end {message.train_end} lies in the future"
            )
        return moment
    except ValueError:
        raise BadInputError(
            f"{message.model_type} (run {message.run_id}): train_end {message.train_end!r} is not a time "
            "such as 2025-01-31T12:00:00Z"
        ) from None


def _lost_to_baselines(winner: _Candidate) -> list[str]:
    return [
        f"the promoted {winner.name} is worse than {label}: composite score {winner.scores.composite:.4g} against "
        f"{winner.baselines[name].composite:.4g}"
        for name, label in BASELINES.items()
        if name in winner.baselines and winner.baselines[name].composite < winner.scores.composite
    ]


def _reason(ranking: Sequence[_Candidate]) -> str:
    """Say in one sentence why the first of the ranking won, and what it is worth beside the baselines."""
    winner = ranking[0]
    best = winner.scores.composite
    if len(ranking) == 1:
        sentence = f"{winner.name} is the only model whose metrics can be compared, with composite score {best:.4g}"
    elif (second := ranking[1]).scores.composite == best:
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
