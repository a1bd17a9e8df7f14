"""Model bundles: what goes in comes out, the same model is the same bytes, and nothing damaged or strange is loaded."""

import hashlib
import json
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flts.errors import BadInputError, ChecksumMismatchError
from flts.models import bundle
from flts.models.prophet.forecaster import ProphetForecaster
from flts.models.prophet.residual_correction import ResidualCorrection
from tests.support.processed import processed, prophet_line

FILES = ["checksums.json", "config.json", "prophet.json", "scaler.json"]
DATA = processed({"y": range(10, 20), "x": [3] * 10, "z": range(20)[::-2]}, targets=("z", "y"))


def forecaster() -> ProphetForecaster:
    return ProphetForecaster(
        {"z": prophet_line(-2, 19), "y": prophet_line(1, 10)},
        corrections={"z": ResidualCorrection.decay(0.25, 2), "y": ResidualCorrection.decay(0.5, 2)},
        input_seq_len=4,
        output_seq_len=2,
        sampling_seconds=3600,
        hyperparameters={"growth": "linear", "seed": 7},
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    bundle.save(tmp_path / "bundle", forecaster(), DATA)
    return tmp_path / "bundle"


def rehash(folder: Path) -> None:
    """Write checksums that fit the files, as somebody who means to deceive would."""
    names = [name for name in FILES if name != "checksums.json"]
    sums = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    (folder / "checksums.json").write_text(json.dumps(sums))


def sentence(folder: Path) -> str:
    with pytest.raises(BadInputError) as caught:
        bundle.load(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_loaded_bundle_forecasts_what_the_saved_model_did(folder: Path):
    loaded = bundle.load(folder)
    origins = np.array([4, 7, 10])
    before = forecaster().forecast(DATA.frame, origins)
    assert np.array_equal(loaded.forecaster.forecast(DATA.frame, origins), before)
    assert loaded.forecaster.config() == {"growth": "linear", "seed": 7}
    assert loaded.scaler.to_dict() == DATA.scaler.to_dict()


def test_an_older_bundle_whose_residuals_decay_is_still_loaded(folder: Path):
    config = json.loads((folder / "config.json").read_text())
    config["hyperparameters"]["phi"] = {"z": 0.25, "y": 0.5}
    (folder / "config.json").write_text(json.dumps(config))
    models = json.loads((folder / "prophet.json").read_text())["models"]
    (folder / "prophet.json").write_text(json.dumps({"models": models}))
    rehash(folder)
    loaded, origins = bundle.load(folder).forecaster, np.array([4, 7, 10])
    assert np.array_equal(loaded.forecast(DATA.frame, origins), forecaster().forecast(DATA.frame, origins))
    assert loaded.config() == {"growth": "linear", "seed": 7}


def test_the_configuration_tells_what_the_model_is(folder: Path):
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert json.loads((folder / "config.json").read_text()) == {
        "v": 1,
        "model_type": "PROPHET",
        "input_seq_len": 4,
        "output_seq_len": 2,
        "features": ["z", "y"],
        "targets": ["z", "y"],
        "hyperparameters": {"growth": "linear", "seed": 7},
        "sampling_seconds": 3600.0,
        "parts": {"fit_end": 7, "validation_end": 8, "rows": 10},
        "config_hash": "0" * 64,
        "preprocess_config": '{"scaler":"MinMaxScaler"}',
        "target_range": {"z": 12.0, "y": 6.0},
    }
    config = bundle.load(folder).config
    assert config == bundle.verify(folder)
    assert (config.targets, config.parts) == (("z", "y"), DATA.parts)


def test_the_same_model_is_the_same_bytes(folder: Path, tmp_path: Path):
    bundle.save(tmp_path / "again", forecaster(), DATA)
    for name in FILES:
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    assert bundle.digest(folder) == bundle.digest(tmp_path / "again") == bundle.load(folder).digest


def test_the_digest_is_the_sha256_of_the_checksums(folder: Path):
    checksums = (folder / "checksums.json").read_bytes()
    assert bundle.digest(folder) == hashlib.sha256(checksums).hexdigest()
    assert json.loads(checksums)["config.json"] == hashlib.sha256((folder / "config.json").read_bytes()).hexdigest()


@pytest.mark.parametrize("name", ["config.json", "prophet.json", "scaler.json"])
@pytest.mark.parametrize("place", [0.0, 0.5, 1.0])
def test_a_changed_byte_is_found_and_its_file_named(folder: Path, name: str, place: float):
    content = bytearray((folder / name).read_bytes())
    content[int(place * (len(content) - 1))] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(ChecksumMismatchError, match=f"/{name} differs from its SHA-256 in checksums.json"):
        bundle.load(folder)


def test_an_edited_checksum_is_found(folder: Path):
    checksums = json.loads((folder / "checksums.json").read_text())
    (folder / "checksums.json").write_text(json.dumps(checksums | {"scaler.json": "0" * 64}))
    with pytest.raises(ChecksumMismatchError, match=r"scaler\.json differs"):
        bundle.load(folder)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not JSON",
        b"\xff",
        b"[]",
        b"{}",
        b'{"config.json":"0","scaler.json":"0"}',
        b'{"config.json":"0","prophet.json":"0","scaler.json":"0","../../secret.json":"0"}',
    ],
)
def test_checksums_must_declare_exactly_the_files_of_a_bundle(folder: Path, content: bytes):
    (folder / "checksums.json").write_bytes(content)
    assert "checksums.json must be a JSON object with the SHA-256 of config.json, scaler.json and" in sentence(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(folder: Path, name: str):
    (folder / name).unlink()
    assert name in sentence(folder)
    assert "missing" in sentence(folder)


@pytest.mark.parametrize("name", ["model.pkl", "python_model.pkl", "model.safetensors", ".hidden", "notes.txt"])
def test_a_file_that_is_not_declared_is_refused(folder: Path, name: str):
    (folder / name).write_bytes(b"{}")
    assert f"{name} is not part of the model bundle" in sentence(folder)


def test_a_folder_in_the_bundle_is_refused(folder: Path):
    (folder / "code").mkdir()
    assert "code is not part of the model bundle" in sentence(folder)


class Trap:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["config.json", "prophet.json", "scaler.json"])
@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_a_pickle_under_any_name_is_refused_though_its_checksum_is_right(folder: Path, name: str, protocol: int):
    (folder / name).write_bytes(pickle.dumps(Trap(folder.parent / "sprung"), protocol=protocol))
    rehash(folder)
    assert f"{name} is not json: pickles, archives and other formats are never loaded" in sentence(folder)
    assert not (folder.parent / "sprung").exists()


