"""The page for platform teams: its examples compile, with KFP's cache off, also around the whole pipeline."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.stages import STAGES_OF


def examples(root: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (root / "docs" / "platform-teams.md").read_text(), re.DOTALL | re.M)


@pytest.fixture(scope="module")
def compiled(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """What the page's programs compile, started as a reader would start them beside copies of our files."""
    folder = tmp_path_factory.mktemp("reader")
    for name in ("component_specs", "pipeline"):
        (folder / name).symlink_to(root / name)
    first, *programs = examples(root)
    assert first == "task.set_caching_options(False)\n"
    for program in programs:
        (folder / "example.py").write_text(program)
        subprocess.run([sys.executable, "example.py"], cwd=folder, check=True)
    return {path.stem: list(yaml.safe_load_all(path.read_text())) for path in folder.glob("*.yaml")}


def tasks(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every task of a pipeline and of the pipelines in it."""
    for component in (document["root"], *document["components"].values()):
        yield from component.get("dag", {}).get("tasks", {}).items()


def test_the_line_that_turns_the_cache_off_stands_first(root: Path) -> None:
    assert examples(root)[0] == "task.set_caching_options(False)\n"


def test_no_task_of_any_example_is_cached(compiled: dict[str, list[dict[str, Any]]]) -> None:
    assert compiled.keys() == {"one-model", "train-and-announce"}
    for document, *_ in compiled.values():
        for name, task in tasks(document):
            assert not task["cachingOptions"].get("enableCache"), name


def test_another_pipeline_takes_the_outputs_of_the_whole(compiled: dict[str, list[dict[str, Any]]]) -> None:
    inputs = compiled["train-and-announce"][0]["root"]["dag"]["tasks"]["announce"]["inputs"]
    whole = "flts-time-series-training-pipeline"

    assert inputs["parameters"]["config_hash"]["taskOutputParameter"] == {
        "producerTask": whole,
        "outputParameterKey": "config_hash",
    }
    assert {name: source["taskOutputArtifact"] for name, source in inputs["artifacts"].items()} == {
        "promotion": {"producerTask": whole, "outputArtifactKey": "promotion_metadata"},
        "predictions": {"producerTask": whole, "outputArtifactKey": "predictions"},
    }


def test_stages_inside_another_pipeline_keep_secrets_limits_and_parameters(
    compiled: dict[str, list[dict[str, Any]]],
) -> None:
    document, platforms = compiled["train-and-announce"]
    inner = document["components"]["comp-flts-time-series-training-pipeline"]
    configured = platforms["platforms"]["kubernetes"]["deploymentSpec"]["executors"]

    assert configured.keys() == {f"exec-{stage}" for stage in STAGES_OF["pipeline"]}
    for executor in configured.values():
        named = {each["secretNameParameter"]["componentInputParameter"] for each in executor["secretAsEnv"]}
        assert named <= inner["inputDefinitions"]["parameters"].keys()
        assert executor["securityContext"] == {"runAsNonRoot": True}
