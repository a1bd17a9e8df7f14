"""Promotions: the history of decisions, and the pointers to the model in production.

History objects are written once and never change. Pointers move by compare-and-swap, and only to a later
``promotion_time``: any number of evaluations at once, in any order, end at the latest one that passed its gate.
"""

from flts.promotion.gates import Requirement, failed_requirements, requires_baselines, requires_champion
from flts.promotion.history import HistoryEntry, choose, entries, is_superseded
from flts.promotion.keys import GLOBAL, history_key, owner, pointer_keys, production_key
from flts.promotion.pointers import Pointer, read_pointer
from flts.promotion.promoting import Promoted, promote
from flts.promotion.rollback import roll_back, rollback_target

__all__ = [
    "GLOBAL",
    "HistoryEntry",
    "Pointer",
    "Promoted",
    "Requirement",
    "choose",
    "entries",
    "failed_requirements",
    "history_key",
    "is_superseded",
    "owner",
    "pointer_keys",
    "production_key",
    "promote",
    "read_pointer",
    "requires_baselines",
    "requires_champion",
    "roll_back",
    "rollback_target",
]
