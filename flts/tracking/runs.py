"""Trainings as MLflow runs, each with one model; repeated calls leave one copy."""

import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from flts.boundary.untrusted import allowed_folders, check_name, check_size
from flts.contracts import canonical_json
from flts.errors import BadInputError, ServiceUnavailableError
from flts.models.registry import largest_files
from flts.observability.redaction import redact, redact_values
from flts.tracking.access import artifact_root, database_path, open_client
from flts.tracking.mlflow_errors import EXISTS, INVALID, MISSING, ignoring_codes, translate_errors
from flts.tracking.mlmodel import BUNDLE, ModelFromCode, copy_bundle, local_bundle
from flts.tracking.records import DatasetSource, LoggedModel, MetricSeries
from flts.tracking.retries import MlflowCaller, PersistentClient

FINGERPRINT_TAG = "flts.fingerprint"

_METRICS_PER_BATCH = 800
_DIGEST_LENGTH = 36


class Tracking:
    """An open MLflow.

    Every method raises ``ServiceUnavailableError`` when MLflow cannot be reached after retries, and ``BadInputError``
    when it refuses the credentials.
    """

    def __init__(self, tracking_uri: str, *, wait_seconds: int | None = None) -> None:
        """Open ``http(s)://host:port`` or ``sqlite:///file.db``; a missing database is created.

        Args:
            tracking_uri: MLflow's address.
            wait_seconds: Seconds to wait for an MLflow that is away; ``None`` where the caller waits.

        Raises:
            BadInputError: The address has a scheme that FLTS does not know, or its database cannot be used.
        """
        self.uri = tracking_uri
        self.wait_seconds = wait_seconds
        self._call = MlflowCaller(tracking_uri, wait_seconds)
        self._client = PersistentClient(open_client(tracking_uri), self._call)

    def experiment(self, name: str) -> str:
        """Return the id of an experiment, which is created when missing; ``BadInputError`` when it was deleted."""
        database = database_path(self.uri)
        location = artifact_root(database) if database else None
        with translate_errors(self.uri):
            for _ in range(2):
                if found := self._client.get_experiment_by_name(name):
                    if found.lifecycle_stage != "active":
                        raise BadInputError(
                            f"MLflow experiment {name!r} was deleted: restore it (mlflow experiments restore -x "
                            f"{found.experiment_id}) or choose another experiment_name"
                        )
                    return str(found.experiment_id)
                with ignoring_codes(EXISTS):  # another process was first
                    return str(self._client.create_experiment(name, location))
        raise ServiceUnavailableError(f"MLflow at {self.uri} neither returns experiment {name!r} nor creates it")

    def has_experiment(self, experiment_id: str) -> bool:
        """Tell whether an experiment with this id exists and is not deleted."""
        with translate_errors(self.uri), ignoring_codes(MISSING | INVALID):
            return str(self._client.get_experiment(experiment_id).lifecycle_stage) == "active"
        return False

    def create_run(self, experiment_id: str, name: str, tags: Mapping[str, str]) -> str:
        """Begin a run and return its id."""
        with translate_errors(self.uri):
            run = self._client.create_run(experiment_id, run_name=redact(name), tags=redact_values(tags))
            return str(run.info.run_id)

    def find_runs(self, experiment_id: str, fingerprint: str) -> list[str]:
        """Return the ids of the runs of an experiment that have this fingerprint, oldest first."""
        with translate_errors(self.uri):
            found = self._client.search_runs(
                [experiment_id],
                f"tags.`{FINGERPRINT_TAG}` = '{fingerprint}'",
                order_by=["attributes.start_time ASC"],
            )
        return [str(run.info.run_id) for run in found]

    def status(self, run_id: str) -> str | None:
        """Return ``RUNNING``, ``FINISHED``, ``FAILED`` or ``KILLED``; ``None`` for a run that is missing or deleted."""
        with translate_errors(self.uri), ignoring_codes(MISSING | INVALID):
            info = self._client.get_run(run_id).info
            return str(info.status) if info.lifecycle_stage == "active" else None
        return None

    def set_status(self, run_id: str, status: str) -> None:
        """Set a run's status; all but ``RUNNING`` end it."""
        with translate_errors(self.uri):
            if status == "RUNNING":
                self._client.update_run(run_id, status)
            else:
                self._client.set_terminated(run_id, status)

    def delete_run(self, run_id: str) -> None:
        """Delete a run; no error when there is none."""
        with translate_errors(self.uri), ignoring_codes(MISSING):
            self._client.delete_run(run_id)

    def log(
        self,
        run_id: str,
        *,
        params: Mapping[str, object],
        metrics: Mapping[str, float],
        series: Sequence[MetricSeries],
        dataset: DatasetSource,
        model: LoggedModel,
    ) -> None:
        """Log parameters, metrics and training data of a run; repeating the call changes nothing.

        Args:
            run_id: The run.
            params: Parameters by name, at most 100.
            metrics: Final metrics by name; MLflow also shows them with the model.
            series: Metrics over epochs. Values that are not finite are left out: JSON cannot hold them.
            dataset: The training data.
            model: The run's model.
        """
        from mlflow.entities import Metric, Param

        with translate_errors(self.uri):
            # The start of the run is the time of every value, so that a repetition writes equal rows.
            moment = self._client.get_run(run_id).info.start_time
            points = [
                Metric(name, float(value), moment, 0, model_id=model.model_id, run_id=run_id)
                for name, value in metrics.items()
            ]
            points += [
                Metric(one.name, float(value), moment, step)
                for one in series
                for step, value in enumerate(one.values, start=1)
            ]
            self._client.log_batch(run_id, params=[Param(name, redact(str(value))) for name, value in params.items()])
            points = [point for point in points if math.isfinite(point.value)]
            for start in range(0, len(points), _METRICS_PER_BATCH):
                self._client.log_batch(run_id, metrics=points[start : start + _METRICS_PER_BATCH])
        self._log_dataset(run_id, dataset)

    def log_folder(self, run_id: str, folder: Path) -> None:
        """Log everything in a folder as artifacts of a run."""
        with translate_errors(self.uri):
            self._upload(str(self._client.get_run(run_id).info.artifact_uri), folder)

    def log_text(self, run_id: str, name: str, text: str) -> None:
        """Log a text as an artifact of a run."""
        with translate_errors(self.uri):
            self._client.log_text(run_id, text, name)

    def read_artifacts(self, run_id: str, names: Sequence[str]) -> dict[str, str]:
        """Read text artifacts from the root folder of a run; missing ones are left out."""
        with translate_errors(self.uri), tempfile.TemporaryDirectory() as folder:
            found = {file.path for file in self._client.list_artifacts(run_id)}
            root = self._client.get_run(run_id).info.artifact_uri
            return {
                name: self._download(f"{root}/{name}", Path(folder)).read_text(encoding="utf-8")
                for name in names
                if name in found
            }

    def models(self, run_id: str, name: str) -> list[LoggedModel]:
        """Return the models of a run that have this name, oldest first; none for a run that is missing."""
        with translate_errors(self.uri):
            found = []
            with ignoring_codes(MISSING):
                experiment_id = self._client.get_run(run_id).info.experiment_id
                found = self._client.search_logged_models(
                    [experiment_id],
                    f"source_run_id = '{run_id}' AND name = '{name}'",
                    order_by=[{"field_name": "creation_timestamp", "ascending": True}],
                )
        return [LoggedModel(one.model_id, one.artifact_location, str(one.status) == "READY") for one in found]

    def has_bundle(self, model: LoggedModel) -> bool:
        """Tell whether the files of a model exist."""
        with translate_errors(self.uri), ignoring_codes(MISSING):
            return bool(self._client.list_logged_model_artifacts(model.model_id, BUNDLE))
        return False

    def upload_model(self, run_id: str, name: str, model: ModelFromCode, work_dir: Path) -> LoggedModel:
        """Upload a model of a run, which is valid from ``keep_model`` on. ``work_dir`` is for temporary files."""
        with translate_errors(self.uri):
            experiment_id = self._client.get_run(run_id).info.experiment_id
            created = self._client.create_logged_model(experiment_id, name=name, source_run_id=run_id)
            folder = work_dir / created.model_id
            model.write(folder, run_id=run_id, model_id=created.model_id)
            self._upload(str(created.artifact_location), folder)
        return LoggedModel(created.model_id, created.artifact_location, ready=False)

    def keep_model(self, run_id: str, name: str, location: str) -> None:
        """Make the model at ``location`` the only one of its name in a run, and end the run."""
        for model in self.models(run_id, name):
            if model.location != location:
                self.delete_model(model)
                continue
            with translate_errors(self.uri):
                if not model.ready:
                    self._client.finalize_logged_model(model.model_id, "READY")
                self._log_output(run_id, model.model_id)
        self.set_status(run_id, "FINISHED")

    def delete_model(self, model: LoggedModel) -> None:
        """Delete a model and its files; no error when there is none."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        with translate_errors(self.uri), ignoring_codes(MISSING):
            self._client.delete_logged_model(model.model_id)
            # In a store that cannot delete, the files stay without a reference.
            with suppress(Exception):
                get_artifact_repository(model.location, tracking_uri=self.uri).delete_artifacts()

    def download_bundle(self, run_id: str, name: str, destination: Path) -> Path:
        """Download the bundle of a run's model into ``destination`` and return its folder.

        Raises:
            BadInputError: There is no such model, or it holds no bundle: files of other names, links, or files that
                are too large, which are not fetched.
        """
        ready = [model for model in self.models(run_id, name) if model.ready]
        if not ready:
            raise BadInputError(f"MLflow at {self.uri} has no model runs:/{run_id}/{name}")
        model, label = ready[-1], f"runs:/{run_id}/{name}"
        sizes: dict[str, int] = {}
        with translate_errors(self.uri), ignoring_codes(MISSING):
            sizes = dict(self._bundle_files(model, "", label))
        if not sizes:
            raise BadInputError(f"the model {label} has no {BUNDLE}: only models that FLTS logged have one")
        if folder := local_bundle(model.location):
            return copy_bundle(folder, destination)
        for file, size in sizes.items():
            check_size(f"{label}/{file}", size, largest_files()[file])
        folder = destination / BUNDLE.rpartition("/")[2]
        with translate_errors(self.uri):
            for file in sizes:
                target = (folder / file).parent
                target.mkdir(parents=True, exist_ok=True)
                self._download(f"{model.location}/{BUNDLE}/{file}", target)
        return folder

    def _bundle_files(self, model: LoggedModel, within: str, label: str) -> Iterator[tuple[str, int]]:
        """Yield name and size of the files of a bundle; only folders that a bundle may have are looked into."""
        largest = largest_files()
        for file in self._client.list_logged_model_artifacts(model.model_id, f"{BUNDLE}/{within}".rstrip("/")):
            name = f"{within}/{file.path.rpartition('/')[2]}".lstrip("/")
            if file.is_dir and name in allowed_folders(largest):
                yield from self._bundle_files(model, name, label)
                continue
            check_name(name, label, largest, "model bundle")
            yield name, file.file_size or 0

    def _upload(self, location: str, folder: Path) -> None:
        """Upload a folder's files to the artifacts, with retries for each: together, one failure would repeat all."""
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        repository = get_artifact_repository(location, tracking_uri=self.uri)
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            place = file.parent.relative_to(folder).as_posix()
            self._call(partial(repository.log_artifact, str(file), None if place == "." else place), "write to")

    def _download(self, address: str, destination: Path) -> Path:
        # Not with the client's own method, whose errors do not tell whether a retry may help.
        from mlflow.artifacts import download_artifacts

        return self._call(
            lambda: Path(download_artifacts(address, dst_path=str(destination), tracking_uri=self.uri)), "read"
        )

    def _log_output(self, run_id: str, model_id: str) -> None:
        from mlflow.entities import LoggedModelOutput
        from mlflow.exceptions import MlflowException

        def is_there() -> bool:
            outputs = self._client.get_run(run_id).outputs
            return model_id in {one.model_id for one in (outputs.model_outputs if outputs else [])}

        if is_there():
            return
        try:
            self._client.log_outputs(run_id, [LoggedModelOutput(model_id, step=0)])
        except MlflowException:
            # The response to a successful request was lost, and MLflow refuses the repeated one.
            if not is_there():
                raise

    def _log_dataset(self, run_id: str, dataset: DatasetSource) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag
        from mlflow.exceptions import MlflowException

        entry = DatasetInput(
            Dataset(
                name=dataset.name,
                digest=dataset.sha256[:_DIGEST_LENGTH],
                source_type="http" if dataset.uri.startswith("http") else "local",
                source=canonical_json({"uri": redact(dataset.uri)}),
                profile=canonical_json({"num_rows": dataset.rows}),
            ),
            [InputTag("mlflow.data.context", "training")],
        )
        with translate_errors(self.uri):
            try:
                self._client.log_inputs(run_id, [entry])
            except MlflowException:
                # Trainers that end at the same time may write the same new dataset; the second attempt finds it.
                self._client.log_inputs(run_id, [entry])
