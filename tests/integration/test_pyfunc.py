"""Anyone with MLflow and the installed flts can load a model as MLflow keeps it and forecast, in their own process."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from flts.models import bundle, pyfunc
from flts.models.forecasting import forecast_steps
from flts.models.prophet.training import fit_prophet
from flts.params import ProphetParams, RecurrentParams
from flts.tracking import ModelFromCode
from tests.support.processed import processed

OUTSIDER = """
import json, sys
import mlflow, pandas
history, *model_uris = sys.argv[1:]
frame = pandas.read_csv(history, parse_dates=["time"])
for model_uri in model_uris:
    forecast = mlflow.pyfunc.load_model(model_uri).predict(frame, params={"inference_length": 5})
    print(json.dumps({"time": forecast["time"].astype(str).tolist(), "y": forecast["y"].tolist()}))
"""


def series():
    hours = np.arange(24 * 10)
    noise = np.random.default_rng(0).normal(size=(2, len(hours)))
    return processed({"y": 5 + np.sin(2 * np.pi * hours / 24) + 0.1 * noise[0], "x": noise[1]})


def train(model_type: str, data):
    common = {"config_hash": "", "config_json": "", "identifier": ""}
    if model_type == "PROPHET":
        return fit_prophet(data, ProphetParams(**common, output_seq_len=2)).forecaster
    from flts.models.recurrent.training import fit_recurrent

    return fit_recurrent(model_type, data, RecurrentParams(**common, hidden_size=8, epochs=1)).forecaster


@pytest.mark.slow
def test_a_fresh_process_forecasts_from_the_models_that_mlflow_keeps(tmp_path: Path):
    data, forecasters = series(), {}
    for model_type in ("PROPHET", "GRU"):
        forecasters[model_type] = train(model_type, data)
        bundle.save(tmp_path / "bundles" / model_type, forecasters[model_type], data)
        (tmp_path / model_type).mkdir()
        model = ModelFromCode(tmp_path / "bundles" / model_type, pyfunc.CODE_PATH, pyfunc.SIGNATURE, ["flts"])
        model.write(tmp_path / model_type, run_id="0" * 32, model_id=f"m-{'0' * 32}")
    columns = [data.frame.columns[name].tolist() for name in ("y", "x")]
    rows = [f"{time},{y!r},{x!r}" for time, y, x in zip(data.frame.time, *columns, strict=True)]
    (tmp_path / "history.csv").write_text("\n".join(["time,y,x", *rows]) + "\n")

    (tmp_path / "elsewhere").mkdir()
    outsider = subprocess.run(
        [sys.executable, "-c", OUTSIDER, "../history.csv", *(str(tmp_path / name) for name in forecasters)],
        cwd=tmp_path / "elsewhere",
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert outsider.returncode == 0, outsider.stderr
    lines = [json.loads(line) for line in outsider.stdout.splitlines() if line.startswith("{")]
    for forecaster, said in zip(forecasters.values(), lines, strict=True):
        expected = forecast_steps(forecaster, data, start=len(data), steps=5)
        assert said["y"] == pytest.approx(expected.values[:, 0], rel=1e-12)
        assert np.array_equal(np.array(said["time"], dtype="datetime64[us]"), expected.time)
