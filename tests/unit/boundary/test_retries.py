"""How long a stage waits for a service that is away, and what it says meanwhile."""

import itertools

import pytest
import stamina

from flts.boundary.retries import RetryPolicy
from flts.errors import BadInputError
from flts.store import open_store


class AwayError(Exception):
    """What a service that is away raises."""


def ask(policy: RetryPolicy, failures: int) -> str:
    """Ask a service that fails so many times first."""
    tries = itertools.count()

    def once() -> str:
        if next(tries) < failures:
            raise AwayError
        return "answered"

    with stamina.set_testing(True, attempts=failures + 1):  # without the pauses
        return policy.call(once, lambda error: "S3 is away" if isinstance(error, AwayError) else "")


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let 25 seconds pass from each look at the clock to the next."""
    clock = itertools.count(step=25)
    monkeypatch.setattr("flts.boundary.retries.time.monotonic", lambda: float(next(clock)))


def test_a_wait_is_told_at_once_and_then_once_a_minute(seconds: None, caplog: pytest.LogCaptureFixture):
    assert ask(RetryPolicy(120), failures=6) == "answered"
    told = [record.message for record in caplog.records if record.name == "flts"]
    # Two looks at the clock, 50 seconds, from one failure to the next.
    assert told == ["waiting, 120 s at most: S3 is away"] * 3


def test_a_failure_that_the_next_try_mends_is_not_told(caplog: pytest.LogCaptureFixture):
    assert ask(RetryPolicy(120), failures=1) == "answered"
    assert not [record for record in caplog.records if record.name == "flts"]


def test_servers_and_people_are_not_told(seconds: None, caplog: pytest.LogCaptureFixture):
    assert ask(RetryPolicy(None), failures=6) == "answered"
    assert not [record for record in caplog.records if record.name == "flts"]


@pytest.mark.parametrize("url", ["s3://", "http://127.0.0.1:9"])
def test_how_long_is_a_whole_number_of_seconds(monkeypatch: pytest.MonkeyPatch, url: str):
    monkeypatch.setenv("FLTS_PATIENCE_SECONDS", "soon")
    with pytest.raises(BadInputError, match="FLTS_PATIENCE_SECONDS must be a whole number"):
        open_store(url, wait=True)
    open_store(url)  # does not wait
