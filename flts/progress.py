"""Progress reports."""

from typing import Protocol


class Progress(Protocol):
    """Callback for progress: ``fraction`` in [0, 1], or ``None`` if unknown, and a short text."""

    def __call__(self, fraction: float | None, message: str) -> None:
        """Report progress."""
        ...


def no_progress(fraction: float | None, message: str) -> None:
    """Ignore progress; the default for callers that do not show any."""


def part_of(progress: Progress, start: float, stop: float) -> Progress:
    """Return a callback that maps [0, 1] to the range from ``start`` to ``stop`` of another callback."""

    def report(fraction: float | None, message: str) -> None:
        progress(None if fraction is None else start + fraction * (stop - start), message)

    return report
