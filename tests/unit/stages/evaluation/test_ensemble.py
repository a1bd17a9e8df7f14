"""The ensemble in eval: who is in it and why, what it scores, when it is made, and what the gates say of it."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from flts.contracts import Promotion
from flts.datafiles.processed_parquet import write_processed
from flts.errors import BadInputError, ChecksumMismatchError
from flts.models import bundle
from flts.models.forecasting import one_step
from flts.stage_interface import InputArtifact
from flts.stages.selection import SelectionForecasts
from flts.store.file import FileStore
from flts.timeseries.metrics import Scores, score, target_range
from tests.support.bundles import edit
from tests.support.champions import evaluate, noise, off_by, scored, trained, until, write_metrics
from tests.support.ensembles import SLOTS, EnsembleCandidates, edit_message, noisy

GATES = ("none", "baseline", "champion", "both")
PRODUCTION = "station/current.json"


@pytest.fixture(scope="module")
def data():
    return noise()


@pytest.fixture
def candidates(data, tmp_path):
    return EnsembleCandidates.write(tmp_path / "trained", data, {slot: noisy(data, slot, 1.0) for slot in SLOTS})


@pytest.fixture
def store(tmp_path):
    return FileStore(tmp_path / "store")


def decision(result):
    return Promotion.parse(result.artifacts["promotion_metadata"].content, source="promotion_metadata")


def in_production(store):
    return Promotion.parse(store.get("model-promotion", PRODUCTION)[0], source=PRODUCTION)


def report_of(result):
    return result.artifacts["report"].content


def test_the_mean_of_models_that_err_apart_is_promoted(candidates, data, tmp_path):
    result = candidates.evaluate(tmp_path / "eval")
    told, folder = decision(result), result.files["bundle"]
    mean = np.mean([candidates.predicted[slot] for slot in SLOTS], axis=0)
    assert told.model_type == "ENSEMBLE"
    assert told.composite_score == candidates.score_of(mean) < min(candidates.composite(slot) for slot in SLOTS)
    assert (told.model_uri, told.run_id, told.bundle_sha256) == (
        "bundle",
        bundle.digest(folder)[:32],
        bundle.digest(folder),
    )
    # A moment later than the last of its members.
    assert told.promotion_time == "2025-01-31T12:10:02.000001Z"

    loaded = bundle.load(folder)
    kept = SelectionForecasts.parse(result.files["selection.json"].read_bytes(), source="selection.json")
    assert np.array_equal(kept.matrix(data.targets), mean)
    rows = scored(data)
    alone = [one_step(bundle.load(candidates.folder / slot / "bundle").forecaster, data, rows) for slot in SLOTS]
    assert np.array_equal(one_step(loaded.forecaster, data, rows), np.mean(alone, axis=0))
    assert loaded.config.trained_until == until(data, data.parts.validation_end - 1)
    assert loaded.intervals
    assert loaded.intervals.coverage(data, mean, rows) == told.interval_coverage == pytest.approx(0.9, abs=0.06)
    widths = [bundle.load(candidates.folder / slot / "bundle").intervals.widths for slot in SLOTS]
    assert len(loaded.intervals.widths) == min(len(each) for each in widths) > 1
    assert loaded.intervals.widths[0] < min(each[0] for each in widths)


def test_the_report_shows_its_members_and_why(candidates, data, tmp_path):
    EnsembleCandidates.write(candidates.folder, data, {"prophet": noisy(data, "prophet", 3.0)})
    text = report_of(candidates.evaluate(tmp_path / "eval"))
    assert "ENSEMBLE is promoted." in text
    assert "it has the lowest composite score, " in text
    assert "and clearly worse: " in text


def test_a_model_that_is_clearly_worse_is_no_member(candidates, data, tmp_path):
    EnsembleCandidates.write(candidates.folder, data, {"prophet": noisy(data, "prophet", 3.0)})
    config = bundle.verify(candidates.evaluate(tmp_path / "eval").files["bundle"])
    assert config.hyperparameters == {"members": ["GRU", "LSTM"]}


def test_without_the_parameter_nothing_is_read_and_nothing_changes(candidates, tmp_path):
    for slot in SLOTS:
        (candidates.folder / slot / "selection.json").unlink()
    result = candidates.evaluate(tmp_path / "eval", ensemble=False)
    assert decision(result).model_type == min(SLOTS, key=candidates.composite).upper()
    assert (result.notes, result.files) == ((), {})
    assert "ENSEMBLE" not in report_of(result)


def test_a_mean_that_is_not_the_best_is_not_made(data, tmp_path):
    best = noisy(data, "gru", 1.0)
    biased = best + 0.04 * np.sign(best - data.actual_matrix()[scored(data)])
    candidates = EnsembleCandidates.write(tmp_path / "trained", data, {"gru": best, "lstm": biased})
    result = candidates.evaluate(tmp_path / "eval")
    assert decision(result).model_type == "GRU"
    assert (result.files, result.notes) == ({}, ())
    assert "ENSEMBLE" in report_of(result)  # its score, below that of the winner


def test_a_mean_that_is_tied_with_a_better_model_is_preferred(data, tmp_path):
    """The other model's errors are larger in some rows and smaller in others, and a little larger in the mean."""
    best, actual = noisy(data, "gru", 1.0), data.actual_matrix()[scored(data)]
    larger = np.random.default_rng(3).normal(0.02, 0.15, size=best.shape)
    other = best + larger * (best - actual)
    candidates = EnsembleCandidates.write(tmp_path / "trained", data, {"gru": best, "lstm": other})
    result = candidates.evaluate(tmp_path / "eval")
    assert decision(result).model_type == "ENSEMBLE"
    assert decision(result).composite_score > candidates.composite("gru")
    assert "is preferred to GRU, whose score is" in report_of(result)