def test_an_archive_is_refused_though_its_checksum_is_right(folder: Path):
    with zipfile.ZipFile(folder / "prophet.json", "w") as archive:
        archive.writestr("data.pkl", pickle.dumps({}))
    rehash(folder)
    assert "prophet.json is not json" in sentence(folder)


def edit_config(folder: Path, **fields: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | fields))
    rehash(folder)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"v": 2}, "config.json is not a bundle configuration that this version reads: field 'v' must be 1, got 2"),
        ({"model_type": "ARIMA"}, "model type ARIMA is not known to this version"),
        ({"parts": {"fit_end": 1}}, "field 'parts.validation_end' is missing"),
        ({"model_type": "GRU"}, "is a GRU bundle without model.safetensors"),
        ({"hyperparameters": {"phi": {}}}, "config.json must hold a phi of z, y each, and of nothing else"),
        ({"output_seq_len": 3}, "coefficients of a linear skip must have the shape (3, 1, 8), not (2, 1, 8)"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(folder: Path, fields: dict[str, object], expected: str):
    edit_config(folder, **fields)
    assert expected in sentence(folder)


def test_fields_that_a_later_version_adds_are_kept(folder: Path):
    edit_config(folder, trained_by="somebody")
    assert bundle.load(folder).config.model_dump()["trained_by"] == "somebody"


@pytest.mark.parametrize("content", ["{", "{}", '{"kind": "none", "columns": 1, "center": [], "scale": []}'])
def test_a_scaler_that_does_not_parse_is_refused(folder: Path, content: str):
    (folder / "scaler.json").write_text(content)
    rehash(folder)
    assert "scaler.json is not a scaler" in sentence(folder)


def test_a_folder_that_is_not_a_bundle_is_refused(tmp_path: Path):
    assert "missing is not a model bundle" in sentence(tmp_path / "missing")
    (tmp_path / "file").write_text("{}")
    assert "file is not a model bundle" in sentence(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    assert "checksums.json is missing" in sentence(tmp_path / "empty")


def test_loading_a_prophet_bundle_imports_no_heavy_library(folder: Path):
    code = (
        "import sys; from pathlib import Path; from flts.models import bundle\n"
        "bundle.load(Path(sys.argv[1]))\n"
        "print(*({'torch', 'prophet', 'cmdstanpy', 'pandas', 'mlflow', 'matplotlib'} & set(sys.modules)))"
    )
    loaded = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []


@pytest.fixture(params=["network", "skip"])
def recurrent(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """The bundle of GRUs with arbitrary weights."""
    import torch

    from flts.models.recurrent.forecaster import RecurrentForecaster
    from flts.models.recurrent.network import RecurrentNet
    from flts.models.recurrent.window_transform import LinearSkipTransform, ScalingTransform, WindowTransform

    torch.manual_seed(0)
    features, targets = DATA.features, DATA.targets
    sizes = {"input_seq_len": 4, "output_seq_len": 2}
    transform: WindowTransform = ScalingTransform(features, targets, DATA.scaler, **sizes)
    if request.param == "skip":
        transform = LinearSkipTransform.learn(
            DATA.frame, features, targets, np.arange(4, 9), np.ones((5, 2)), sampling_seconds=3600.0, **sizes
        )
    nets = [
        RecurrentNet("GRU", transform.width, 8, 2, 2 * len(targets))
        for _ in range(1 if request.param == "network" else 3)
    ]
    gru = RecurrentForecaster(nets, transform, features=features, targets=targets, **sizes)
    bundle.save(tmp_path / "gru", gru, DATA)
    bundle.save(tmp_path / "again", gru, DATA)
    np.save(tmp_path / "forecast.npy", gru.forecast(DATA.frame, np.array([4, 10])))
    return tmp_path / "gru"


def test_a_recurrent_bundle_comes_back_and_repeats_byte_for_byte(recurrent: Path):
    loaded = bundle.load(recurrent)
    expected = np.load(recurrent.parent / "forecast.npy")
    assert np.array_equal(loaded.forecaster.forecast(DATA.frame, np.array([4, 10])), expected)
    assert bundle.digest(recurrent) == bundle.digest(recurrent.parent / "again")


def test_a_pickled_network_is_refused_though_its_checksum_is_right(recurrent: Path):
    import torch

    path = recurrent / "model.safetensors"
    torch.save({"weights": torch.zeros(3)}, path)
    checksums = json.loads((recurrent / "checksums.json").read_text())
    checksums["model.safetensors"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (recurrent / "checksums.json").write_text(json.dumps(checksums))
    assert "model.safetensors is not safetensors: pickles, archives" in sentence(recurrent)


def test_loading_a_recurrent_bundle_does_not_import_prophet(recurrent: Path):
    code = (
        "import sys; from pathlib import Path; from flts.models import bundle\n"
        "bundle.load(Path(sys.argv[1]))\n"
        "print(*({'prophet', 'cmdstanpy', 'pandas', 'mlflow'} & set(sys.modules)))"
    )
    loaded = subprocess.run([sys.executable, "-c", code, recurrent], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []
