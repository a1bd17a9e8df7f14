"""Rollback: promotion of an earlier model by a person, with a reason."""

from datetime import UTC, datetime, timedelta

from flts.contracts import Promotion, utc_timestamp
from flts.errors import BadInputError
from flts.promotion.history import HistoryEntry, choose, entries, is_superseded
from flts.promotion.keys import owner, pointer_keys, production_key
from flts.promotion.pointers import read_pointer
from flts.promotion.promoting import Promoted, promote
from flts.store import ObjectStore


def rollback_target(store: ObjectStore, bucket: str, name: str, id_prefix: str = "") -> HistoryEntry:
    """Return the decision whose model a rollback promotes.

    Args:
        store: The store of promotions.
        bucket: The bucket of promotions.
        name: Owner of the pointer: an identifier, or ``global``.
        id_prefix: Beginning of the decision's id, which may be a held one; default: the model in production before.

    Raises:
        BadInputError: There is no such decision, it cannot be read, or no model was in production before.
    """
    target = choose(entries(store, bucket, name), id_prefix) if id_prefix else _previous(store, bucket, name)
    if target.promotion is None:
        raise BadInputError(target.problem)
    return target


def roll_back(store: ObjectStore, bucket: str, promotion: Promotion, *, by: str, why: str) -> Promoted:
    """Promote a model of the history again; servers load it, because it is the latest promotion.

    Args:
        store: The store of promotions.
        bucket: The bucket of promotions.
        promotion: The earlier promotion.
        by: Name of the person.
        why: The reason, for the history.

    Raises:
        BadInputError: Another process made a later promotion.
        ServiceUnavailableError: Another process moved a pointer during every attempt.
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
    # A model may be the target of several rollbacks: the time makes each id unique.
    run_ids = [promotion.run_id, moment]
    promoted = promote(store, promotion.model_copy(update=update), run_ids, bucket)
    if production in promoted.newer_pointers:
        raise BadInputError(f"{bucket}/{production} was moved to a later promotion in the meantime: roll back again")
    return promoted


def _previous(store: ObjectStore, bucket: str, name: str) -> HistoryEntry:
    """Return the promotion before the current one, with another model.

    After a rollback it is the one before the model that was rolled back to, not the model that was replaced.
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
