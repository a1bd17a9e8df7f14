"""The outbox returns a publication unchanged, or, where it is damaged, not at all."""

import json
from pathlib import Path
from typing import Any

import pytest

from flts.contracts import TrainedModel
from flts.models import bundle
from flts.stages.publishing.outbox import Outbox
from flts.stages.publishing.publication import Publication, TrainingOutcome
from flts.store.file import FileStore
from flts.tracking import DatasetSource, MetricSeries
from tests.support.bundles import prophet_bundle

CONTENT = "key/content.json"


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "store")


@pytest.fixture
def publication(tmp_path: Path, store: FileStore) -> Publication:
    """A publication that is on the shelf ``key``."""
    folder = prophet_bundle(tmp_path / "trained")
    message = TrainedModel(
        model_type="PROPHET",
        config_hash="c" * 64,
        run_id="abc",
        status="SUCCESS",
        model_uri="runs:/abc/PROPHET",
        test_rmse=0.1,
        test_mae=0.1,
        test_mse=None,
        train_start="2025-01-31T11:00:00Z",
        train_end="2025-01-31T12:00:00Z",
        identifier="run-001",
        artifact_uri="",
        operation="Trained: PROPHET",
        bundle_sha256=bundle.digest(folder),
    )
    kept = Publication(
        outcome=TrainingOutcome(message, {"test_rmse": 0.1, "best_epoch": 2}, "<html>"),
        bundle=folder,
        params={"seed": 42, "growth": "flat"},
        series=[MetricSeries("train_loss", [0.5, 0.25])],
        dataset=DatasetSource("demo", "0" * 64, "file:///demo.csv", 40),
        files={"plots/loss.svg": "<svg>"},
    )
    Outbox(store, "bucket", "key").save(kept)
    return kept


def load(store: FileStore, tmp_path: Path) -> Publication | None:
    (tmp_path / "work").mkdir()
    return Outbox(store, "bucket", "key").load("abc", tmp_path / "work")


def test_a_kept_publication_is_loaded_again(store: FileStore, tmp_path: Path, publication: Publication):
    loaded = load(store, tmp_path)
    assert loaded is not None
    assert json.dumps(dict(loaded.outcome.metrics)) == '{"best_epoch": 2, "test_rmse": 0.1}'  # whole numbers stay whole
    assert loaded.outcome == publication.outcome
    assert (loaded.params, loaded.series, loaded.dataset, loaded.files) == (
        publication.params,
        publication.series,
        publication.dataset,
        publication.files,
    )
    assert bundle.load(loaded.bundle).digest == publication.outcome.message.bundle_sha256


def test_a_publication_of_an_older_version_gets_the_digest(store: FileStore, tmp_path: Path, publication: Publication):
    edit(store, lambda document: document["message"].pop("bundle_sha256"))
    loaded = load(store, tmp_path)
    assert loaded is not None
    assert loaded.outcome.message.bundle_sha256 == bundle.digest(publication.bundle)


def edit(store: FileStore, change: Any) -> None:
    document = json.loads(store.get("bucket", CONTENT)[0])
    change(document)
    store.put("bucket", CONTENT, json.dumps(document).encode())


DAMAGE = {
    "nested": lambda document: document.update(params=json.loads("[" * 300 + "]" * 300)),
    "another bundle": lambda document: document.update(bundle="0" * 64),
    "no bundle": lambda document: document.update(bundle=""),
    "no metrics": lambda document: document.pop("metrics"),
    "no message": lambda document: document.update(message=[]),
    "a file elsewhere": lambda document: document.update(files={"../../evil": "text"}),
    "an absolute file": lambda document: document.update(files={"/etc/evil": "text"}),
    "half a data set": lambda document: document.update(dataset={"name": "demo"}),
}


@pytest.mark.usefixtures("publication")
@pytest.mark.parametrize("change", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_publication_is_not_loaded(store: FileStore, tmp_path: Path, change: Any):
    edit(store, change)
    assert load(store, tmp_path) is None


@pytest.mark.usefixtures("publication")
@pytest.mark.parametrize("name", ["more.json", "folder/config.json", "config.json"])
def test_a_bundle_with_anything_else_is_not_there(store: FileStore, tmp_path: Path, name: str):
    store.put("bucket", f"key/bundle/{name}", b"{}")
    assert load(store, tmp_path) is None
