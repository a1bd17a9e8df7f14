"""flts-promotions on a store with real bundles, and on a real MLflow: tables, JSON, rollback, every kind of damage."""

import json
import os
import shutil
import subprocess
import sys
import tomllib

import pytest

from flts.contracts import Promotion, TrainedModel
from flts.datafiles.processed_parquet import write_processed
from flts.lazy import resolve
from flts.models.registry import REQUIRED_MODELS
from flts.promotion import promote
from flts.stage_interface import Context, InputArtifact
from flts.stages import STAGES
from flts.store.file import FileStore
from tests.support.champions import evaluate, noise, off_by, trained, until, write_metrics
from tests.support.training import Place

BUCKET = "model-promotion"
POINTER = "station/current.json"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two promotions, a better one later, and one that the baselines held, with their bundles."""
    folder, data = tmp_path_factory.mktemp("made"), noise()
    honest = until(data, data.parts.validation_end - 1)
    write_processed(folder / "data.parquet", data)
    store = FileStore(folder / "store")
    for minute, (name, offset) in enumerate((("first", 2.0), ("second", 1.0), ("third", 1.5)), start=1):
        model = trained(folder / name, data, off_by(data, offset), minute=minute, trained_until=honest)
        write_metrics(model.folder / "metrics.json", model.scores, persistence=0.001, linear=0.001)
        gate = {"first": "none", "second": "champion", "third": "both"}[name]
        evaluate(folder / f"eval-{name}", model, store, folder / "data.parquet", gate)
    return folder


class Production:
    """A copy of the store and the bundles, which a test may damage."""

    def __init__(self, folder, root):
        self.folder = folder
        self.root = root
        self.store = FileStore(folder / "store")

    def run(self, command, *arguments, store=True, **environ):
        where = ["--store", f"file://{self.folder}/store"] if store else []
        return subprocess.run(
            [sys.executable, "-m", "flts.administration.promotions", command, *where, *arguments],
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(self.root), "USER": "ana"} | environ,
            capture_output=True,
            text=True,
            check=False,
        )

    def json(self, command, *arguments):
        done = self.run(command, "--json", *arguments)
        assert done.stderr == ""
        return json.loads(done.stdout)

    def history(self, run_id):
        return next(entry for entry in self.json("list") if entry["run_id"] == run_id)

    def rewrite(self, key, **fields):
        message = json.loads(self.store.get(BUCKET, key)[0]) | fields
        self.store.put(BUCKET, key, json.dumps(message).encode())


@pytest.fixture
def place(made, tmp_path, root):
    """The promotions' paths are absolute: the store is copied, and messages name the copied bundles."""
    shutil.copytree(made, tmp_path / "place")
    here = Production(tmp_path / "place", root)
    for info in list(here.store.list(BUCKET)):
        data, _ = here.store.get(BUCKET, info.key)
        here.store.put(BUCKET, info.key, data.replace(str(made).encode(), str(here.folder).encode()))
    return here


def test_the_history_is_a_table_the_latest_first(place):
    done = place.run("list")
    assert (done.returncode, done.stderr) == (0, "")
    head, *lines = done.stdout.splitlines()
    assert head.split() == ["ID", "Time", "Identifier", "Model", "Score", "RMSE", "Coverage", "Decision", "Reason"]
    decisions = [line for line in lines if "station" in line]
    assert ["held" in decisions[0], "promoted, in production" in decisions[1], "promoted" in decisions[2]] == [True] * 3
    assert "in production" not in decisions[2]
    assert "2025-01-31 12:00:02" in decisions[1]
    assert "PROPHET beats the champion PROPHET (run run-of-first) on the same 120 rows" in decisions[1]


def test_the_history_as_json_has_every_field(place):
    first, second, third = place.json("list")
    assert [entry["status"] for entry in (first, second, third)] == ["PROMOTED", "PROMOTED", "HELD"]
    assert [entry["in_production"] for entry in (first, second, third)] == [False, True, False]
    assert second["champion_run_id"] == "run-of-first"
    assert "does not beat persistence" in third["reason"]
    assert len(second["id"]) == 12


def test_an_empty_store_has_no_promotions_yet(tmp_path, root):
    done = Production(tmp_path, root).run("list")
    assert (done.returncode, done.stdout) == (0, "model-promotion has no promotions yet.\n")


def test_show_tells_what_is_in_production_or_one_decision(place):
    done = place.run("show")
    assert done.returncode == 0
    assert "run-of-second" in done.stdout
    held = place.history("run-of-third")["id"]
    assert place.json("show", held[:6])["run_id"] == "run-of-third"


