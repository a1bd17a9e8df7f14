"""Making the ensemble that eval promotes: its bundle from those of its members, and its MLflow run."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from flts.contracts import TrainedModel
from flts.errors import BadInputError
from flts.models import baselines, bundle
from flts.models.config import BundleConfig
from flts.models.ensemble.bundling import MemberBundle, check_alike, intervals_of_mean, save_ensemble
from flts.models.intervals import Intervals
from flts.models.registry import ENSEMBLE
from flts.params import EvalParams
from flts.report.data import TrainingReport
from flts.report.pages import training_page
from flts.stage_interface import Context
from flts.stages.evaluation.candidates import Candidate, read_metrics
from flts.stages.evaluation.ensemble import EnsembleProposal
from flts.stages.evaluation.training_data import CandidatesData
from flts.stages.inputs import fetch_selected
from flts.stages.publishing.content import dataset_source, run_files
from flts.stages.publishing.publication import Publication, TrainingOutcome
from flts.stages.publishing.run import TrainingRun
from flts.stages.publishing.spec import TrainingSpec
from flts.stages.selection import SELECTION_FILE, SelectionForecasts
from flts.timeseries.baseline import Baseline
from flts.timeseries.metrics import Scores, one_step_naive_mae, score
from flts.tracking import Tracking

BUNDLE_DIR = "bundle"
_KINDS, _WITHOUT_UNIT = ("rmse", "mae", "mse"), ("mase", "smape", "nrmse")


@dataclass(frozen=True)
class MadeEnsemble:
    """An ensemble that was made: the candidate with its run, and the files of a run without MLflow."""

    candidate: Candidate
    files: Mapping[str, Path]


@dataclass(frozen=True)
class _Bundled:
    """The bundle of an ensemble."""

    folder: Path
    config: BundleConfig
    coverage: float


def make_ensemble(
    params: EvalParams, proposal: EnsembleProposal, data: CandidatesData, context: Context
) -> MadeEnsemble:
    """Bundle an ensemble and publish it, once for the same members; without MLflow it goes to the stage's outputs.

    Raises:
        ChecksumMismatchError: The bundle of a member is damaged; the sentence names it.
        BadInputError: The bundle of a member is missing, or the members differ in data, targets or windows.
        ServiceUnavailableError: Store or MLflow are out of reach.
    """
    members = [_member(member, context) for member in proposal.members]
    check_alike(members)
    spec = _spec(proposal, members, params.identifier)
    if context.tracking_uri is None:
        return _without_mlflow(spec, proposal, members, data, context)
    tracking = Tracking(context.tracking_uri, wait_seconds=context.wait_seconds)
    run = TrainingRun(spec, tracking, context.store, params.promotion_bucket, context.output_dir)
    outcome = run.begin(proposal.candidate.message.train_start)
    if outcome is None:
        with run.attempt():
            publication = run.kept_publication(context.work_dir)
            if publication is None:
                bundled = _bundle(proposal, members, data, context.work_dir / BUNDLE_DIR)
                publication = _publication(run.run_id, spec, proposal, bundled, data)
            outcome = run.publish(publication, context.work_dir, lambda _: None)
    return MadeEnsemble(_made(proposal, outcome.message, outcome.metrics), {})


def _member(member: Candidate, context: Context) -> MemberBundle:
    """Fetch and verify the bundle of a member; none of its model is loaded."""
    message = member.message
    folder = fetch_selected(
        message, context.tracking_uri, context.work_dir / "members" / member.name, wait_seconds=context.wait_seconds
    )
    found = MemberBundle.verified(folder, message.run_id, message.bundle_sha256)
    for name in ("model_type", "config_hash"):
        if getattr(found.config, name) != getattr(message, name):
            raise BadInputError(f"the bundle of {member.name} has {name} {getattr(found.config, name)}")
    return found


def _spec(proposal: EnsembleProposal, members: list[MemberBundle], identifier: str) -> TrainingSpec:
    """Return the identity of an ensemble: its members, each with its run and digest."""
    parameters: dict[str, object] = {}
    for candidate, member in zip(proposal.members, members, strict=True):
        slot = candidate.name.lower()
        parameters |= {f"{slot}_run_id": member.run_id, f"{slot}_bundle_sha256": bundle.digest(member.folder)}
    return TrainingSpec(
        model_type=ENSEMBLE.model_type,
        identifier=identifier,
        config_hash=proposal.candidate.message.config_hash,
        experiment_name=proposal.candidate.experiment,
        parameters={"members": ", ".join(member.name for member in proposal.members), **parameters},
    )


def _bundle(proposal: EnsembleProposal, members: list[MemberBundle], data: CandidatesData, folder: Path) -> _Bundled:
    """Write the bundle; without intervals where no member has them, or a target was not measured."""
    processed, series = data.processed, proposal.forecasts
    level = next((one.config.intervals.level for one in members if one.config.intervals), None)
    intervals, coverage = None, math.nan
    if level is not None and (~np.isnan(processed.actual_matrix()[series.origins])).any(axis=0).all():
        measured = Intervals.of_one_step(processed, series.predicted, series.origins, level)
        intervals = intervals_of_mean(measured, members)
        coverage = intervals.coverage(processed, series.predicted, series.origins)
    return _Bundled(folder, save_ensemble(folder, members, intervals), coverage)


def _without_mlflow(
    spec: TrainingSpec, proposal: EnsembleProposal, members: list[MemberBundle], data: CandidatesData, context: Context
) -> MadeEnsemble:
    """Name the run after the bundle, which goes next to the promotion."""
    if context.output_dir is None:
        raise BadInputError("mlflow_tracking_uri is missing: it says where the model is kept")
    bundled = _bundle(proposal, members, data, context.work_dir / BUNDLE_DIR)
    message = _finished(spec.message(bundle.digest(bundled.folder)[:32], ""), proposal, bundled).model_copy(
        update={"model_uri": str(context.output_dir.resolve() / BUNDLE_DIR), "artifact_uri": BUNDLE_DIR}
    )
    scored = context.work_dir / SELECTION_FILE
    scored.write_text(_selection(proposal, data).to_json(), encoding="utf-8")
    files = {BUNDLE_DIR: bundled.folder, SELECTION_FILE: scored}
    return MadeEnsemble(_made(proposal, message, _metrics(proposal, bundled, data)), files)


def _made(proposal: EnsembleProposal, message: TrainedModel, metrics: Mapping[str, float]) -> Candidate:
    return replace(proposal.candidate, message=message, coverage=metrics.get("interval_coverage"))


def _finished(message: TrainedModel, proposal: EnsembleProposal, bundled: _Bundled) -> TrainedModel:
    """Complete the message of an ensemble."""
    planned = proposal.candidate.message
    copied = ("test_rmse", "test_mae", "test_mse", "train_start", "train_end")
    return message.model_copy(
        update={
            "status": "SUCCESS",
            "bundle_sha256": bundle.digest(bundled.folder),
            "trained_until": bundled.config.trained_until,
            **{name: getattr(planned, name) for name in copied},
        }
    )


def _publication(
    run_id: str, spec: TrainingSpec, proposal: EnsembleProposal, bundled: _Bundled, data: CandidatesData
) -> Publication:
    message = _finished(spec.message(run_id, ""), proposal, bundled)
    metrics = _metrics(proposal, bundled, data)
    report = _report(message, spec, proposal, metrics, data)
    return Publication(
        outcome=TrainingOutcome(message, metrics, training_page(report)),
        bundle=bundled.folder,
        params=spec.parameters,
        series=[],
        dataset=dataset_source(data.artifact, data.path, data.processed),
        files=run_files(data.processed, report) | {SELECTION_FILE: _selection(proposal, data).to_json()},
    )


def _selection(proposal: EnsembleProposal, data: CandidatesData) -> SelectionForecasts:
    return SelectionForecasts.of(data.processed, proposal.forecasts.origins, proposal.forecasts.predicted)


def _metrics(proposal: EnsembleProposal, bundled: _Bundled, data: CandidatesData) -> dict[str, float]:
    """Return every finite figure by its name in a trainer's metrics; those of the baselines are the members'."""
    scores, original = proposal.candidate.scores, _original(proposal, data)
    own = {f"test_{kind}": getattr(scores, kind) for kind in (*_KINDS, *_WITHOUT_UNIT)}
    own |= {f"test_{kind}_original": getattr(original, kind) for kind in _KINDS}
    own |= {"composite_score": scores.composite, "scored_rows": float(len(proposal.forecasts.origins))}
    known = read_metrics(proposal.candidate.metrics_path)
    prefixes = tuple(f"{baseline}_" for baseline in Baseline)
    metrics = {name: value for name, value in known.items() if name.startswith(prefixes)} | own
    metrics["interval_coverage"] = bundled.coverage
    return {name: value for name, value in metrics.items() if isinstance(value, int | float) and math.isfinite(value)}


def _original(proposal: EnsembleProposal, data: CandidatesData) -> Scores:
    series, naive_mae = proposal.forecasts, one_step_naive_mae(data.processed)
    return score(data.processed.actual_matrix()[series.origins], series.predicted, naive_mae=naive_mae)


def _report(
    message: TrainedModel,
    spec: TrainingSpec,
    proposal: EnsembleProposal,
    metrics: Mapping[str, float],
    data: CandidatesData,
) -> TrainingReport:
    processed, series, candidate = data.processed, proposal.forecasts, proposal.candidate
    of_baselines = {
        name: Scores(
            *(metrics.get(f"{name}_test_{kind}_original", math.nan) for kind in _KINDS),
            *(metrics.get(f"{name}_test_{kind}", math.nan) for kind in _WITHOUT_UNIT),
        )
        for name in candidate.baselines
    }
    return TrainingReport(
        model_type=message.model_type,
        identifier=message.identifier,
        run_id=message.run_id,
        config_hash=message.config_hash,
        parameters=spec.parameters,
        targets=processed.targets,
        time=processed.frame.time[series.origins],
        actual=processed.actual_matrix()[series.origins],
        predicted=series.predicted,
        persistence=baselines.persistence(processed, series.origins),
        scores={message.model_type: candidate.scores, **candidate.baselines},
        original_scores={message.model_type: _original(proposal, data), **of_baselines},
        remark=ENSEMBLE.remark,
    )
