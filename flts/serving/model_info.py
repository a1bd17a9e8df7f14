"""Contents of ``/model``: the model being served, its scores, recent values and promotions."""

import json
import math
from collections.abc import Sequence
from typing import Any

from flts.models.history import measured_columns, rows_needed
from flts.promotion import HistoryEntry
from flts.serving.loading import LoadedModel
from flts.serving.model_watcher import ModelBackground
from flts.serving.protocols.predict import MAX_STEPS
from flts.timeseries.baseline import Baseline
from flts.timeseries.frame import TIME_COLUMN

_RECENT_ROWS = 500


def describe(loaded: LoadedModel, background: ModelBackground | None, *, problem: str, notice: str) -> dict[str, Any]:
    """Return the document.

    Args:
        loaded: The model being served.
        background: Baseline scores and promotions, once they have been read.
        problem: Reason why the latest promotion is not being served; empty while it is.
        notice: Possible misconfiguration of the server; empty if there is none.
    """
    promotion, config = loaded.promotion, loaded.bundle.config
    baselines = background.scores.baselines if background else {}
    return {
        **loaded.identity,
        "model_uri": promotion.model_uri,
        "loaded_at": loaded.loaded_at,
        "dataset_name": _dataset_name(config.preprocess_config),
        "targets": list(config.targets),
        "columns": measured_columns(config),
        "index_col": TIME_COLUMN,
        "sampling_seconds": config.sampling_seconds,
        "input_seq_len": config.input_seq_len,
        "output_seq_len": config.output_seq_len,
        "rows_needed": rows_needed(config),
        "max_inference_length": MAX_STEPS,
        "interval_level": loaded.bundle.intervals.level if loaded.bundle.intervals else None,
        "scores": {
            "rmse": promotion.test_rmse,
            "mae": promotion.test_mae,
            **{f"{name}_rmse": baselines.get(name) for name in Baseline},
        },
        "recent": _recent(loaded),
        "promotions": [_promotion(entry, loaded) for entry in _readable(background)],
        "problem": problem or None,
        "notice": notice or None,
    }


def _dataset_name(preprocess_config: str) -> str:
    try:
        return str(json.loads(preprocess_config).get("dataset_name", ""))
    except (ValueError, AttributeError):  # a model trained on a file from elsewhere has no such configuration
        return ""


def _recent(loaded: LoadedModel) -> dict[str, Any] | None:
    if loaded.stored is None:
        return None
    data = loaded.stored.data
    measured = {name: data.actual[name][-_RECENT_ROWS:] for name in data.targets}
    return {
        "ts": [f"{moment.isoformat()}Z" for moment in data.frame.time[-_RECENT_ROWS:].tolist()],
        "columns": {
            name: [None if math.isnan(value) else value for value in each.tolist()] for name, each in measured.items()
        },
    }


def _readable(background: ModelBackground | None) -> Sequence[HistoryEntry]:
    return [entry for entry in background.promotions if entry.promotion] if background else []


def _promotion(entry: HistoryEntry, loaded: LoadedModel) -> dict[str, Any]:
    promotion = entry.promotion
    assert promotion is not None  # noqa: S101 - unreadable entries are left out above
    served = loaded.promotion
    return {
        "promotion_time": promotion.promotion_time,
        "model_type": promotion.model_type,
        "run_id": promotion.run_id,
        "config_hash": promotion.config_hash,
        "operation": promotion.operation or "Promotion",
        "status": promotion.status or "PROMOTED",
        "reason": promotion.reason or "",
        "test_rmse": promotion.test_rmse,
        "composite_score": promotion.composite_score,
        "current": (promotion.run_id, promotion.promotion_time) == (served.run_id, served.promotion_time),
    }
