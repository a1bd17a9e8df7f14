"""Bundles with right checksums and absurd content: each ends at once, in one sentence that names the file."""

import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flts.errors import BadInputError, ChecksumMismatchError
from flts.models import bundle
from flts.models.files import LARGEST_DOCUMENTS
from flts.models.registry import largest_files
from tests.support.bundles import edit, gru_bundle, prophet_bundle, rehash, skip_bundle

NESTED = '{"a":' * 100_000


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    prophet_bundle(folder / "prophet")
    gru_bundle(folder / "gru")
    skip_bundle(folder / "skip")
    return folder


@pytest.fixture
def prophet(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made / "prophet", tmp_path / "bundle"))


@pytest.fixture
def gru(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made / "gru", tmp_path / "bundle"))


@pytest.fixture
def skip(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made / "skip", tmp_path / "bundle"))


def sentence(folder: Path, **given: Any) -> str:
    """Load, and return what was said after a few seconds of computing at most."""
    begin = time.process_time()
    with pytest.raises(BadInputError) as caught:
        bundle.load(folder, **given)
    assert time.process_time() - begin < 5
    said = str(caught.value)
    assert "\n" not in said
    assert "pydantic" not in said
    assert "Error(" not in said
    assert len(said) < 500
    return said


def put(path: str, value: object) -> Any:
    """Return a change that puts ``value`` at a ``/``-separated path of a document."""

    def change(document: Any) -> None:
        *way, last = path.split("/")
        for part in way:
            document = document[int(part) if isinstance(document, list) else part]
        document[int(last) if isinstance(document, list) else last] = value

    return change


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("input_seq_len", 0, "field 'input_seq_len' must be at least 1, got 0"),
        ("input_seq_len", -5, "field 'input_seq_len' must be at least 1, got -5"),
        ("input_seq_len", 10**12, "field 'input_seq_len' must be at most 10000, got 1000000000000"),
        ("input_seq_len", 4.5, "field 'input_seq_len' must be a whole number, got 4.5"),
        ("input_seq_len", [[4]], "field 'input_seq_len' must be a whole number"),
        ("output_seq_len", 0, "field 'output_seq_len' must be at least 1, got 0"),
        ("output_seq_len", 10**9, "field 'output_seq_len' must be at most 10000"),
        ("features", [], "field 'features' must have at least 1 entries"),
        ("features", ["z", ""], "field 'features.1' must not be empty"),
        ("features", ["z", "z", "y"], "names column 'z' twice in field 'features'"),
        ("targets", ["y", "y"], "names column 'y' twice in field 'targets'"),
        ("targets", "y", "field 'targets' must be a list"),
        ("targets", ["y", 7], "field 'targets.1' must be text, got 7"),
        ("target_range", {"z": 12.0}, "a field 'target_range' for exactly the columns of field 'targets'"),
        ("target_range", {"z": 0, "y": 1}, "field 'target_range.z' must be greater than 0, got 0"),
        ("target_range", {"z": "wide", "y": 1}, "field 'target_range.z' must be a number, got wide"),
        ("target_range", {"z": float("inf"), "y": 1}, "field 'target_range.z' must be a finite number, got inf"),
        ("sampling_seconds", 0, "field 'sampling_seconds' must be at least 1e-06, got 0"),
        ("sampling_seconds", -1, "field 'sampling_seconds' must be at least 1e-06, got -1"),
        ("sampling_seconds", 1e300, "field 'sampling_seconds' must be at most 3162240000"),
        ("sampling_seconds", float("nan"), "field 'sampling_seconds' must be a finite number, got nan"),
        ("parts", {"fit_end": 9, "validation_end": 8, "rows": 10}, "must have 0 <= fit_end <= validation_end <= rows"),
        ("parts", {"fit_end": -1, "validation_end": 8, "rows": 10}, "must have 0 <= fit_end"),
        ("parts", [1, 2, 3], "field 'parts' must be a JSON object"),
        ("model_type", "../../GRU", "field 'model_type' must be of the form"),
        ("config_hash", "current.json", "field 'config_hash' must be at most 128 letters, digits, '-' and '_'"),
        ("hyperparameters", [], "field 'hyperparameters' must be a JSON object"),
    ],
)
def test_an_absurd_configuration_is_named(prophet: Path, field: str, value: object, said: str):
    edit(prophet, "config.json", put(field, value))
    told = sentence(prophet)
    assert "config.json is not a bundle configuration that this version reads: " in told
    assert said in told


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("hidden_size", 0, "field 'hidden_size' must be at least 1, got 0"),
        ("hidden_size", 10**9, "field 'hidden_size' must be at most 8192, got 1000000000"),
        ("hidden_size", "wide", "field 'hidden_size' must be a whole number, got wide"),
        ("hidden_size", None, "field 'hidden_size' must be a whole number, got None"),
        ("num_layers", 0, "field 'num_layers' must be at least 1, got 0"),
        ("num_layers", -3, "field 'num_layers' must be at least 1, got -3"),
        ("num_layers", 10**7, "field 'num_layers' must be at most 64, got 10000000"),
        ("members", 0, "field 'members' must be at least 1, got 0"),
        ("members", 10**9, "field 'members' must be at most 64, got 1000000000"),
        ("linear_skip", 7, "field 'linear_skip' must be true or false, got 7"),
    ],
)
def test_an_absurd_network_is_named(gru: Path, field: str, value: object, said: str):
    edit(gru, "config.json", put(f"hyperparameters/{field}", value))
    assert f"config.json has no hyperparameters of a GRU: {said}" in sentence(gru)


