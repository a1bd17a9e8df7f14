"""What is served follows what is promoted: swaps under load, damaged promotions, and a store that goes away."""

import asyncio
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import httpx
import pytest

from flts.models.bundle import digest
from tests.support.gateway import gateway
from tests.support.services import free_ports
from tests.support.serving import IDENTIFIER, Place, Server, history, make_place, serving
from tests.support.waiting import wait_until

OTHER = "run-002"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return make_place(tmp_path / "place")


@pytest.fixture
def server(place: Place) -> Iterator[Server]:
    with serving(place.url, "--identifier", IDENTIFIER) as running:
        yield running


def ask(server: Server, path: str = "/ready") -> httpx.Response:
    return httpx.get(f"{server.url}{path}", timeout=60)


def metric(server: Server, name: str) -> float:
    (value,) = [line.split()[1] for line in ask(server, "/metrics").text.splitlines() if line.startswith(f"{name} ")]
    return float(value)


def test_nothing_is_served_until_something_is_promoted_and_then_it_is(place: Place, server: Server):
    for path in ("/ready", "/ping", "/v2/health/ready", "/model", "/predict_ping"):
        answer = ask(server, path)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json()["detail"].startswith(f"no model is promoted for identifier {IDENTIFIER}")
    assert httpx.post(f"{server.url}/predict", json={}).status_code == 503
    assert (ask(server, "/healthz").status_code, ask(server, "/v2/health/live").status_code) == (200, 200)
    assert metric(server, "flts_model_loaded") == 0

    place.promote("PROPHET", identifier=OTHER)
    assert httpx.post(f"{server.url}/reload_latest").status_code == 503
    promotion = place.promote("PROPHET")
    reloaded = httpx.post(f"{server.url}/reload_latest", timeout=60)

    assert reloaded.status_code == 200
    assert reloaded.json()["run_id"] == promotion.run_id
    assert ask(server).json()["model_type"] == "PROPHET"
    assert httpx.post(f"{server.url}/predict", json={}).status_code == 200
    assert metric(server, "flts_model_loaded") == 1
    assert httpx.post(f"{server.url}/reload_latest").json()["status"] == "unchanged"


def test_without_an_identifier_the_last_promotion_of_all_is_served(place: Place):
    place.promote("PROPHET", identifier=OTHER)
    with serving(place.url) as running:
        assert running.wait_until_ready()["identifier"] == OTHER
        promotion = place.promote("PROPHET")
        wait_until(lambda: ask(running).json()["promotion_time"] == promotion.promotion_time)
        wait_until(lambda: len(ask(running, "/model").json()["promotions"]) == 2)
        newest, older = ask(running, "/model").json()["promotions"]
        assert (newest["current"], older["current"]) == (True, False)


@pytest.mark.slow
def test_models_are_swapped_under_load_without_a_failed_request(place: Place, server: Server):
    place.promote("PROPHET")
    place.bundle("GRU")
    server.wait_until_ready()
    answers: list[tuple[int, str]] = []

    async def client(address: httpx.AsyncClient, enough: asyncio.Event, number: int) -> None:
        document = {"inference_length": 1 + number % 3} | ({"data": history(60)} if number % 4 == 0 else {})
        while not enough.is_set():
            answer = await address.post("/predict", json=document)
            answers.append((answer.status_code, answer.json().get("model_type", answer.text)))

    async def load() -> None:
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as address:
            enough = asyncio.Event()
            clients = [asyncio.create_task(client(address, enough, number)) for number in range(12)]

            async def more_answers() -> None:
                asked = len(answers)
                while len(answers) < asked + 50:
                    await address.get("/healthz")

            for model_type in ("GRU", "PROPHET", "GRU"):
                await more_answers()
                promotion = await asyncio.to_thread(place.promote, model_type)
                while (await address.get("/ready")).json()["promotion_time"] != promotion.promotion_time:
                    pass
            await more_answers()
            enough.set()
            await asyncio.gather(*clients)

    asyncio.run(load())
    assert {status for status, _ in answers} == {200}
    assert [model for model, _ in groupby(model for _, model in answers)][:2] == ["PROPHET", "GRU"]
    assert len(server.events("loaded")) == 4
    assert server.events("problem") == []


