"""Numbers, times and durations as people read them; plain text, no markup."""

import math

import numpy as np

GROUP = "\u202f"  # narrow no-break space: thousands stay together and are never taken for a decimal sign
MINUS = "\u2212"
UNKNOWN = "\u2013"
_SUPERSCRIPTS = str.maketrans("-0123456789", "\u207b\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079")


def number(value: float | None, digits: int = 4) -> str:
    """Format with ``digits`` significant digits, whole numbers in full; a dash for NaN and ``None``."""
    if value is None or math.isnan(value):
        return UNKNOWN
    if math.isinf(value):
        return "\u221e" if value > 0 else f"{MINUS}\u221e"
    if value == 0:
        return "0"
    exponent = int(f"{value:.{digits - 1}e}".split("e")[1])  # of the rounded value: 9.9999 has that of 10
    if exponent < -4 or exponent >= 12:
        return scientific(value, digits - 1)
    decimals = 0 if float(value).is_integer() else max(0, digits - 1 - exponent)
    return fixed(value, decimals)


def fixed(value: float, decimals: int) -> str:
    """Format with a fixed number of decimals, grouped thousands and a real minus sign."""
    text = f"{value:,.{decimals}f}".replace(",", GROUP)
    negative = text.startswith("-")
    text = text.lstrip("-")
    return MINUS + text if negative and text.strip("0.") else text


def scientific(value: float, decimals: int) -> str:
    """Format as mantissa and power of ten, the exponent raised."""
    mantissa, exponent = f"{value:.{decimals}e}".split("e")
    return f"{mantissa.replace('-', MINUS)}\u00d710{str(int(exponent)).translate(_SUPERSCRIPTS)}"


def percent(share: float, decimals: int = 1) -> str:
    """Format a share as a percentage; one that is not zero never reads as zero."""
    if math.isnan(share):
        return UNKNOWN
    smallest = 10.0**-decimals
    if 0 < share * 100 < smallest:
        return f"<{fixed(smallest, decimals)}{GROUP}%"
    return f"{fixed(share * 100, decimals)}{GROUP}%"


def signed_percent(share: float) -> str:
    """Format a change as a percentage that always carries its sign."""
    text = percent(abs(share))
    if text == UNKNOWN or text == percent(0.0):
        return text
    return f"{'+' if share > 0 else MINUS}{text}"


def moment(time: np.datetime64) -> str:
    """Format a time to the minute, or finer where it is finer."""
    if np.isnat(time):
        return UNKNOWN
    text = str(time.astype("datetime64[us]")).replace("T", " ")
    for zeros in (".000000", ":00"):
        text = text.removesuffix(zeros)
    return text


def duration(seconds: float) -> str:
    """Format a duration in its two largest units: ``22 d 3 h``, ``2 min``, ``0.4 s``."""
    if not math.isfinite(seconds):
        return UNKNOWN
    if seconds < 60:
        return f"{number(seconds, 2 if seconds < 10 else 3)}{GROUP}s"
    rest = round(seconds)
    parts: list[str] = []
    for unit, width in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, rest = divmod(rest, width)
        if count or parts:
            parts.append(f"{fixed(count, 0)}{GROUP}{unit}" if count else "")
        if len(parts) == 2:
            break
    return " ".join(part for part in parts if part)


def plural(count: int, noun: str, nouns: str = "") -> str:
    """Return ``1 row`` or ``2 rows``; ``nouns`` is the plural where it is irregular."""
    return f"{fixed(count, 0)} {noun if count == 1 else nouns or noun + 's'}"


def sentence(text: str) -> str:
    """Return the text with a full stop; its first letter stays, because it may begin with a file or column name."""
    return text if text.endswith((".", "!", "?")) else f"{text}."
