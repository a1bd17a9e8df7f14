"""The ensemble: its forecasts are the mean of its members', wherever they are made, and nothing damaged is loaded."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from flts.errors import BadInputError, ChecksumMismatchError
from flts.models import bundle
from flts.models.base import Forecaster
from flts.models.ensemble.bundling import MemberBundle, check_alike, save_ensemble
from flts.models.ensemble.forecaster import EnsembleForecaster
from flts.models.files import LARGEST_DOCUMENTS
from flts.models.forecasting import forecast_steps
from flts.models.intervals import Intervals
from flts.models.stepwise import StepwiseForecast
from flts.models.volatility import Volatility
from flts.timeseries.frame import Frame
from tests.support.bundles import DATA, edit, ensemble_bundle, rehash

MEMBERS = ("gru", "prophet")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of the mean of a GRU and a Prophet, and beside it theirs."""
    return ensemble_bundle(tmp_path_factory.mktemp("ensemble") / "ensemble")


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may damage."""
    return Path(shutil.copytree(made, tmp_path / "ensemble"))


def members(made: Path) -> list[Forecaster]:
    return [bundle.load(made.parent / name).forecaster for name in MEMBERS]


def sentence(folder: Path) -> str:
    with pytest.raises(BadInputError) as caught:
        bundle.load(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def rehash_all(folder: Path) -> None:
    """Write checksums that fit the files, of the members and of the whole, as somebody who means to deceive would."""
    for name in MEMBERS:
        rehash(folder / "members" / name)
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    bundle.seal(folder, [name for name in files if name != "checksums.json"])


def test_its_forecasts_are_the_mean_of_its_members_in_a_batch_and_in_windows_alone(made: Path):
    ensemble, origins = bundle.load(made).forecaster, np.array([4, 6, 9, 10])
    gru, prophet = members(made)
    expected = (gru.forecast(DATA.frame, origins) + prophet.forecast(DATA.frame, origins)) / 2
    forecast = ensemble.forecast(DATA.frame, origins)
    assert np.array_equal(forecast, expected)
    for origin, block in zip(origins, forecast, strict=True):
        start = origin - 4
        window = Frame(
            DATA.frame.time[start:origin], {name: values[start:origin] for name, values in DATA.frame.columns.items()}
        )
        assert np.allclose(ensemble.forecast(window, np.array([4]))[0], block, rtol=1e-5)


def test_its_first_recursive_block_is_the_mean_and_every_way_of_forecasting_agrees(made: Path):
    ensemble = bundle.load(made).forecaster
    whole = forecast_steps(ensemble, DATA, start=len(DATA), steps=6)
    stepwise = StepwiseForecast(ensemble, DATA, 6)
    while not stepwise.done:
        StepwiseForecast.advance([stepwise])
    assert np.allclose(stepwise.forecast().values, whole.values, rtol=1e-6)
    first = np.mean([forecast_steps(each, DATA, start=len(DATA), steps=2).values for each in members(made)], axis=0)
    assert np.array_equal(whole.values[:2], first)


def test_it_needs_what_any_of_its_members_needs():
    class Stub:
        model_type, input_seq_len, output_seq_len, targets = "GRU", 4, 1, ("y",)

        def __init__(self, history_rows: int, *features: str) -> None:
            self.history_rows, self.features = history_rows, features

    ensemble = EnsembleForecaster([Stub(4, "y", "x"), Stub(30, "y", "z")])  # type: ignore[list-item]
    assert (ensemble.history_rows, ensemble.features) == (30, ("y", "x", "z"))


def test_its_configuration_names_its_members(made: Path):
    config = bundle.verify(made)
    assert (config.model_type, config.targets, config.input_seq_len, config.output_seq_len) == (
        "ENSEMBLE",
        DATA.targets,
        4,
        2,
    )
    assert config.hyperparameters == {"members": ["GRU", "PROPHET"]}
    assert set(config.features) == set(DATA.features)
    described = json.loads((made / "ensemble.json").read_text())["members"]
    assert described == [
        {"model_type": name.upper(), "bundle_sha256": bundle.digest(made.parent / name)} for name in MEMBERS
    ]
    assert bundle.load(made).scaler.to_dict() == DATA.scaler.to_dict()
    assert bundle.extras(made) == ["prophet", "torch"]
    assert bundle.extras(made.parent / "gru") == ["torch"]


def test_the_same_members_are_the_same_bytes(made: Path, tmp_path: Path):
    again = [MemberBundle.verified(made.parent / name, f"run-{name}", None) for name in MEMBERS]
    save_ensemble(tmp_path / "again", again, None)
    assert bundle.digest(tmp_path / "again") == bundle.digest(made)


@pytest.mark.parametrize(
    "name", ["checksums.json", "config.json", "scaler.json", "model.safetensors"], ids=lambda name: name.split(".")[0]
)
def test_a_damaged_member_is_named(folder: Path, name: str):
    path = folder / "members" / "gru" / name
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ChecksumMismatchError, match=f"members/gru/{name}, of the ensemble's member GRU, differs"):
        bundle.load(folder)


def test_a_missing_file_of_a_member_is_named(folder: Path):
    (folder / "members" / "prophet" / "prophet.json").unlink()
    assert sentence(folder) == f"{folder}/members/prophet/prophet.json is missing from the model bundle"


def test_a_member_whose_own_checksums_lie_is_named(folder: Path):
    (folder / "members" / "gru" / "scaler.json").write_text("{}")
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    bundle.seal(folder, [name for name in files if name != "checksums.json"])
    assert sentence(folder).startswith("member GRU of an ensemble is damaged: ")


def test_another_model_in_the_place_of_a_member_is_found(folder: Path):
    edit(folder / "members" / "prophet", "prophet.json", lambda model: model["models"]["z"].update(y_scale=2.0))
    rehash_all(folder)
    assert "was announced" in sentence(folder)


@pytest.mark.parametrize(
    ("field", "value"),
    [("config_hash", "1" * 64), ("output_seq_len", 3), ("model_type", "LSTM"), ("targets", ["y", "z"])],
)
def test_members_that_do_not_fit_together_are_refused(folder: Path, field: str, value: object):
    edit(folder / "members" / "gru", "config.json", lambda config: config.update({field: value}))
    rehash_all(folder)
    assert f"member GRU of an ensemble has {field} {value if field != 'targets' else ''}" in sentence(folder)


def test_an_ensemble_within_an_ensemble_is_refused(folder: Path, made: Path):
    shutil.copytree(made, folder / "members" / "ensemble")
    assert "members/ensemble is not part of the model bundle" in sentence(folder)
    with pytest.raises(BadInputError, match="is an ensemble itself, and cannot be a member of another"):
        MemberBundle.verified(made, "run", None)


def test_a_member_within_a_member_is_refused(folder: Path, made: Path):
    shutil.copytree(made / "members" / "gru", folder / "members" / "gru" / "members" / "gru")
    assert "members/gru/members is not part of the model bundle" in sentence(folder)


def test_an_ensemble_that_declares_other_members_than_it_holds_is_refused(folder: Path):
    edit_members = json.loads((folder / "ensemble.json").read_text())
    edit_members["members"].reverse()
    (folder / "ensemble.json").write_text(json.dumps(edit_members))
    rehash_all(folder)
    assert "names PROPHET, GRU, but the bundle holds other members" in sentence(folder)


@pytest.mark.parametrize("given", ["../../gru", "/etc", "GRU/.."])
def test_a_member_is_never_looked_for_elsewhere(folder: Path, given: str):
    described = json.loads((folder / "ensemble.json").read_text())
    described["members"][0]["model_type"] = given
    (folder / "ensemble.json").write_text(json.dumps(described))
    rehash_all(folder)
    assert "is not a description of an ensemble: field 'members.0.model_type'" in sentence(folder)


def test_no_ensemble_is_without_members_and_no_other_bundle_has_them(folder: Path, made: Path, tmp_path: Path):
    shutil.rmtree(folder / "members")
    bundle.seal(folder, ["config.json", "scaler.json", "ensemble.json"])
    assert "ensemble.json goes with the files of at least one member" in sentence(folder)
    gru = Path(shutil.copytree(made.parent / "gru", tmp_path / "gru"))
    shutil.copytree(made / "members" / "prophet", gru / "members" / "prophet")
    files = sorted(path.relative_to(gru).as_posix() for path in gru.rglob("*") if path.is_file())
    bundle.seal(gru, [name for name in files if name != "checksums.json"])
    assert "must be a JSON object with the SHA-256 of" in sentence(gru)


@pytest.mark.parametrize("name", ["members", "members/gru", "members/gru/config.json"])
def test_a_link_is_never_followed(folder: Path, tmp_path: Path, name: str):
    moved = tmp_path / "moved"
    (folder / name).rename(moved)
    (folder / name).symlink_to(moved)
    assert f"{folder}/{name} is " in sentence(folder)


def test_a_file_of_a_member_that_is_too_large_is_named_before_it_is_read(folder: Path, monkeypatch):
    monkeypatch.setitem(LARGEST_DOCUMENTS, "config.json", 10)
    assert "config.json has " in sentence(folder)


def test_what_does_not_belong_to_a_member_is_named(folder: Path):
    (folder / "members" / "gru" / "more.pkl").write_bytes(b"\x80\x05.")
    assert "members/gru/more.pkl is not part of the model bundle: only members/gru/checksums.json" in sentence(folder)


def test_models_with_other_windows_have_no_mean(made: Path, tmp_path: Path):
    other = Path(shutil.copytree(made.parent / "prophet", tmp_path / "prophet"))
    edit(other, "config.json", lambda config: config.update(input_seq_len=5))
    found = [MemberBundle.verified(made.parent / "gru", "a", None), MemberBundle.verified(other, "b", None)]
    with pytest.raises(BadInputError, match="GRU and PROPHET have no mean: input_seq_len is 4 in one, 5 in the other"):
        check_alike(found)


def test_intervals_widen_as_those_of_the_members_do():
    def intervals(*widths: float) -> Intervals:
        return Intervals(0.9, ("y",), Volatility(np.array([1.0])), np.array(widths)[:, None], ((1.0,),))

    measured = intervals(2.0)
    widened = measured.widening_like([intervals(1.0, 2.0, 4.0, 8.0), intervals(2.0, 3.0, 4.0)])
    assert widened.widths[:, 0].tolist() == [2.0, 2.0 * (2 + 1.5) / 2, 2.0 * (4 + 2) / 2]
    assert measured.widening_like([]) == measured
    assert measured.widening_like([intervals(0.0, 1.0)]).widths[:, 0].tolist() == [2.0, 2.0]
