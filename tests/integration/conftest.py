"""The stages' commands, run once by themselves on the demo dataset; and a browser."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from flts.models.registry import TRAINED_MODELS
from flts.params import RecurrentParams
from tests.support.commands import Ended, run

SLOTS = [model.slot for model in TRAINED_MODELS.values()]
_SMALL_NETWORK = " --hidden-size 4 --num-layers 1 --epochs 2"
COMMANDS = {
    "preprocess": "flts-preprocess --input jfk_weather.csv --output-dir preprocess"
    " --sample-train-rows 300 --sample-test-rows 60",
    **{
        f"train-{model.slot}": f"flts-train-{model.slot} --training-data preprocess/processed_data.parquet"
        f" --output-dir {model.slot}" + (_SMALL_NETWORK if model.params is RecurrentParams else "")
        for model in TRAINED_MODELS.values()
    },
    "eval": "flts-eval --output-dir eval"
    + "".join(f" --{m}-model {m}/model.json --{m}-metrics {m}/metrics.json" for m in SLOTS),
    "inference": "flts-inference --inference-data preprocess/test_processed_data.parquet"
    " --selected-model eval/selected_model.json --output-dir inference --inference-length 5",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests that look at pages in a browser, and keep those of a module, which share servers, on one worker."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.slow)
        if Path(__file__).parent in item.path.parents and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


@dataclass(frozen=True)
class Standalone:
    """Where the commands ran, what they were and what they said."""

    folder: Path
    commands: dict[str, str]
    ended: dict[str, Ended]


@pytest.fixture(scope="session")
def standalone(root, tmp_path_factory) -> Standalone:
    folder = tmp_path_factory.mktemp("standalone")
    for name in ("jfk_weather.csv", "jfk_weather_test.csv"):
        (folder / name).write_bytes((root / "examples" / "data" / name).read_bytes())
    ended = {}
    for stage, command in COMMANDS.items():
        ended[stage] = run(folder, *command.split())
        assert ended[stage].code == 0, ended[stage].stderr
    return Standalone(folder, COMMANDS, ended)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("neither chromium nor google-chrome is installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()