def test_an_exact_tie_goes_to_the_single_model(data, tmp_path):
    same = noisy(data, "gru", 1.0)
    candidates = EnsembleCandidates.write(tmp_path / "trained", data, {"gru": same, "lstm": same})
    assert decision(candidates.evaluate(tmp_path / "eval")).model_type == "GRU"


def test_one_model_alone_makes_no_ensemble(data, tmp_path):
    predicted = {"gru": noisy(data, "gru", 1.0), "lstm": noisy(data, "lstm", 9.0)}
    result = EnsembleCandidates.write(tmp_path / "trained", data, predicted).evaluate(tmp_path / "eval")
    assert decision(result).model_type == "GRU"
    assert "no ENSEMBLE: no other model comes close enough to GRU" in result.notes


def test_without_the_training_data_there_is_none_and_a_note(candidates, tmp_path):
    inputs = {
        f"{slot}_{name}": InputArtifact(candidates.folder / slot / file)
        for slot in SLOTS
        for name, file in (("model", "model.json"), ("metrics", "metrics.json"))
    }
    result = candidates.evaluate(tmp_path / "eval", inputs=inputs)
    assert decision(result).model_type != "ENSEMBLE"
    assert "no ENSEMBLE: training_data was not given, which holds the measured values" in result.notes


def test_a_model_without_forecasts_of_the_selection_part_is_no_member(candidates, tmp_path):
    (candidates.folder / "lstm" / "selection.json").unlink()
    result = candidates.evaluate(tmp_path / "eval")
    assert bundle.verify(result.files["bundle"]).hyperparameters == {"members": ["GRU", "PROPHET"]}
    assert "selection.json is missing: the training of LSTM writes it next to the model" in report_of(result)


def test_a_model_that_was_scored_on_other_rows_is_no_member(candidates, data, tmp_path):
    slot = max(SLOTS, key=candidates.composite)
    path = candidates.folder / slot / "selection.json"
    known = SelectionForecasts.parse(path.read_bytes(), source="known")
    rows, predicted = scored(data)[1:], known.matrix(data.targets)[1:]
    path.write_text(SelectionForecasts.of(data, rows, predicted).to_json())
    scores = score(data.actual_matrix()[rows], predicted, unit=target_range(data))
    write_metrics(candidates.folder / slot / "metrics.json", scores)
    edit_message(candidates.folder / slot, test_rmse=scores.rmse, test_mae=scores.mae, test_mse=scores.mse)
    result = candidates.evaluate(tmp_path / "eval")
    members = bundle.verify(result.files["bundle"]).hyperparameters["members"]
    assert len(members) == 2
    assert "was scored on other rows than" in report_of(result)


def test_a_model_without_scores_is_no_member(candidates, tmp_path):
    (candidates.folder / "gru" / "metrics.json").write_text('{"test_rmse": null, "test_mae": null, "test_mse": null}')
    result = candidates.evaluate(tmp_path / "eval")
    assert bundle.verify(result.files["bundle"]).hyperparameters == {"members": ["LSTM", "PROPHET"]}


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_damaged_member_ends_eval_and_is_named(candidates, tmp_path, name):
    path = candidates.folder / "lstm" / "bundle" / name
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ChecksumMismatchError, match=f"trained/lstm/bundle/{name} differs from its SHA-256"):
        candidates.evaluate(tmp_path / "eval")


def test_models_with_other_windows_have_no_mean_and_the_best_of_them_is_promoted(candidates, tmp_path):
    folder = candidates.folder / "lstm"
    edit(folder / "bundle", "config.json", lambda config: config.update(output_seq_len=2))
    edit_message(folder, bundle_sha256=bundle.digest(folder / "bundle"))
    result = candidates.evaluate(tmp_path / "eval")
    assert decision(result).model_type == min(SLOTS, key=candidates.composite).upper()
    assert any(
        note.startswith("no ENSEMBLE: GRU and LSTM have no mean: output_seq_len is 1 in one, 2 in the other")
        for note in result.notes
    )