def test_a_rollback_brings_the_earlier_model_back(place):
    done = place.run("rollback", "--why", "drifts since Monday")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("station is back to PROPHET (run run-of-first, promoted as ")
    promotion = Promotion.parse(place.store.get(BUCKET, POINTER)[0], source=POINTER)
    assert (promotion.run_id, promotion.operation, promotion.by) == ("run-of-first", "Rollback", "ana")
    assert promotion.reason == "drifts since Monday"
    assert "rolled back, in production" in place.run("list").stdout
    assert place.run("verify").returncode == 0


def test_a_held_model_is_promoted_by_its_id(place):
    wanted = place.history("run-of-third")["id"]
    told = place.json("rollback", "--to", wanted, "--why", "the linear baseline was wrong", "--by", "eva")
    assert (told["run_id"], told["operation"], told["by"]) == ("run-of-third", "Rollback", "eva")
    assert place.history("run-of-third")["status"] == "HELD"  # the history stays as it was written


def test_everything_agrees(place):
    done = place.run("verify")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "3 promotions, 3 pointers and 3 models checked: everything agrees.\n"


def damages():
    def pointer_gone(place):
        place.store.delete(BUCKET, POINTER)

    def pointer_unreadable(place):
        place.store.put(BUCKET, POINTER, b"{")

    def pointer_behind(place):
        first = place.history("run-of-first")["key"]
        place.store.put(BUCKET, POINTER, place.store.get(BUCKET, first)[0])

    def pointer_of_a_held_one(place):
        held = place.history("run-of-third")["key"]
        place.store.put(BUCKET, POINTER, place.store.get(BUCKET, held)[0])

    def pointer_without_history(place):
        place.store.delete(BUCKET, place.history("run-of-second")["key"])

    def pointer_changed(place):
        place.rewrite(POINTER, composite_score=0.0)

    def history_unreadable(place):
        place.store.put(BUCKET, place.history("run-of-first")["key"], b"[]")

    def history_elsewhere(place):
        place.rewrite(place.history("run-of-first")["key"], identifier="other")

    def bundle_gone(place):
        shutil.rmtree(place.folder / "first" / "bundle")

    def bundle_damaged(place):
        (place.folder / "first" / "bundle" / "scaler.json").write_text("{}")

    def bundle_exchanged(place):
        shutil.rmtree(place.folder / "first" / "bundle")
        shutil.copytree(place.folder / "third" / "bundle", place.folder / "first" / "bundle")

    return {
        "is missing": pointer_gone,
        "current.json does not name a promotion": pointer_unreadable,
        "was promoted later": pointer_behind,
        "which was held": pointer_of_a_held_one,
        "which is not in the history": pointer_without_history,
        "current.json differs from": pointer_changed,
        "is not a promotion": history_unreadable,
        "has identifier other, but its key says station": history_elsewhere,
        "is not a model bundle": bundle_gone,
        "differs from its SHA-256": bundle_damaged,
        "its bundle has SHA-256": bundle_exchanged,
    }


@pytest.mark.slow
@pytest.mark.parametrize("sentence", damages())
def test_verify_finds(place, sentence):
    damages()[sentence](place)
    done = place.run("verify")
    assert (done.returncode, done.stderr) == (2, "")
    *problems, summary = done.stdout.splitlines()
    assert any(sentence in problem for problem in problems), done.stdout
    assert summary.endswith(f"{len(problems)} problems.")
    assert place.json("verify")["problems"] == problems


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("rollback",), "the following arguments are required: --why"),
        (("rollback", "--why", " "), "--why must not be empty"),
        (("rollback", "--why", "x", "--to", "nothing"), "the history has no promotion 'nothing'"),
        (("rollback", "--why", "x", "--identifier", "nobody"), "nothing is in production for nobody"),
        (("show", "nothing"), "the history has no promotion 'nothing'"),
        (("show", "--identifier", "nobody"), "names no promotion of the history"),
        (("list", "--bucket", "NOT A BUCKET"), "NOT A BUCKET"),
        (("list", "--colour"), "unrecognized arguments: --colour"),
        (("undo",), "invalid choice: 'undo'"),
    ],
)
def test_errors_are_one_sentence(place, arguments, sentence):
    done = place.run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("flts-promotions: ")
    assert sentence in line


def test_the_store_and_whose_promotions_come_from_the_environment_too(place):
    assert "--store is required" in place.run("list", store=False).stderr
    found = place.run("list", store=False, GATEWAY_URL=f"file://{place.folder}/store", IDENTIFIER="station")
    assert found.stdout == place.run("list").stdout


def test_an_unknown_store_address_is_refused(place):
    done = place.run("list", "--store", "ftp://x")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)