def test_a_network_that_needs_absurd_memory_says_how_much(gru: Path):
    edit(gru, "config.json", put("hyperparameters", {"hidden_size": 8192, "num_layers": 64}))
    assert sentence(gru) == (
        "a GRU of 3 inputs, num_layers 64, hidden_size 8192 and 4 outputs has 25,571,729,412 weights (95.3 GiB): "
        "at most 268,435,456 are accepted"
    )


def test_the_memory_of_a_network_is_that_of_all_its_members(gru: Path):
    edit(gru, "config.json", put("hyperparameters", {"hidden_size": 2048, "num_layers": 1, "members": 64}))
    assert sentence(gru) == (
        "64 networks, each a GRU of 3 inputs, num_layers 1, hidden_size 2048 and 4 outputs have 807,796,992 weights "
        "(3.0 GiB): at most 268,435,456 are accepted"
    )


def test_a_network_of_other_size_than_its_weights_is_named(gru: Path):
    edit(gru, "config.json", put("hyperparameters/hidden_size", 9))
    assert "model.safetensors does not hold the weights of a GRU with 3 features, 2 layers of 9 units" in sentence(gru)


def test_a_network_that_forecasts_what_it_does_not_see_is_named(gru: Path):
    edit(gru, "config.json", lambda config: config.update(targets=["w", "y"], target_range={"w": 1.0, "y": 1.0}))
    assert "forecasts column 'w', which is not among its features" in sentence(gru)


@pytest.mark.parametrize(("name", "value"), [("members", 3), ("members", 1), ("linear_skip", False), ("num_layers", 1)])
def test_weights_of_other_networks_than_it_has_are_named(skip: Path, name: str, value: object):
    edit(skip, "config.json", put(f"hyperparameters/{name}", value))
    assert "model.safetensors does not hold the weights of " in sentence(skip)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("framing.columns", lambda values: values[:3]),
        ("framing.columns", lambda values: values * 0),
        ("framing.scale", lambda values: values * np.nan),
        ("framing.skip.coefficients", lambda values: values[:, :, 1:]),
        ("framing.skip.coefficients", lambda values: values + np.inf),
        ("framing.skip.scale", lambda values: -values),
        ("framing.skip.alphas", lambda values: values[None]),
        ("framing.skip.centre", None),
    ],
)
def test_a_skip_of_other_shape_or_without_finite_numbers_is_named(skip: Path, name: str, change: Any):
    from safetensors.numpy import load_file, save_file

    tensors = load_file(skip / "model.safetensors")
    values = tensors.pop(name)
    if change:
        tensors[name] = np.ascontiguousarray(change(values))
    save_file(tensors, skip / "model.safetensors")
    rehash(skip)
    assert sentence(skip).endswith(
        "model.safetensors does not hold the weights of 2 networks, each a GRU with 3 features, 2 layers of 8 units "
        "and 4 outputs next to a linear skip"
    )


