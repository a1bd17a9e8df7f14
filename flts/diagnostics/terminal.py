"""Text from outside, such as a column name or a message of another program, made safe for a terminal."""

import re

# Control characters (C0, delete, C1), line separators, marks that reorder the text around them, and surrogates, which
# Python uses for bytes of file names that are not UTF-8.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""Return text that only prints, on one line: ``\x1b[31m`` in the place of an escape sequence."""
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)
