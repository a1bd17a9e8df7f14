"""The metrics that rules, dashboard and docs name are those that the running services tell."""

from collections.abc import Iterator

import httpx
import pytest

from tests.support.gateway import gateway
from tests.support.metrics import documented, told
from tests.support.serving import make_place, serving


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, set[str]]]:
    """What the gateway and the forecast server tell after a request, by job."""
    place = make_place(tmp_path_factory.mktemp("metrics") / "place")
    place.promote("PROPHET")
    with gateway(place.url) as store, serving(store.url) as server:
        server.wait_until_ready()
        httpx.post(f"{server.url}/predict", json={"inference_length": 1}, timeout=60).raise_for_status()
        urls = {"gateway": store.url, "inference": server.url}
        yield {job: told(httpx.get(f"{url}/metrics", timeout=30).text) for job, url in urls.items()}


@pytest.mark.parametrize("job", ["gateway", "inference"])
def test_every_metric_that_the_docs_explain_is_told(found: dict[str, set[str]], job: str):
    assert documented()[job] <= found[job]


@pytest.mark.parametrize("job", ["gateway", "inference"])
def test_every_metric_of_ours_is_explained(found: dict[str, set[str]], job: str):
    own = {name for name in found[job] if name.startswith("flts_") and not name.endswith("_created")}
    assert own <= documented()[job]