@pytest.mark.parametrize("value", [np.nan, -np.inf, np.float64(1e300)])
def test_weights_that_are_not_finite_are_named(gru: Path, value: float):
    from safetensors.numpy import load_file, save_file

    tensors = load_file(gru / "model.safetensors")
    tensors["head.bias"] = np.array([0.0, value, 0.0, 0.0], type(value))
    save_file(tensors, gru / "model.safetensors")
    rehash(gru)
    assert sentence(gru).endswith("model.safetensors holds weights that are not finite numbers")


@pytest.mark.parametrize("content", [b"{", b"\x10\0\0\0\0\0\0\0{", b"\xff\xff\xff\xff\xff\xff\xff\x7f{"])
def test_weights_that_are_no_safetensors_are_named(gru: Path, content: bytes):
    (gru / "model.safetensors").write_bytes(content)
    rehash(gru)
    assert "model.safetensors" in sentence(gru)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("phi", {"y": 0.5, "z": 2}, "field 'phi.z' must be at most 1, got 2"),
        ("phi", {"y": 0.5, "z": -1}, "field 'phi.z' must be at least 0, got -1"),
        ("phi", [0.5], "field 'phi' must be a JSON object"),
    ],
)
def test_absurd_hyperparameters_of_a_prophet_are_named(prophet: Path, path: str, value: object, said: str):
    edit(prophet, "config.json", put(f"hyperparameters/{path}", value))
    assert f"config.json has no hyperparameters of a PROPHET: {said}" in sentence(prophet)


@pytest.mark.parametrize("value", [{"y": 0.5}, {"y": 0.5, "z": 0.5, "w": 0.5}, {}])
def test_a_prophet_needs_a_phi_of_every_target(prophet: Path, value: object):
    edit(prophet, "config.json", put("hyperparameters/phi", value))
    assert "config.json must hold a phi of z, y each, and of nothing else" in sentence(prophet)


@pytest.mark.parametrize("value", [None, [], "text", {"y": {}}])
def test_a_prophet_needs_a_model_of_every_target(prophet: Path, value: object):
    edit(prophet, "prophet.json", put("models", value))
    assert "prophet.json must hold a model of z, y each, and of nothing else" in sentence(prophet)


@pytest.mark.parametrize("value", [None, [], "text", {"y": {}}])
def test_a_prophet_needs_a_correction_of_every_target_or_of_none(prophet: Path, value: object):
    edit(prophet, "prophet.json", put("corrections", value))
    assert "prophet.json must hold a correction of z, y each, and of nothing else" in sentence(prophet)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("columns", 7, "field 'columns' must be a list, got 7"),
        ("columns", ["x"], "must have one centre and one scale for each column and for the residual"),
        ("calendar", ["min_of_day_sin"], "must have 9 coefficients for each step"),
        ("calendar", ["full_moon"], "names 'full_moon', which is not a time feature, in field 'calendar'"),
        ("centre", [], "must have one centre and one scale"),
        ("centre", ["high"], "field 'centre.0' must be a number, got high"),
        ("scale", [0], "field 'scale.0' must be greater than 0, got 0"),
        ("coefficients", [[[0.0] * 8]], "must have one alpha for each step"),
        ("coefficients", [[[0.0] * 8], []], "must have 8 coefficients for each step"),
        ("coefficients", [[[0.0] * 8], [[0.0] * 7]], "must have 8 coefficients for each step"),
        ("coefficients", {}, "field 'coefficients' must be a list"),
        ("alphas", [[1.0], [1.0], [1.0]], "must have one alpha for each step"),
    ],
)
def test_an_absurd_correction_is_named(prophet: Path, path: str, value: object, said: str):
    edit(prophet, "prophet.json", put(f"corrections/z/{path}", value))
    told = sentence(prophet)
    assert "prophet.json holds no correction of a Prophet: " in told
    assert said in told


