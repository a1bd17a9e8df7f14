"""History of promotions: one object per decision, written once."""

import re
from dataclasses import dataclass

from flts.contracts import Promotion, parse_timestamp
from flts.errors import BadInputError
from flts.promotion.gates import requires_champion
from flts.store import ObjectStore
from flts.store.parallel import map_in_order
from flts.store.swap import get_or_none, put_once

_KEY = re.compile(r"([^/]+)/([^/]+)/promotion-(.+)-([0-9a-f]{12})\.json")
_READ_AHEAD = 8


@dataclass(frozen=True)
class HistoryEntry:
    """A decision in the history.

    Attributes:
        key: Key of its object.
        owner: Identifier of its runs, or ``global``.
        config_hash: Configuration of its data, from the key.
        time: ``promotion_time``, from the key.
        id: Its id for people, 12 hex digits.
        promotion: The decision; ``None`` when the object cannot be read.
        problem: Why it cannot be read, one sentence.
    """

    key: str
    owner: str
    config_hash: str
    time: str
    id: str
    promotion: Promotion | None
    problem: str = ""

    @property
    def promoted(self) -> bool:
        """True for a decision to put a model into production."""
        return self.promotion is not None and not self.promotion.held

    @property
    def run_id(self) -> str:
        """MLflow run of its model."""
        return self.promotion.run_id if self.promotion else ""


def find(store: ObjectStore, bucket: str, key: str) -> Promotion | None:
    """Read a decision; ``None`` when there is none, ``BadInputError`` when it cannot be read."""
    found = get_or_none(store, bucket, key)
    return Promotion.parse(found[0], source=f"{bucket}/{key}") if found else None


def record(store: ObjectStore, bucket: str, key: str, promotion: Promotion) -> tuple[Promotion, bool]:
    """Write a decision unless there is one; return the decision in the history, and whether it existed."""
    content, existed = put_once(store, bucket, key, promotion.to_json().encode())
    return (Promotion.parse(content, source=f"{bucket}/{key}") if existed else promotion), existed


def entries(store: ObjectStore, bucket: str, name: str = "", *, latest: int | None = None) -> list[HistoryEntry]:
    """Return the decisions of an owner, or of all owners, in order of time; with ``latest``, only that many."""
    keys = (info.key for info in store.list(bucket, f"{name}/" if name else ""))
    matched = [match for key in keys if (match := _KEY.fullmatch(key))]
    if latest is not None:
        matched = sorted(matched, key=lambda match: (match[3], match[0]))[-latest:]
    found = map_in_order(lambda match: _entry(store, bucket, match), matched, _READ_AHEAD)
    return sorted(found, key=lambda entry: (entry.time, entry.key))


def choose(found: list[HistoryEntry], prefix: str) -> HistoryEntry:
    """Return the only decision whose id begins with ``prefix``.

    Raises:
        BadInputError: There is none, or more than one.
    """
    matching = [entry for entry in found if entry.id.startswith(prefix)]
    if not matching:
        raise BadInputError(f"the history has no promotion {prefix!r}: the command list shows the ids")
    if len(matching) > 1:
        raise BadInputError(f"{len(matching)} promotions begin with {prefix!r}: {', '.join(e.key for e in matching)}")
    return matching[0]


def is_superseded(entry: HistoryEntry, found: list[HistoryEntry]) -> bool:
    """Return whether another promotion in ``found`` replaced the champion that this one had been compared with.

    The gate was then evaluated again, against the new champion, and held it.
    """
    promotion = entry.promotion
    if promotion is None or promotion.held or not promotion.gate or not requires_champion(promotion.gate):
        return False
    return any(other.promoted and (promotion.champion_time or "") < other.time < entry.time for other in found)


def _entry(store: ObjectStore, bucket: str, match: "re.Match[str]") -> HistoryEntry:
    name, config_hash, time, digest = match.groups()
    promotion, problem = None, ""
    try:
        parse_timestamp(time)
        promotion = find(store, bucket, match[0])
    except BadInputError as error:
        problem = str(error)
    except ValueError:
        problem = f"{bucket}/{match[0]} names {time!r}, which is not a time"
    return HistoryEntry(match[0], name, config_hash, time, digest, promotion, problem)