def test_where_several_are_in_production_one_must_be_named(place):
    second = Promotion.parse(place.store.get(BUCKET, POINTER)[0], source=POINTER)
    promote(place.store, second.model_copy(update={"identifier": "other"}), ["x"], BUCKET)
    done = place.run("rollback", "--why", "x")
    assert "--identifier is required to choose an owner: one of other, station" in done.stderr
    assert place.json("show", "--identifier", "other")["identifier"] == "other"


@pytest.mark.parametrize("command", [(), ("list",), ("show",), ("rollback",), ("verify",)])
def test_help_loads_nothing_heavy(root, command):
    code = f"""
import sys
from flts.administration.promotions import build_parser
try:
    build_parser().parse_args([*{command!r}, "--help"])
except SystemExit:
    pass
print(*sorted({{"numpy", "rich", "mlflow", "boto3", "jinja2"}} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    *help_text, loaded = done.stdout.splitlines()
    assert loaded == ""
    assert help_text[0].startswith("usage: flts-promotions")


def test_the_package_declares_the_command(root):
    scripts = tomllib.loads((root / "pyproject.toml").read_text())["project"]["scripts"]
    module, _, name = scripts["flts-promotions"].partition(":")
    assert callable(resolve(f"{module}:{name}"))


@pytest.fixture(scope="module")
def tracked(tmp_path_factory):
    """Trainings in MLflow that eval promoted."""
    folder = tmp_path_factory.mktemp("tracked")
    data = noise(400)
    write_processed(folder / "data.parquet", data)
    place = Place(folder / "data.parquet", f"sqlite:///{folder}/mlflow.db", f"file://{folder}/store")
    inputs = {"training_data": InputArtifact(folder / "data.parquet")}
    for slot in (model.slot for model in REQUIRED_MODELS.values()):
        result = place.train(f"train-{slot}", identifier="station", input_seq_len=3, refit=False)
        for name in ("model", "metrics"):
            (folder / f"{slot}_{name}").write_text(result.artifacts[name].content)
            inputs[f"{slot}_{name}"] = InputArtifact(folder / f"{slot}_{name}")
    params = STAGES["eval"].params(config_hash="", identifier="station")
    (folder / "work").mkdir()
    store, uri = FileStore(folder / "store"), place.tracking_uri
    STAGES["eval"].run(params, Context(inputs, folder / "work", store=store, tracking_uri=uri))
    return folder, inputs


@pytest.mark.slow
def test_verify_compares_with_mlflow_and_a_challenger_meets_a_champion_there(tracked, root, tmp_path):
    folder, inputs = tracked
    uri = f"sqlite:///{folder}/mlflow.db"
    place = Production(folder, root)
    assert "1 in MLflow not checked" in place.run("verify").stdout
    done = place.run("verify", MLFLOW_TRACKING_URI=uri)
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 models checked: everything agrees." in done.stdout

    # Another training of the same data: its run holds the forecasts that the gate needs.
    training = Place(folder / "data.parquet", uri, f"file://{folder}/store")
    again = training.train("train-prophet", identifier="station", input_seq_len=3, refit=False, n_changepoints=1)
    message = TrainedModel.parse(again.artifacts["model"].content, source="model")
    better = dict(inputs)
    for slot in ("gru", "lstm"):
        (tmp_path / f"{slot}_metrics").write_text("{}")
        better[f"{slot}_metrics"] = InputArtifact(tmp_path / f"{slot}_metrics")
    for name in ("model", "metrics"):
        (tmp_path / name).write_text(again.artifacts[name].content)
        better[f"prophet_{name}"] = InputArtifact(tmp_path / name)
    (tmp_path / "work").mkdir()
    params = STAGES["eval"].params(config_hash="", identifier="station", gate="champion")
    context = Context(better, tmp_path / "work", store=place.store, tracking_uri=uri)
    result = STAGES["eval"].run(params, context)
    told = Promotion.parse(result.artifacts["promotion_metadata"].content, source="promotion_metadata")
    assert (told.run_id, told.gate) == (message.run_id, "champion")
    assert "on the same 60 rows" in (told.reason or "")

    key = place.json("list")[-1]["key"]
    place.rewrite(key, test_rmse=0.0)
    done = place.run("verify", "--mlflow-tracking-uri", uri)
    assert done.returncode == 2
    assert "but the promotion has 0.0" in done.stdout
    place.rewrite(key, run_id="0" * 32, model_uri=f"runs:/{'0' * 32}/PROPHET")
    done = place.run("verify", "--mlflow-tracking-uri", uri)
    assert f"of run {'0' * 32}: MLflow has no such run" in done.stdout
    done = place.run("rollback", "--why", "x", "--to", place.json("list")[-1]["id"], "--mlflow-tracking-uri", uri)
    assert (done.returncode, done.stdout) == (2, "")
    assert "cannot be promoted again: " in done.stderr
