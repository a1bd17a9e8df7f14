"""Live forecasts have the numbers of the batch stage and of Python, alone and together."""

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest

import flts
from flts.datafiles.processed_parquet import read_processed
from flts.models import bundle
from flts.stage_interface import Context, InputArtifact
from flts.stages import STAGES
from tests.support.serving import IDENTIFIER, Place, Server, history, make_place, serving

STEPS = 25
# Passes of several windows and those of one add up in another order: see RecurrentForecaster.forecast.
CLOSE = {"rel": 1e-5, "abs": 1e-5}


@pytest.fixture(scope="module", params=["GRU", "PROPHET"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Place:
    made = make_place(tmp_path_factory.mktemp("place") / "of")
    made.promote(request.param)
    return made


@pytest.fixture(scope="module")
def server(place: Place) -> Iterator[Server]:
    with serving(place.url, "--identifier", IDENTIFIER) as running:
        running.wait_until_ready()
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=30) as opened:
        yield opened


def model_of(place: Place) -> Path:
    (folder,) = (place.folder / "models").iterdir()
    return folder


def test_stored_data_are_forecast_as_the_batch_stage_forecasts_them(place: Place, client: httpx.Client, tmp_path: Path):
    model, data = model_of(place), read_processed(place.data())
    window = bundle.load(model).config.input_seq_len
    stage = STAGES["inference"]
    params = stage.params(config_hash="", identifier=IDENTIFIER, inference_length=STEPS, sample_idx=len(data) - window)
    inputs = {"inference_data": InputArtifact(place.data()), "selected_model": InputArtifact(model)}
    batch = json.loads(stage.run(params, Context(inputs, tmp_path)).artifacts["predictions"].content)

    answer = client.post("/predict", json={"inference_length": STEPS})

    assert answer.status_code == 200
    document = answer.json()
    promotion = client.get("/model").json()
    assert document["status"] == "SUCCESS"
    assert document["identifier"] == IDENTIFIER
    for name in ("run_id", "model_type", "config_hash", "promotion_time"):
        assert document[name] == promotion[name]
    assert len(document["predictions"]) == len(batch["samples"]) == STEPS
    for step, sample in zip(document["predictions"], batch["samples"], strict=True):
        assert list(step) == ["ts", "down", "down_lower", "down_upper", "mode"]
        assert (step["ts"], step["mode"]) == (sample["ts"], sample["mode"])
        assert step["down"] == pytest.approx(sample["pred"]["down"], **CLOSE)
        assert step["down_lower"] == pytest.approx(sample["lower"]["down"], **CLOSE)
        assert step["down_upper"] == pytest.approx(sample["upper"]["down"], **CLOSE)


def test_data_of_a_client_are_forecast_as_python_forecasts_them(place: Place, client: httpx.Client):
    columns = history(400)
    table = flts.load_model(model_of(place)).forecast(pd.DataFrame(columns), STEPS)

    shuffled = {"unknown": ["text"] * 400, "up": columns["up"], "stamp": columns["time"], "down": columns["down"]}
    asked = {"inference_length": STEPS, "data": shuffled, "index_col": "stamp"}
    steps = client.post("/predict", json=asked).json()["predictions"]

    assert [step["ts"] for step in steps] == [f"{moment.isoformat()}Z" for moment in table["time"]]
    for name in ("down", "down_lower", "down_upper"):
        assert [step[name] for step in steps] == pytest.approx(table[name].tolist(), **CLOSE)


@pytest.mark.parametrize("stored", [True, False])
def test_quantiles_are_those_of_the_batch_stage_and_of_python(place: Place, client: httpx.Client, stored: bool):
    asked: dict[str, Any] = {"inference_length": STEPS, "quantiles": [0.95, 0.05]}
    columns = history(400)
    if stored:
        data = read_processed(place.data())
        columns = {"time": data.frame.time, **{name: data.frame.columns[name] for name in ("down", "up")}}
    else:
        asked["data"] = columns
    table = flts.load_model(model_of(place)).forecast(pd.DataFrame(columns), STEPS, quantiles="0.05,0.95")

    steps = client.post("/predict", json=asked).json()["predictions"]

    names = ["down", "down_lower", "down_upper", "down_q0.05", "down_q0.95"]
    assert list(steps[0]) == ["ts", *names, "mode"]
    for name in names:
        assert [step[name] for step in steps] == pytest.approx(table[name].tolist(), **CLOSE)
    by_query = client.post("/predict?quantiles=0.05,0.95", json={**asked, "quantiles": None}).json()["predictions"]
    assert by_query == steps
    refused = client.post("/predict?quantiles=2", json=asked)
    assert refused.status_code == 400
    assert refused.json()["detail"] == "quantiles must be numbers between 0 and 1, such as 0.05,0.5,0.95, not '2'"


def test_many_forecasts_at_once_are_each_what_they_are_alone(client: httpx.Client, server: Server):
    documents = [{"inference_length": 1 + number % 7} for number in range(40)]
    documents += [{"inference_length": 4, "data": history(10 + 7 * number)} for number in range(20)]
    alone = [client.post("/predict", json=document).json()["predictions"] for document in documents]

    async def ask() -> list[Any]:
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as many:
            answers = await asyncio.gather(*(many.post("/predict", json=document) for document in documents))
            return [answer.json()["predictions"] for answer in answers]

    for together, one in zip(asyncio.run(ask()), alone, strict=True):
        assert [step["ts"] for step in together] == [step["ts"] for step in one]
        assert [step["down"] for step in together] == pytest.approx([step["down"] for step in one], **CLOSE)
        assert [step["down_upper"] for step in together] == pytest.approx([step["down_upper"] for step in one], **CLOSE)
    sizes = re.findall(
        r'flts_forecast_batch_size_bucket{le="1.0"} (\S+)|flts_forecast_batch_size_count (\S+)',
        client.get("/metrics").text,
    )
    single, passes = float(sizes[0][0]), float(sizes[1][1])
    assert single < passes  # some were shared
