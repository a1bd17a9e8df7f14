"""Lists of quantiles that people ask for, and the text that names a quantile in answers."""

from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise

from flts.diagnostics.validation import shown

MOST_QUANTILES = 99
_NUMBERS = "numbers between 0 and 1, such as 0.05,0.5,0.95"


def parse_quantiles(asked: object) -> tuple[float, ...]:
    """Return the quantiles of a text, separated by commas, or of a list of numbers, in ascending order.

    Empty text, an empty list and ``None`` ask for none.

    Raises:
        ValueError: They are no quantiles. The text completes a sentence that begins with their name: ``must be ..``.
    """
    if asked is None or asked == "":
        return ()
    parts: Sequence[object] = (
        asked.split(",") if isinstance(asked, str) else asked if isinstance(asked, list | tuple) else [asked]
    )
    if len(parts) > MOST_QUANTILES:
        raise ValueError(f"must be at most {MOST_QUANTILES} numbers, got {len(parts)}")
    quantiles = sorted(map(_quantile, parts))
    for before, after in pairwise(quantiles):
        if before == after:
            raise ValueError(f"must not name {quantile_text(after)} twice")
    return tuple(quantiles)


def quantile_text(quantile: float) -> str:
    """Return the shortest decimal number that is the quantile, without an exponent."""
    return format(Decimal(repr(quantile)), "f")


def quantiles_text(quantiles: Sequence[float]) -> str:
    """Return quantiles as text, separated by commas: what ``parse_quantiles`` reads."""
    return ",".join(map(quantile_text, quantiles))


def _quantile(part: object) -> float:
    number = None
    if isinstance(part, str | int | float) and not isinstance(part, bool):
        try:
            number = float(part)
        except (ValueError, OverflowError):
            number = None
    if number is None or not 0 < number < 1:
        raise ValueError(f"must be {_NUMBERS}, not {shown(part, quoted=True)}")
    return number