def damage_weights(place: Place, folder: Path) -> dict[str, Any]:
    (folder / "prophet.json").write_text("{}")
    return {}


def announce_another(place: Place, folder: Path) -> dict[str, Any]:
    return {"bundle_sha256": "0" * 64}


def forget_model(place: Place, folder: Path) -> dict[str, Any]:
    return {"model_uri": str(folder / "absent")}


def damage_data(place: Place, folder: Path) -> dict[str, Any]:
    path = place.data()
    path.write_bytes(path.read_bytes()[:-100])
    return {}


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (damage_weights, "differs from its SHA-256"),
        pytest.param(announce_another, "was announced", marks=pytest.mark.slow),
        pytest.param(forget_model, "absent", marks=pytest.mark.slow),
        pytest.param(damage_data, "has sha256", marks=pytest.mark.slow),
    ],
)
def test_a_damaged_promotion_leaves_the_last_good_model_and_is_told(
    place: Place, server: Server, damage: Callable[[Place, Path], dict[str, Any]], sentence: str
):
    good = place.promote("PROPHET")
    server.wait_until_ready()
    before = httpx.post(f"{server.url}/predict", json={"inference_length": 3}).json()
    copy = place.folder / "copy"
    copy.mkdir()
    for path in place.bundle("PROPHET").iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    changes = damage(place, copy)
    place.promote("PROPHET", **({"folder": copy, "run_id": "another", "bundle_sha256": digest(copy)} | changes))

    wait_until(lambda: ask(server).json()["problem"])

    ready = ask(server)
    assert (ready.status_code, ready.json()["run_id"]) == (200, good.run_id)
    assert sentence in ready.json()["problem"]
    assert ask(server, "/model").json()["problem"] == ready.json()["problem"]
    refused = httpx.post(f"{server.url}/reload_latest")
    assert (refused.status_code, refused.json()["detail"]) == (400, ready.json()["problem"])
    assert metric(server, "flts_model_reload_failures_total") >= 2  # the watch's, and that of the request
    assert len(server.events("problem")) == 1
    assert httpx.post(f"{server.url}/predict", json={"inference_length": 3}).json() == before


def test_a_pointer_that_is_no_promotion_is_told_and_the_next_promotion_is_served(place: Place, server: Server):
    pointer = f"{IDENTIFIER}/current.json"
    place.store.put("model-promotion", pointer, b"{}")
    wait_until(lambda: "is not a promotion" in ask(server).json().get("detail", ""))
    place.promote("PROPHET")
    assert server.wait_until_ready()["problem"] is None


def test_without_stored_data_only_data_of_the_client_are_forecast(place: Place, server: Server):
    for path in place.data().parent.glob("test_*"):
        path.unlink()
    place.promote("PROPHET")
    server.wait_until_ready()
    answer = httpx.post(f"{server.url}/predict", json={})
    assert (answer.status_code, answer.json()["detail"]) == (
        400,
        "the store has no inference data for this model: send data with the request",
    )
    assert httpx.post(f"{server.url}/predict", json={"data": history()}).status_code == 200
    assert ask(server, "/model").json()["recent"] is None


@pytest.mark.slow
def test_a_store_that_goes_away_costs_no_forecast_and_is_used_again_when_it_is_back(place: Place):
    place.promote("PROPHET")
    (port,) = free_ports(1)
    store = f"http://127.0.0.1:{port}"
    with serving(store, "--identifier", IDENTIFIER) as server:
        assert ask(server).status_code == 503
        with gateway(place.url, "--port", str(port)):
            server.wait_until_ready()
        wait_until(lambda: ask(server).json()["problem"])
        assert httpx.post(f"{server.url}/predict", json={"inference_length": 2}).status_code == 200
        away = httpx.post(f"{server.url}/reload_latest", timeout=60)
        assert (away.status_code, away.headers["retry-after"]) == (503, "1")
        assert metric(server, "flts_store_errors_total") > 0
        promotion = place.promote("PROPHET")
        with gateway(place.url, "--port", str(port)):
            wait_until(lambda: ask(server).json()["promotion_time"] == promotion.promotion_time)
            assert ask(server).json()["problem"] is None
        assert "Traceback" not in "".join(server.lines)
        assert server.events("recovered")
