"""Promotion of a model: write the decision to the history, then move the pointers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from flts.contracts import Promotion
from flts.promotion import history, pointers
from flts.promotion.keys import history_key, owner, pointer_keys, production_key
from flts.promotion.pointers import Move, Pointer
from flts.store import ObjectStore

Decide = Callable[[Pointer | None], Promotion]


@dataclass(frozen=True)
class Promoted:
    """Result of a promotion.

    Attributes:
        promotion: The decision in the history; that of the first run when this is a repeat. Also held when another
            promotion was faster and the winner does not beat that one.
        history_key: Key of the decision.
        repeated: Whether the decision was in the history already.
        newer_pointers: Keys of the pointers that stay, because they name a later promotion.
        champion: The model in production when the winner is held; ``None`` when there is none.
    """

    promotion: Promotion
    history_key: str
    repeated: bool
    newer_pointers: tuple[str, ...] = ()
    champion: Promotion | None = None


def promote(
    store: ObjectStore, promotion: Promotion, run_ids: Sequence[str], bucket: str, decide: Decide | None = None
) -> Promoted:
    """Write a promotion to the history, then move the pointers that name an earlier one; a held one moves none.

    A repeat finds the history object, writes no second one, and moves the pointers that a killed run did not move.
    A gate's decision is valid for the champion that it was made against: when another promotion is faster, the gate
    decides again, so that no model replaces a champion that it was not compared with.

    Args:
        store: The store of promotions.
        promotion: The winner.
        run_ids: The runs of all candidates.
        bucket: The bucket of promotions.
        decide: Given the champion's pointer, returns the promotion, held or not; by default it is never held.

    Raises:
        BadInputError: The history object is damaged.
        ServiceUnavailableError: Another process moved a pointer during every attempt.
    """
    key, production = history_key(promotion, run_ids), production_key(owner(promotion.identifier))
    gate = _Gate(decide or (lambda _: promotion))
    decided = history.find(store, bucket, key)
    repeated = decided is not None
    if decided is None:
        champion = pointers.read_pointer(store, bucket, production)
        decided, repeated = history.record(store, bucket, key, gate.decide(champion))
    if decided.held:
        champion = pointers.read_pointer(store, bucket, production)
        return Promoted(decided, key, repeated, champion=champion.promotion if champion else None)
    move = pointers.advance(store, decided, bucket, production, gate.allows)
    if move is Move.REFUSED:
        return Promoted(gate.latest, key, repeated, champion=gate.champion)
    specific, _, latest = pointer_keys(decided.identifier, decided.config_hash)
    moves = {name: pointers.advance(store, decided, bucket, name) for name in (specific, latest)}
    moves = {specific: moves[specific], production: move, latest: moves[latest]}
    return Promoted(decided, key, repeated, tuple(name for name, how in moves.items() if how is Move.NEWER))


class _Gate:
    """Decisions by champion, so that the winner is compared with each champion once."""

    def __init__(self, decide: Decide) -> None:
        self._decide = decide
        self._decisions: dict[str | None, Promotion] = {}
        self.latest: Promotion
        self.champion: Promotion | None = None

    def decide(self, champion: Pointer | None) -> Promotion:
        etag = champion.etag if champion else None
        if etag not in self._decisions:
            self._decisions[etag] = self._decide(champion)
        self.latest, self.champion = self._decisions[etag], champion.promotion if champion else None
        return self.latest

    def allows(self, champion: Pointer | None) -> bool:
        return not self.decide(champion).held
