"""Text from outside on a terminal."""

import pytest

from flts.diagnostics.terminal import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("one\r\ntwo\tthree\x7f", r"one\r\ntwo\tthree\x7f"),
        ("\x9b2J", r"\x9b2J"),
        ("abc\u202edcb", r"abc\u202edcb"),
        ("two\u2028lines", r"two\u2028lines"),
        ("not UTF-8: \udcff", r"not UTF-8: \udcff"),
    ],
)
def test_what_a_terminal_would_act_on_is_escaped(text: str, shown: str):
    assert printable(text) == shown
    assert printable(text).isprintable()


@pytest.mark.parametrize("text", ["", "[temp] in °C\u00a0± 1", "température", "气温", "درجة الحرارة", "👩‍🚀 \\x1b"])
def test_what_people_write_stays(text: str):
    assert printable(text) == text