def test_a_correction_from_a_column_that_is_not_among_the_features_is_named(prophet: Path):
    changed = {"columns": ["x"], "centre": [0, 0], "scale": [1, 1], "coefficients": [[[0] * 15]] * 2}
    edit(prophet, "prophet.json", lambda content: content["corrections"]["z"].update(changed))
    assert "prophet.json forecasts from column 'x', which is not among its features" in sentence(prophet)


SEASON = {"period": 7, "fourier_order": 3, "mode": "additive"}


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("growth", "logistic", "field 'growth' must be 'linear' or 'flat', got logistic"),
        ("start", None, "field 'start' must be a number, got None"),
        ("t_scale", 0, "field 't_scale' must be greater than 0, got 0"),
        ("y_scale", -2, "field 'y_scale' must be greater than 0, got -2"),
        ("y_scale", {"a": {"b": []}}, "field 'y_scale' must be a number"),
        ("changepoints_t", [0.0, 1.0], "must have as many changes"),
        ("changepoints_t", [[0.0], [1.0]], "field 'changepoints_t.0' must be a number"),
        ("changepoints_t", [0.0] * 100_001, "field 'changepoints_t' must have at most 100000 entries"),
        ("params", [], "field 'params' must be a JSON object"),
        ("params/k", [[1.0, 2.0]], "field 'params.k' must be a number"),
        ("params/m", "a", "field 'params.m' must be a number, got a"),
        ("params/beta", [[0.0, 0.0]], "must have as many coefficients in field 'params.beta'"),
        ("seasonalities", [["weekly"], {}], "must name exactly the seasons that it describes"),
        ("seasonalities", [["weekly"], {"weekly": SEASON}], "must have as many coefficients"),
        ("seasonalities", [["w"], {"w": SEASON | {"period": 0}}], "period' must be greater than 0, got 0"),
        ("seasonalities", [["w"], {"w": SEASON | {"fourier_order": 10**9}}], "fourier_order' must be at most 1000"),
        ("seasonalities", [["w"], {"w": SEASON | {"mode": "wild"}}], "mode' must be 'additive' or 'multiplicative'"),
        ("seasonalities", 7, "field 'seasonalities' must be a list"),
        ("country_holidays", "Atlantis", "country_holidays 'Atlantis' is not a country whose holidays are known"),
        ("country_holidays", 7, "field 'country_holidays' must be text, got 7"),
        ("train_holiday_names", "[" * 1000, "field 'train_holiday_names' must be JSON, not nested deeply"),
    ],
)
def test_an_absurd_prophet_is_named(prophet: Path, path: str, value: object, said: str):
    edit(prophet, "prophet.json", put(f"models/z/{path}", value))
    assert said in sentence(prophet)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("kind", "EvilScaler", "field 'kind' must be 'MinMaxScaler', 'StandardScaler', 'RobustScaler'"),
        ("columns", ["y", "x"], "must have one center and one scale for each column"),
        ("columns", ["y", "y", "z"], "must have one center and one scale for each column, and name no column twice"),
        ("center", [0.0], "must have one center and one scale for each column"),
        ("center", [0.0, "a", 0.0], "field 'center.1' must be a number, got a"),
        ("scale", [1.0, 0.0, 1.0], "field 'scale.1' must be greater than 1e-200, got 0.0"),
        ("scale", [1.0, -1.0, 1.0], "field 'scale.1' must be greater than 1e-200, got -1.0"),
        ("scale", [1.0, float("inf"), 1.0], "scaler.json is not a scaler: JSON is expected"),
        ("scale", {}, "field 'scale' must be a list"),
    ],
)
def test_an_absurd_scaler_is_named(prophet: Path, path: str, value: object, said: str):
    edit(prophet, "scaler.json", put(path, value))
    told = sentence(prophet)
    assert "scaler.json is not a scaler: " in told
    assert said in told


