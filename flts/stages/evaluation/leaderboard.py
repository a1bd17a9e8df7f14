"""The leaderboard of the selection part, and what inference needs to make one of the test data."""

import os
from collections.abc import Sequence
from pathlib import Path

from flts.contracts import LeaderboardEntry, TrainedModel
from flts.stages.evaluation.candidates import Candidate
from flts.stages.inputs import is_path
from flts.timeseries.leaderboard import Competitor, rank_competitors


def selection_leaderboard(candidates: Sequence[Candidate], winner: Candidate) -> list[LeaderboardEntry]:
    """Rank the candidates and the baselines, as the winner's trainer scored them, on the selection part."""
    models = [Competitor(c.name, c.message.run_id, c.scores, c.scores.composite, c.rows) for c in candidates]
    baselines = [
        Competitor(name, None, scores, scores.composite, winner.rows) for name, scores in winner.baselines.items()
    ]
    return rank_competitors("selection", [*models, *baselines])


def candidate_messages(candidates: Sequence[Candidate], output_dir: Path | None) -> list[TrainedModel]:
    """Return the candidates' messages, with their paths relative to the folder that the promotion is written to."""
    fields = set(TrainedModel.model_fields)  # messages over Kafka carry metrics too
    messages = [TrainedModel.model_validate(one.message.model_dump(include=fields)) for one in candidates]
    return [one.model_copy(update={"model_uri": shared_uri(one.model_uri, output_dir)}) for one in messages]


def shared_uri(model_uri: str, output_dir: Path | None) -> str:
    """Return a model's address as the promotion names it: a path is relative to the promotion's folder, if known."""
    return os.path.relpath(model_uri, output_dir.resolve()) if is_path(model_uri) and output_dir else model_uri
