"""The last scores of a target, in order of size, and the ranks at which conformal prediction reads them."""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable, Sequence
from math import ceil, floor, isnan

import numpy as np

from flts.models.config import RECENT_SCORES

# Where a rank is a whole number but for rounding.
_ROUNDING = 1e-9


class RecentScores:
    """The last ``RECENT_SCORES`` scores: a new one replaces the oldest."""

    def __init__(self, before: Iterable[float]) -> None:
        """Begin with earlier scores, in order of time; the last of them count."""
        self._window = deque(before, maxlen=RECENT_SCORES)
        self.ordered = sorted(self._window)

    def push(self, score: float) -> None:
        """Add a score; NaN is none."""
        if isnan(score):
            return
        if len(self._window) == RECENT_SCORES:
            del self.ordered[bisect_left(self.ordered, self._window[0])]
        self._window.append(score)
        insort(self.ordered, score)


def of_sorted(ordered: Sequence[float], level: float) -> float:
    """Return the score that a new one does not exceed with probability ``level``; NaN without scores.

    Of n scores it is the ``ceil((n + 1) level)``-th smallest; the largest where there are too few.
    """
    return ordered[upper_rank(len(ordered), level) - 1] if ordered else np.nan


def upper_rank(count: int, level: float) -> int:
    """Return the rank, from 1, of the score of ``count`` that a new one does not exceed with probability ``level``."""
    return min(count, ceil((count + 1) * level - _ROUNDING))


def signed_quantiles(ordered: Sequence[float], levels: Sequence[float]) -> list[float]:
    """Return the quantiles of signed scores, corrected for their number; NaN without scores.

    Of n scores they are the ``ceil((n + 1) q)``-th above the median, and the ``floor((n + 1) q)``-th below it, so that
    both ends of an interval keep what they promise (Romano et al. (2019), Conformalized quantile regression, with the
    two sides apart); the outermost where there are too few.
    """
    count = len(ordered)
    if not count:
        return [np.nan] * len(levels)
    return [(ordered[_lower(count, level)] + ordered[_upper(count, level)]) / 2 for level in levels]


def _lower(count: int, level: float) -> int:
    """Return the index of the score at or below a quantile; that above it for one above the median."""
    return _upper(count, level) if level > 0.5 else max(0, floor((count + 1) * level + _ROUNDING) - 1)


def _upper(count: int, level: float) -> int:
    return _lower(count, level) if level < 0.5 else upper_rank(count, level) - 1
