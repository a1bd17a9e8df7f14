"""Every image's README gives a `docker run` line: these tests run the text that stands there."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from flts.stages import STAGES
from tests.support import engine

WRITES = {
    "preprocess": {"training_data.json", "inference_data.json", "processed_data.parquet"},
    "train-gru": {"bundle", "model.json", "metrics.json"},
    "train-lstm": {"bundle", "model.json", "metrics.json"},
    "train-prophet": {"bundle", "model.json", "metrics.json"},
    "train-lightgbm": {"bundle", "model.json", "metrics.json"},
    "eval": {"selected_model.json", "promotion_metadata.json"},
    "inference": {"results.jsonl", "predictions.parquet", "leaderboard.parquet", "metrics.json"},
}


def code(readme: Path, language: str) -> list[str]:
    return re.findall(rf"^ *```{language}\n(.*?)^ *```$", readme.read_text(), re.DOTALL | re.MULTILINE)


def run_readmes(root: Path, data: Path, *, flags: str = "", user: str = "", epochs: int | None = None) -> None:
    """Run the commands of all seven, each on what those before it wrote, as text in a shell."""
    client = data.parent / "bin" / "docker"
    client.parent.mkdir()
    client.symlink_to(shutil.which(engine.CLIENT) or engine.CLIENT)
    environ = os.environ | {"PATH": f"{client.parent}:{os.environ['PATH']}"}
    for stage in STAGES:
        (command,) = code(root / "images" / stage / "README.md", "sh")
        command = command.replace("docker run --rm ", f"docker run --rm {flags} ")
        if user:
            command = command.replace('"$(id -u):$(id -g)"', user)
        if epochs is not None and stage in {"train-gru", "train-lstm"}:
            command = f"{command.rstrip()} --epochs {epochs}"
        done = subprocess.run(
            ["bash", "-c", command], check=False, cwd=data.parent, env=environ, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        folder = data / stage.removeprefix("train-")
        assert WRITES[stage] <= {path.name for path in folder.iterdir()}
        assert "<html" in (folder / "report.html").read_text()


@pytest.mark.slow
@pytest.mark.timeout(900)  # both networks train with their defaults
def test_commands_of_the_readmes_work_as_they_stand(root: Path, data: Path) -> None:
    run_readmes(root, data)

    written = {path.stat().st_uid for path in data.rglob("*")}
    assert written == {os.getuid()}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_they_work_locked_down_and_for_any_user(root: Path, data: Path) -> None:
    (flags,) = code(root / "images" / "README.md", "text")
    assert "--read-only" in flags
    assert "--network none" in flags

    run_readmes(root, data, flags=flags.strip(), user="123456:0", epochs=1)

    assert (data / "inference").stat().st_uid == 123456


def test_the_readme_names_the_page_of_its_stage(root: Path) -> None:
    for stage in STAGES:
        assert f"docs/stages/{stage}.md" in (root / "images" / stage / "README.md").read_text()
