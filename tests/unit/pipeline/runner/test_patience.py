"""How the runner waits for a service that is away."""

import os
from collections.abc import Callable

import pytest

from flts.errors import BadInputError, RefusedError, ServiceUnavailableError
from pipeline.runner import patience
from pipeline.runner.patience import VARIABLE, patiently


class Clock:
    """A clock that only waiting moves on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(patience, "time", made)
    monkeypatch.delenv(VARIABLE, raising=False)
    return made


def away_until(clock: Clock, moment: float) -> Callable[[], str]:
    def ask() -> str:
        assert os.environ[VARIABLE] == "0", "the store and MLflow themselves are not to wait in silence"
        if clock.now < moment:
            raise ServiceUnavailableError("MLflow at http://x cannot be reached: connection refused")
        return "an answer"

    return ask


def test_what_answers_is_asked_once_in_silence(clock: Clock) -> None:
    said: list[str] = []

    assert patiently(away_until(clock, 0), said.append, default=180) == "an answer"

    assert said == []
    assert VARIABLE not in os.environ


def test_it_says_at_once_and_every_minute_what_it_waits_for(clock: Clock) -> None:
    told: list[tuple[float, str]] = []
    began = clock.now

    def say(line: str) -> None:
        told.append((clock.now - began, line))

    assert patiently(away_until(clock, clock.now + 150), say, default=180) == "an answer"

    (first, line), *later, (_, last) = told
    assert first == 0
    assert line == "waiting, for another 180 s at most: MLflow at http://x cannot be reached: connection refused"
    assert [round(moment / 60) for moment, _ in later] == [1, 2]
    assert last.startswith("it answers, after 15")


@pytest.mark.parametrize(("variable", "seconds"), [(None, 180), ("", 180), ("20", 20), ("0", 0)])
def test_it_gives_up_when_its_time_is_over(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, variable: str | None, seconds: int
) -> None:
    if variable is not None:
        monkeypatch.setenv(VARIABLE, variable)
    began = clock.now

    with pytest.raises(ServiceUnavailableError, match="connection refused"):
        patiently(away_until(clock, 1e9), lambda _: None, default=180)

    assert clock.now - began == seconds
    assert os.environ.get(VARIABLE) == variable


def test_what_waiting_cannot_mend_is_not_waited_for(clock: Clock) -> None:
    def refuse() -> None:
        raise RefusedError("refused the credentials")

    with pytest.raises(RefusedError):
        patiently(refuse, lambda _: None, default=180)


def test_a_patience_that_is_no_number_is_one_sentence(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "long")

    with pytest.raises(BadInputError, match="FLTS_PATIENCE_SECONDS must be a whole number"):
        patiently(away_until(clock, 0), lambda _: None, default=180)
