"""Both servers answer as their OpenAPI documents say, whatever they are asked: schemathesis asks."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import Case

from tests.support.gateway import gateway
from tests.support.serving import IDENTIFIER, make_place, serving

PATIENCE_SECONDS = 240
# Deterministic, so that what it finds is found again; and bounded.
EVERY = settings(
    max_examples=40,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def inference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[schemathesis.BaseSchema]:
    place = make_place(tmp_path_factory.mktemp("place") / "of")
    place.promote("PROPHET")
    # No 504 for ten thousand steps on a busy machine.
    options = ("--identifier", IDENTIFIER, "--max-body-mib", "1", "--deadline-seconds", str(PATIENCE_SECONDS))
    with serving(place.url, *options) as running:
        running.wait_until_ready()
        yield schemathesis.openapi.from_url(f"{running.url}/openapi.json")


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Iterator[schemathesis.BaseSchema]:
    folder: Path = tmp_path_factory.mktemp("objects")
    with gateway(f"file://{folder}", "--idle-seconds", "2") as running:
        yield schemathesis.openapi.from_url(f"{running.url}/openapi.json")


# Which keys, columns and rows fit each other, a schema cannot say: 400 is a good answer to what it lets pass.
TOO_STRICT = [schemathesis.checks.positive_data_acceptance]

of_inference = schemathesis.pytest.from_fixture("inference")
of_gateway = schemathesis.pytest.from_fixture("objects")


@pytest.mark.slow
@of_inference.parametrize()
@EVERY
def test_the_forecast_server_answers_as_documented(case: Case) -> None:
    case.call_and_validate(excluded_checks=TOO_STRICT, timeout=PATIENCE_SECONDS)


@pytest.mark.slow
@of_gateway.parametrize()
@EVERY
def test_the_gateway_answers_as_documented(case: Case) -> None:
    case.call_and_validate(excluded_checks=TOO_STRICT, timeout=PATIENCE_SECONDS)
