"""Where a finished training waits while MLflow cannot take it."""

import json
from dataclasses import asdict
from pathlib import Path

from flts.contracts import TrainedModel, canonical_json
from flts.errors import BadInputError, ObjectNotFoundError
from flts.models import bundle
from flts.stages.training.claim import CLAIM_BUCKET
from flts.stages.training.publication import Outcome, Publication
from flts.store import ObjectStore
from flts.tracking import DatasetSource, Series

_BUNDLE, _CONTENT_FILE = "bundle", "content.json"


class Shelf:
    """The place in an object store for a publication that MLflow did not take.

    ``content.json`` is written last and removed first, so that with it everything is there; it names the bundle's
    digest.
    """

    def __init__(self, store: ObjectStore, prefix: str, name: str) -> None:
        """Keep it in ``store`` under the key ``prefix``; ``name`` is what people call the place."""
        self.place = f"{name}{CLAIM_BUCKET}/{prefix}/{_BUNDLE}/"
        self._store = store
        self._prefix = prefix

    def save(self, publication: Publication) -> None:
        """Keep a publication, in the place of what was kept before."""
        self.remove()
        for path in sorted(publication.bundle.iterdir()):
            self._store.upload(CLAIM_BUCKET, self._key(_BUNDLE, path.name), path)
        outcome = publication.outcome
        document = {
            "bundle": bundle.digest(publication.bundle),
            "message": json.loads(outcome.message.to_json()),
            "metrics": dict(outcome.metrics),
            "report": outcome.report,
            "params": dict(publication.params),
            "series": {one.name: list(one.values) for one in publication.series},
            "dataset": asdict(publication.dataset),
            "files": dict(publication.files),
        }
        self._store.put(CLAIM_BUCKET, self._key(_CONTENT_FILE), canonical_json(document).encode())

    def load(self, run_id: str, work_dir: Path) -> Publication | None:
        """Return what is kept for a run; ``None`` when there is nothing, or it was damaged."""
        try:
            data, _ = self._store.get(CLAIM_BUCKET, self._key(_CONTENT_FILE))
        except ObjectNotFoundError:
            return None
        document = json.loads(data)
        message = TrainedModel.model_validate(document["message"])
        if message.run_id != run_id:
            return None
        folder = work_dir / "kept"
        folder.mkdir()
        prefix = self._key(_BUNDLE, "")
        for info in self._store.list(CLAIM_BUCKET, prefix):
            self._store.download(CLAIM_BUCKET, info.key, folder / info.key.removeprefix(prefix))
        try:
            bundle.verify(folder)
        except BadInputError:
            return None
        if bundle.digest(folder) != document["bundle"]:
            return None
        return Publication(
            outcome=Outcome(message, document["metrics"], document["report"]),
            bundle=folder,
            params=document["params"],
            series=[Series(name, values) for name, values in document["series"].items()],
            dataset=DatasetSource(**document["dataset"]),
            files=document["files"],
        )

    def remove(self) -> None:
        """Remove what is kept; no error when there is nothing."""
        self._store.delete(CLAIM_BUCKET, self._key(_CONTENT_FILE))
        for info in list(self._store.list(CLAIM_BUCKET, self._key(_BUNDLE, ""))):
            self._store.delete(CLAIM_BUCKET, info.key)

    def _key(self, *names: str) -> str:
        return "/".join((self._prefix, *names))