@pytest.mark.parametrize("name", ["config.json", "scaler.json", "prophet.json"])
@pytest.mark.parametrize(
    "content",
    [NESTED, '{"a":' * 500 + "1" + "}" * 500, '{"a": NaN}', '{"a": "\\ud800"}', "{"],
    ids=["never closed", "closed", "NaN", "half a character", "cut off"],
)
def test_malformed_json_is_one_sentence(prophet: Path, name: str, content: str):
    (prophet / name).write_text(content)
    rehash(prophet)
    assert name in sentence(prophet)


@pytest.mark.parametrize(
    "content",
    ['{"a":' * 10_000, "[" * 60_000, '{"config.json": [[[]]]}', "\ufeff{}", "null"],
    ids=["objects", "lists", "no text", "byte order mark", "null"],
)
def test_malformed_checksums_are_one_sentence(prophet: Path, content: str):
    (prophet / "checksums.json").write_text(content)
    assert "checksums.json must be a JSON object with the SHA-256 of" in sentence(prophet)


@pytest.mark.parametrize("name", ["config.json", "scaler.json", "prophet.json", "checksums.json"])
def test_a_file_that_is_too_large_is_not_even_hashed(prophet: Path, name: str):
    os.truncate(prophet / name, 60 << 30)  # sparse
    told = sentence(prophet)
    assert f"/{name} has 64,424,509,440 bytes: at most {largest_files()[name]:,} are accepted" in told


@pytest.mark.parametrize("name", ["config.json", "scaler.json", "prophet.json", "checksums.json"])
@pytest.mark.parametrize("kind", ["a link", "a folder", "a device"])
def test_only_regular_files_are_read(prophet: Path, name: str, kind: str):
    path = prophet / name
    if kind == "a link":
        path.rename(prophet.parent / name)
        path.symlink_to(prophet.parent / name)
    else:
        path.unlink()
        path.mkdir() if kind == "a folder" else os.mkfifo(path)
    assert f"/{name} is {kind}, expected a regular file" in sentence(prophet)


def test_a_file_name_that_is_not_utf8_is_escaped(prophet: Path):
    (prophet / os.fsdecode(b"caf\xe9.json")).write_bytes(b"{}")
    assert "/caf\\udce9.json is not part of the model bundle: only checksums.json," in sentence(prophet)


@pytest.mark.parametrize("name", ["\0", "a" * 300, "a/" * 3000], ids=["zero byte", "long name", "long path"])
def test_an_impossible_name_of_a_folder_is_one_sentence(tmp_path: Path, name: str):
    with pytest.raises(BadInputError):
        bundle.load(tmp_path / name)


def test_the_digest_that_a_message_announces_is_verified(prophet: Path):
    right = bundle.digest(prophet)
    assert bundle.load(prophet, sha256=right).digest == right
    edit(prophet, "config.json", put("input_seq_len", 3))
    with pytest.raises(ChecksumMismatchError, match=f"has SHA-256 [0-9a-f]{{64}}, but {right} was announced"):
        bundle.load(prophet, sha256=right)


def test_a_bundle_that_readers_would_refuse_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(LARGEST_DOCUMENTS, "config.json", 100)
    with pytest.raises(BadInputError, match=r"config\.json has \d+ bytes: at most 100 are accepted"):
        prophet_bundle(tmp_path / "bundle")
