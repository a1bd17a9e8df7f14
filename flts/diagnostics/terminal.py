"""Text from outside, such as a column's name or another program's message, made fit for a terminal."""

import re

# Control characters (C0, delete, C1), line separators, marks that reorder what stands around them, and halves of
# characters, as which Python reads file names that are not UTF-8.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""Return text that prints on one line and does nothing else to a terminal: ``\x1b[31m`` for an escape sequence."""
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)