def test_data_of_other_models_is_an_error(candidates, data, tmp_path):
    write_processed(candidates.folder / "processed_data.parquet", replace(data, config_hash="d" * 64))
    with pytest.raises(BadInputError, match="but the candidates were trained on"):
        candidates.evaluate(tmp_path / "eval")


def test_a_repeated_evaluation_is_the_same_promotion(candidates, store, tmp_path):
    first = candidates.evaluate(tmp_path / "eval", store=store)
    again = candidates.evaluate(tmp_path / "again", store=store)
    assert decision(first) == decision(again) == in_production(store)
    assert (first.cached, again.cached) == (False, True)


def test_an_ensemble_of_models_that_were_compared_before_replaces_the_best_of_them(candidates, store, tmp_path):
    candidates.evaluate(tmp_path / "before", store=store, ensemble=False)
    result = candidates.evaluate(tmp_path / "eval", store=store)
    assert in_production(store).model_type == decision(result).model_type == "ENSEMBLE"


@pytest.fixture(scope="module")
def champions(data, tmp_path_factory):
    """Promoted models that did not learn from the selection part; ``old`` does not say so, and kept no forecasts."""
    folder, honest = tmp_path_factory.mktemp("champions"), until(data, data.parts.validation_end - 1)
    made = {
        name: trained(folder / name, data, off_by(data, offset), minute=1, trained_until=when)
        for name, offset, when in (("better", 0.0, honest), ("worse", 9.0, honest), ("not comparable", 0.0, None))
    }
    (made["not comparable"].folder / "selection.json").unlink()
    return made


@pytest.fixture(scope="module")
def pair(data, tmp_path_factory):
    """Two members that are worse than ``better``, as is their mean."""
    predicted = {slot: noisy(data, slot, 3.0) for slot in ("gru", "prophet")}
    return EnsembleCandidates.write(tmp_path_factory.mktemp("pair"), data, predicted)


@pytest.mark.parametrize(
    ("gate", "baselines", "champion"), [*product(GATES, (True, False), ("none", "worse", "better", "not comparable"))]
)
def test_truth_table(pair, champions, store, tmp_path, gate, baselines, champion):
    own = pair.score_of(np.mean(list(pair.predicted.values()), axis=0))
    for slot in pair.predicted:
        known = json.loads((pair.folder / slot / "metrics.json").read_text())
        scores = Scores(*(known[f"test_{kind}"] for kind in ("rmse", "mae", "mse")))
        level = own * (2 if baselines else 0.5)
        write_metrics(pair.folder / slot / "metrics.json", scores, persistence=level, linear=level)
    if champion in champions:
        evaluate(tmp_path / "before", champions[champion], store, gate="none")

    result = pair.evaluate(tmp_path / "eval", store=store, gate=gate)

    held = (gate in ("baseline", "both") and not baselines) or (gate in ("champion", "both") and champion == "better")
    told = decision(result)
    assert (told.model_type, told.status) == ("ENSEMBLE", "HELD" if held else "PROMOTED")
    assert bool(told.reason) is (gate != "none")
    if not held:
        assert in_production(store) == told
    elif champion in champions:
        assert in_production(store).run_id == champions[champion].message.run_id
    assert any("incomparable is promote" in note for note in result.notes) is (
        gate in ("champion", "both") and champion == "not comparable"
    )


def test_eval_makes_it_without_the_libraries_of_its_members(candidates, tmp_path):
    """As its image has none of some of them: nothing is loaded that could forecast."""
    code = (
        "import sys\n"
        "from flts.commands import main\n"
        "try: main('eval')\n"
        "except SystemExit as ended: assert not ended.code, ended.code\n"
        "print(*(name for name in ('torch', 'lightgbm', 'prophet', 'safetensors', 'mlflow') if name in sys.modules))\n"
    )
    inputs = [
        f"--{slot}-{name}={candidates.folder / slot / file}"
        for slot in SLOTS
        for name, file in (("model", "model.json"), ("metrics", "metrics.json"))
    ]
    command = [sys.executable, "-c", code, *inputs, f"--training-data={candidates.folder / 'processed_data.parquet'}"]
    done = subprocess.run(
        [*command, "--ensemble", "--output-dir", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        env={**os.environ, "USE_KFP": "2"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].strip() == ""
    told = Promotion.read(tmp_path / "out" / "selected_model.json")
    assert told.model_type == "ENSEMBLE"
    assert bundle.load(tmp_path / "out" / told.model_uri, sha256=told.bundle_sha256).config.model_type == "ENSEMBLE"
    assert Path(tmp_path / "out" / "selection.json").is_file()
