"""The dataset of a run: local files, which are copied into the store, or a dataset that is already there."""

import filecmp
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from flts.boundary.files import DATASET_SUFFIXES, split_dataset_name
from flts.diagnostics.system import reason
from flts.errors import BadInputError, ObjectNotFoundError
from flts.params import check_key_name
from flts.store import ObjectStore
from flts.store.file import FileStore

# Parameters for datasets without a file of their own.
RECOMMENDED = Path(__file__).parents[1] / "recommended.toml"


class Dataset(Protocol):
    """A dataset of a run, local or in the store."""

    @property
    def name(self) -> str:
        """Name of the dataset and of its files."""
        ...

    def parameters(self) -> Mapping[str, Any]:
        """Return its pipeline parameters, or the recommended ones if it has none."""
        ...

    def put(self, store: ObjectStore, bucket: str) -> None:
        """Make sure that the store has it."""
        ...


@dataclass(frozen=True)
class LocalDataset:
    """A training file, with a test file and a file of parameters in the same folder, if any."""

    name: str
    train: Path
    test: Path | None
    settings: Path | None

    @classmethod
    def find(cls, path: Path) -> "LocalDataset":
        """Find the files that belong to ``X.csv``: ``X_test.csv`` (or another format) and ``X.toml``.

        Raises:
            BadInputError: The file is missing, is neither CSV nor Parquet, or has a name that keys cannot contain.
        """
        stem, suffix = split_dataset_name(path)
        if suffix.lower() not in DATASET_SUFFIXES:
            *others, last = DATASET_SUFFIXES
            raise BadInputError(f"dataset {path} must end with {', '.join(others)} or {last}")
        if not path.is_file():
            raise BadInputError(
                f"dataset {path} does not exist" if not path.exists() else f"dataset {path} is not a file"
            )
        try:
            check_key_name(stem)
        except ValueError as error:
            sentence = f"dataset {path} cannot be used, because it is named after its file: {stem!r} {error}"
            raise BadInputError(sentence) from None
        tests = [path.with_name(f"{stem}_test{each}") for each in dict.fromkeys((suffix, *DATASET_SUFFIXES))]
        settings = path.with_name(f"{stem}.toml")
        return cls(
            name=stem,
            train=path,
            test=next((test for test in tests if test.is_file()), None),
            settings=settings if settings.is_file() else None,
        )

    def parameters(self) -> Mapping[str, Any]:
        """Return the table ``[parameters]`` of its TOML file, or the recommended parameters if it has none.

        Raises:
            BadInputError: The file is not valid TOML or has no such table.
        """
        settings = self.settings or RECOMMENDED
        try:
            data = settings.read_bytes()
        except OSError as error:
            raise BadInputError(f"{settings} cannot be read: {reason(error)}") from None
        return _read_parameters(str(settings), data)

    def put(self, store: ObjectStore, bucket: str) -> None:
        """Copy both files into the store, unless they are there already.

        Files of an earlier dataset of the same name, in another format or as test data, are removed, so that preprocess
        does not mistake them for parts of this one.
        """
        wanted = {f"{self.name}{split_dataset_name(self.train)[1].lower()}": self.train}
        if self.test is not None:
            wanted[f"{self.name}_test{split_dataset_name(self.test)[1].lower()}"] = self.test
        for stem in (self.name, f"{self.name}_test"):
            for suffix in DATASET_SUFFIXES:
                key = f"{stem}{suffix}"
                if key not in wanted:
                    store.delete(bucket, key)
        for key, path in wanted.items():
            if not (isinstance(store, FileStore) and _same_content(path, store.root / bucket / key)):
                store.upload(bucket, key, path)


@dataclass(frozen=True)
class StoredDataset:
    """A dataset in the store; ``settings`` is the content of its ``<name>.toml`` there, if any."""

    name: str
    settings: bytes | None
    location: str

    @classmethod
    def find(cls, name: str, store: ObjectStore, bucket: str) -> "StoredDataset":
        """Find a dataset by its name.

        Raises:
            BadInputError: The bucket has no dataset of this name.
            ServiceUnavailableError: The store is unreachable.
        """
        try:
            check_key_name(name)
        except ValueError as error:
            raise BadInputError(f"--stored-dataset {name!r} {error}") from None
        stored = next((name + suffix for suffix in DATASET_SUFFIXES if store.head(bucket, name + suffix)), None)
        if stored is None:
            *others, last = (name + suffix for suffix in DATASET_SUFFIXES)
            raise BadInputError(f"bucket {bucket} has neither {', '.join(others)} nor {last}: upload the dataset first")
        try:
            settings = store.get(bucket, f"{name}.toml")[0]
        except ObjectNotFoundError:
            settings = None
        return cls(name, settings, f"{bucket}/{stored}")

    def parameters(self) -> Mapping[str, Any]:
        """Return the table ``[parameters]`` of its TOML file, or the recommended parameters if it has none.

        Raises:
            BadInputError: The file is not valid TOML or has no such table.
        """
        if self.settings is None:
            return _read_parameters(str(RECOMMENDED), RECOMMENDED.read_bytes())
        return _read_parameters(f"object {self.name}.toml", self.settings)

    def put(self, store: ObjectStore, bucket: str) -> None:
        """Do nothing, because the store has it already."""


def _read_parameters(label: str, data: bytes) -> Mapping[str, Any]:
    try:
        document = tomllib.loads(data.decode())
    except ValueError as error:
        place = re.search(r"at (line \d+, column \d+)", str(error))
        raise BadInputError(f"{label} cannot be read as TOML{f', {place[1]}' if place else ''}") from None
    parameters = document.get("parameters")
    if document.keys() != {"parameters"} or not isinstance(parameters, dict):
        raise BadInputError(f"{label} must contain one table, [parameters], and nothing else")
    return parameters


def _same_content(path: Path, kept: Path) -> bool:
    try:
        return filecmp.cmp(path, kept, shallow=False)
    except OSError:  # missing or unreadable: the upload will report it
        return False
