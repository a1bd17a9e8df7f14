import pytest

from flts.boundary.environment import threads, whole_number
from flts.errors import BadInputError


@pytest.mark.parametrize(("text", "expected"), [(None, 1), ("", 1), ("2", 2), ("16", 16)])
def test_one_thread_computes_unless_told_otherwise(text, expected, monkeypatch):
    monkeypatch.delenv("FLTS_THREADS", raising=False)
    if text is not None:
        monkeypatch.setenv("FLTS_THREADS", text)
    assert threads() == expected


@pytest.mark.parametrize("text", ["2", "-1", "three", "3.5", "٣", " 3", "9" * 79])
def test_what_is_not_a_whole_number_is_refused(text, monkeypatch):
    monkeypatch.setenv("ROOMS", text)
    with pytest.raises(BadInputError, match=f"^environment variable ROOMS must .* at least 3, got {text!r}$"):
        whole_number("ROOMS", default=5, minimum=3)


def test_the_least_is_enough(monkeypatch):
    monkeypatch.setenv("ROOMS", "3")
    assert whole_number("ROOMS", default=5, minimum=3) == 3


@pytest.mark.parametrize("text", ["0", "1025", "99999999999", "9" * 5000])
def test_more_threads_than_any_machine_has_are_refused(text, monkeypatch):
    monkeypatch.setenv("FLTS_THREADS", text)
    with pytest.raises(BadInputError, match=rf"FLTS_THREADS must be a whole number from 1 to 1024, got '{text[:80]}'$"):
        threads()
