"""The wheel, installed into an empty environment, gives the commands and the functions for notebooks."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

from flts.version import __version__

BIN = Path(sys.executable).parent
OUTSIDER = """
import sys
import flts

data = flts.read_processed("preprocess/processed_data.parquet")
model = flts.load_model("model/bundle")
forecast = model.forecast(data, steps=3)
assert list(forecast.columns) == ["time", "temp", "temp_lower", "temp_upper"], forecast
assert "site-packages" in flts.__file__, flts.__file__
print(model.model_type)
"""


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as `make dist` builds it: from the sdist, so that nothing but the sources gets in."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([BIN / "uv", "build", "--quiet", "--out-dir", folder, root], check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.mark.slow
@pytest.mark.xdist_group("wheel")
def test_the_wheel_holds_the_license_and_every_file_of_flts(wheel: Path, root: Path):
    info = f"flts-{__version__}.dist-info"
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
        license_text = archive.read(f"{info}/licenses/LICENSE")
        metadata = archive.read(f"{info}/METADATA").decode()

    assert license_text == (root / "LICENSE").read_bytes()
    assert re.findall(r"^License-(?:File|Expression): .+$", metadata, re.MULTILINE) == [
        "License-Expression: Apache-2.0",
        "License-File: LICENSE",
    ]
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "flts"]
    sources = subprocess.run(listing, cwd=root, check=True, capture_output=True, text=True).stdout.split()
    assert {name for name in names if not name.startswith(info)} == {name for name in sources if (root / name).exists()}


@pytest.mark.slow
@pytest.mark.xdist_group("wheel")
@pytest.mark.parametrize(
    ("extra", "trainer", "flags"),
    [
        ("torch", "train-gru", ["--epochs", "1", "--hidden-size", "4"]),
        ("prophet", "train-prophet", ["--growth", "flat"]),
    ],
)
def test_an_extra_installs_into_an_empty_environment_and_works(
    wheel: Path, root: Path, demo: Path, extra: str, trainer: str, flags: list[str], tmp_path: Path
):
    def run(*command: str | Path) -> str:
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(sys.executable, "-m", "venv", "env")
    commands = tmp_path / "env" / "bin"
    locked = root / "locks" / "dev.txt"
    if extra == "torch":  # pip chooses the build for this machine
        (torch,) = re.findall(r"^torch==\S+", locked.read_text(), re.MULTILINE)
        run(commands / "pip", "install", "--quiet", "--no-compile", "--disable-pip-version-check", torch)
    run(
        BIN / "uv",
        "pip",
        "install",
        "--quiet",
        "--python",
        commands / "python",
        "--constraint",
        locked,
        f"flts[{extra}] @ {wheel.as_uri()}",
    )

    run(commands / "flts-preprocess", "--input", demo, "--output-dir", "preprocess", "--target-columns", "temp")
    data = "preprocess/processed_data.parquet"
    run(commands / f"flts-{trainer}", "--training-data", data, "--output-dir", "model", *flags)
    said = run(commands / "python", "-c", OUTSIDER)
    assert said.strip() == json.loads((tmp_path / "model" / "model.json").read_text())["model_type"]
