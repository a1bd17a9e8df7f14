"""How work tells how far it is."""

from typing import Protocol


class Progress(Protocol):
    """Reports how far a stage is: ``fraction`` in [0, 1] or ``None`` when unknown, and a short text."""

    def __call__(self, fraction: float | None, message: str) -> None:
        """Report progress."""
        ...


def no_progress(fraction: float | None, message: str) -> None:
    """Ignore progress: the default for callers that show none."""


def part_of(progress: Progress, start: float, stop: float) -> Progress:
    """Return a progress that fills the span from ``start`` to ``stop`` of another."""

    def report(fraction: float | None, message: str) -> None:
        progress(None if fraction is None else start + fraction * (stop - start), message)

    return report
