"""Tables of the history of promotions for a terminal."""

import sys

from rich.console import Console
from rich.table import Table
from rich.text import Text

from flts.promotion import HistoryEntry, is_superseded

_PIPED_WIDTH = 2000  # one decision, one line


def print_history(found: list[HistoryEntry], current: set[str]) -> None:
    """Print one line per decision, the latest first; ``current`` has the keys of those in production."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("ID", "Time", "Identifier", "Model"):
        table.add_column(name, no_wrap=True)
    for name in ("Score", "RMSE", "Coverage"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("Decision", no_wrap=True)
    table.add_column("Reason")
    for entry in reversed(found):
        table.add_row(*map(Text, _cells(entry, found, in_production=entry.key in current)))
    _console().print(table)


def print_entry(entry: HistoryEntry, *, in_production: bool) -> None:
    """Print all fields of a decision."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    rows: dict[str, object] = {"id": entry.id, "key": entry.key, "in production": "yes" if in_production else "no"}
    rows |= entry.promotion.metadata() if entry.promotion else {}
    for name, value in rows.items():
        table.add_row(Text(name), Text(str(value)))
    _console().print(table)


def _cells(entry: HistoryEntry, found: list[HistoryEntry], *, in_production: bool) -> list[str]:
    promotion = entry.promotion
    when = entry.time.replace("T", " ").split(".")[0]
    if promotion is None:
        return [entry.id, when, entry.owner, "", "", "", "", "unreadable", entry.problem]
    coverage = promotion.interval_coverage
    reason = promotion.reason or ""
    return [
        entry.id,
        when,
        entry.owner,
        promotion.model_type,
        f"{promotion.composite_score:.4g}",
        f"{promotion.test_rmse:.4g}",
        "" if coverage is None else f"{coverage:.1%}",
        _decision(entry, found, in_production=in_production),
        f"{reason} ({promotion.by})" if promotion.by else reason,
    ]


def _decision(entry: HistoryEntry, found: list[HistoryEntry], *, in_production: bool) -> str:
    promotion = entry.promotion
    if promotion is not None and promotion.held:
        return "held"
    decided = "rolled back" if promotion is not None and promotion.operation == "Rollback" else "promoted"
    if in_production:
        return f"{decided}, in production"
    return f"{decided}, superseded" if is_superseded(entry, found) else decided


def _console() -> Console:
    return Console(highlight=False, width=None if sys.stdout.isatty() else _PIPED_WIDTH)
