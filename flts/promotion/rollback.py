"""Rolling back: an earlier model is promoted again, by a person who says why."""

from datetime import UTC, datetime, timedelta

from flts.contracts import Promotion, utc_timestamp
from flts.errors import BadInputError
from flts.promotion.history import HistoryEntry, choose, entries, is_superseded
from flts.promotion.keys import owner, pointer_keys, production_key
from flts.promotion.pointers import read_pointer
from flts.promotion.promoting import Promoted, promote
from flts.store import ObjectStore


def rollback_target(store: ObjectStore, bucket: str, name: str, wanted: str = "") -> HistoryEntry:
    """Return the decision whose model a rollback promotes.

    Args:
        store: Where promotions are kept.
        bucket: The bucket of promotions.
        name: Owner of the pointer: an identifier, or ``global``.
        wanted: Its id, of a held one too; default: what was in production before.

    Raises:
        BadInputError: There is no such decision, it cannot be read, or nothing was in production before.
    """
    target = choose(entries(store, bucket, name), wanted) if wanted else _previous(store, bucket, name)
    if target.promotion is None:
        raise BadInputError(target.problem)
    return target


def roll_back(store: ObjectStore, bucket: str, promotion: Promotion, *, by: str, why: str) -> Promoted:
    """Promote a model of the history again; servers follow, because it is the latest promotion.

    Args:
        store: Where promotions are kept.
        bucket: The bucket of promotions.
        promotion: The earlier promotion.
        by: Who wants it.
        why: The reason, for the history.

    Raises:
        BadInputError: A later promotion came first.
        ServiceUnavailableError: A pointer kept changing under every attempt.
    """
    production = production_key(owner(promotion.identifier))
    moment = utc_timestamp(_later_than_pointers(store, bucket, promotion))
    update = {
        "promotion_time": moment,
        "timestamp": moment,
        "operation": "Rollback",
        "status": "PROMOTED",
        "reason": why,
        "by": by,
        "gate": None,
        "champion_run_id": None,
        "champion_time": None,
    }
    # A model may be rolled back to more than once: the moment makes the id its own.
    run_ids = [promotion.run_id, moment]
    promoted = promote(store, promotion.model_copy(update=update), run_ids, bucket)
    if production in promoted.newer_pointers:
        raise BadInputError(f"{bucket}/{production} was moved to a later promotion meanwhile: roll back again")
    return promoted


def _previous(store: ObjectStore, bucket: str, name: str) -> HistoryEntry:
    """Find what was in production before what is: with another model, and before that first came.

    After a rollback that is what came before the model rolled back to, not the model that was given up.
    """
    pointer = read_pointer(store, bucket, production_key(name))
    if pointer is None or pointer.promotion is None:
        raise BadInputError(f"nothing is in production for {name}: {bucket}/{production_key(name)} names no promotion")
    current = pointer.promotion
    found = entries(store, bucket, name)
    before = [e for e in found if e.promoted and e.time < current.promotion_time and not is_superseded(e, found)]
    if current.operation == "Rollback":
        origins = [position for position, entry in enumerate(before) if entry.run_id == current.run_id]
        before = before[: origins[-1]] if origins else before
    others = [entry for entry in before if entry.run_id != current.run_id]
    if not others:
        raise BadInputError(f"nothing was in production for {name} before run {current.run_id}")
    return others[-1]


def _later_than_pointers(store: ObjectStore, bucket: str, promotion: Promotion) -> datetime:
    keys = pointer_keys(promotion.identifier, promotion.config_hash)
    times = [pointer.time for key in keys if (pointer := read_pointer(store, bucket, key))]
    return max([datetime.now(UTC), *(moment + timedelta(microseconds=1) for moment in times)])
