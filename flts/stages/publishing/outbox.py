"""The outbox: a finished training is kept there while MLflow cannot take it."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from flts.boundary.untrusted import check_name, check_size
from flts.contracts import TrainedModel, canonical_json
from flts.errors import BadInputError
from flts.models import bundle
from flts.models.registry import largest_files
from flts.stages.publishing.publication import Publication, TrainingOutcome
from flts.store import ObjectStore
from flts.store.swap import get_or_none
from flts.tracking import DatasetSource, MetricSeries

_BUNDLE, _CONTENT_FILE = "bundle", "content.json"


def _relative_path(name: str) -> str:
    if any(part in ("", ".", "..") for part in name.split("/")):
        raise ValueError("must be a relative path")
    return name


class _Content(BaseModel):
    """``content.json``."""

    bundle: Annotated[str, Field(min_length=1)]
    message: TrainedModel
    metrics: dict[str, int | float]
    report: str
    params: dict[str, Any]
    series: dict[str, list[float]]
    dataset: DatasetSource
    files: dict[Annotated[str, AfterValidator(_relative_path)], str]


class Outbox:
    """A publication in an object store that MLflow did not take.

    ``content.json`` is written last and removed first, so that its presence means that everything is there; it holds
    the bundle's digest.
    """

    def __init__(self, store: ObjectStore, bucket: str, prefix: str, folder: str = "") -> None:
        """Keep it in a bucket of ``store`` under the key ``prefix``; ``folder`` is the folder of a store of files."""
        self.location = f"{folder}{bucket}/{prefix}/{_BUNDLE}/"
        self._store = store
        self._bucket = bucket
        self._prefix = prefix

    def save(self, publication: Publication) -> None:
        """Save a publication in place of an earlier one."""
        self.remove()
        for path in sorted(path for path in publication.bundle.rglob("*") if path.is_file()):
            name = path.relative_to(publication.bundle).as_posix()
            self._store.upload(self._bucket, self._key(_BUNDLE, name), path)
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
        self._store.put(self._bucket, self._key(_CONTENT_FILE), canonical_json(document).encode())

    def load(self, run_id: str, work_dir: Path) -> Publication | None:
        """Return the publication of a run; ``None`` where there is none, or it is damaged."""
        found = get_or_none(self._store, self._bucket, self._key(_CONTENT_FILE))
        if found is None:
            return None
        try:
            content = _Content.model_validate_json(found[0])
            if content.message.run_id != run_id:
                return None
            folder = work_dir / "kept"
            folder.mkdir()
            prefix = self._key(_BUNDLE, "")
            for info in self._store.list(self._bucket, prefix):
                name = info.key.removeprefix(prefix)
                check_name(name, self.location, largest_files(), "model bundle")
                check_size(info.key, info.size, largest_files()[name])
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                self._store.download(self._bucket, info.key, folder / name)
            bundle.verify(folder, sha256=content.bundle)
        except (ValidationError, BadInputError):
            return None
        return Publication(
            # Older versions did not write the digest into the message.
            outcome=TrainingOutcome(
                content.message.model_copy(update={"bundle_sha256": content.bundle}), content.metrics, content.report
            ),
            bundle=folder,
            params=content.params,
            series=[MetricSeries(name, values) for name, values in content.series.items()],
            dataset=content.dataset,
            files=content.files,
        )

    def remove(self) -> None:
        """Remove the publication, if there is one."""
        self._store.delete(self._bucket, self._key(_CONTENT_FILE))
        for info in list(self._store.list(self._bucket, self._key(_BUNDLE, ""))):
            self._store.delete(self._bucket, info.key)

    def _key(self, *names: str) -> str:
        return "/".join((self._prefix, *names))
