"""The code in docs/python.md runs as it stands, and what it shows is what the stages and MLflow give."""

import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import flts
from flts.errors import BadInputError
from tests.support.commands import BIN
from tests.support.pipelines import run


@pytest.fixture(scope="module")
def folder(root: Path, demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the pipeline ran as `make run` runs it."""
    folder = tmp_path_factory.mktemp("python")
    ended = run(root, folder / ".flts", demo)
    assert ended.code == 0, ended.stdout + ended.stderr
    return folder


@pytest.fixture(scope="module")
def said(root: Path, folder: Path) -> str:
    """What the code of the page prints, block by block in one session."""
    blocks = re.findall(r"```(python|sh)\n(.*?)```", (root / "docs" / "python.md").read_text(), re.DOTALL)
    shell = "import subprocess; subprocess.run({!r}, shell=True, check=True)\n"
    code = "".join(text if kind == "python" else shell.format(text) for kind, text in blocks)
    done = subprocess.run(
        [sys.executable, "-W", "ignore::ResourceWarning", "-c", code],
        cwd=folder,
        env={"PATH": f"{BIN}:/usr/bin:/bin", "HOME": str(folder), "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_page_runs_as_it_stands(said: str):
    assert re.search(r"^<flts\.Model (GRU|LSTM|PROPHET): .+ every 0 days 01:00:00>$", said, re.MULTILINE)
    assert "temp_actual" in said


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of MLflow, about type hints of its own
def test_a_model_says_the_same_here_and_in_mlflow(folder: Path, said: str):
    import mlflow

    data = flts.read_processed(folder / ".flts/store/processed-data/processed_data.parquet")
    model = flts.load_model(folder / "gru" / "bundle")
    assert model.model_type == "GRU"
    assert set(model.targets) <= set(model.columns) <= set(data.columns)
    assert model.config_hash == data.attrs["config_hash"]
    forecast = model.forecast(data, steps=4)
    bounds = [f"{name}_{bound}" for name in model.targets for bound in ("lower", "upper")]
    assert list(forecast.columns) == ["time", *model.targets, *bounds]
    assert (forecast["time"].diff().dropna() == model.sampling).all()
    assert forecast["time"].iloc[0] == data["time"].iloc[-1] + pd.Timedelta(hours=1)

    kept = next((folder / ".flts" / "mlartifacts").rglob("MLmodel")).parent
    ours = flts.load_model(kept / "artifacts" / "bundle").forecast(data, steps=4)
    theirs = mlflow.pyfunc.load_model(str(kept)).predict(data, params={"inference_length": 4})
    assert ours.equals(theirs)


@pytest.mark.slow
def test_processed_data_carries_what_preprocess_wrote(folder: Path):
    data = flts.read_processed(folder / ".flts/store/processed-data/processed_data.parquet")
    assert data.attrs["preprocess_config"]["dataset_name"] == "slice"
    assert data.attrs["parts"]["rows"] == len(data) == 500
    assert data.attrs["scaler"]["kind"] == "MinMaxScaler"
    assert [f"{name}_actual" in data for name in data.attrs["target_columns"]] == [True]


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("nowhere", "nowhere does not exist: a bundle folder or the JSON file of a promotion is expected"),
        (
            "runs:/abc/GRU",
            "runs:/abc/GRU is in MLflow: --mlflow-tracking-uri (in Python, tracking_uri) must name it",
        ),
    ],
)
def test_a_source_that_is_none_is_told(source: str, sentence: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(BadInputError, match=re.escape(sentence)):
        flts.load_model(source)


def test_a_table_that_is_none_is_told(tmp_path: Path):
    with pytest.raises(BadInputError, match=r"nowhere\.csv does not exist"):
        flts.read_processed(tmp_path / "nowhere.csv")


def test_the_surface_is_what_the_page_shows():
    assert flts.__all__ == ["Model", "__version__", "load_model", "read_processed"]
    with pytest.raises(AttributeError, match="module 'flts' has no attribute 'load'"):
        flts.load  # noqa: B018
