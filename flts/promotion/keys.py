"""Keys of promotions and pointers in their bucket."""

import hashlib
from collections.abc import Sequence

from flts.contracts import Promotion

GLOBAL = "global"


def owner(identifier: str) -> str:
    """Return the first part of a run's keys: its identifier, or ``global`` if it has none."""
    return identifier or GLOBAL


def history_key(promotion: Promotion, run_ids: Sequence[str]) -> str:
    """Return the key of a promotion in the history.

    Args:
        promotion: The promotion.
        run_ids: The runs of all candidates; the same candidates give the same key.
    """
    digest = hashlib.sha256("\n".join(sorted(run_ids)).encode()).hexdigest()[:12]
    folder = f"{owner(promotion.identifier)}/{promotion.config_hash}"
    return f"{folder}/promotion-{promotion.promotion_time}-{digest}.json"


def pointer_keys(identifier: str, config_hash: str) -> tuple[str, str, str]:
    """Return the keys of the pointers that a promotion moves, the most specific first."""
    return f"{owner(identifier)}/{config_hash}/current.json", production_key(owner(identifier)), "current.json"


def production_key(name: str) -> str:
    """Return the key of the pointer to an owner's champion, the model in production."""
    return f"{name}/current.json"
