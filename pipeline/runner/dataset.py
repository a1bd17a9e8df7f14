"""The dataset of a run: files of this machine, which are put into the store, or one that lies there already."""

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
from flts.params import check_name
from flts.store import ObjectStore
from flts.store.file import FileStore

# What to train with where a dataset brings no parameters of its own.
RECOMMENDED = Path(__file__).parents[1] / "recommended.toml"


class Dataset(Protocol):
    """What a run needs to know of its dataset, wherever that lies."""

    @property
    def name(self) -> str:
        """Its name, which is that of its files."""
        ...

    def parameters(self) -> Mapping[str, Any]:
        """Return the pipeline parameters that it brings; without any, those recommended."""
        ...

    def put(self, store: ObjectStore, bucket: str) -> None:
        """See to it that the store has it."""
        ...


@dataclass(frozen=True)
class LocalDataset:
    """A training file, its test part beside it if there is one, and a file of parameters beside it if there is one."""

    name: str
    train: Path
    test: Path | None
    settings: Path | None

    @classmethod
    def find(cls, path: Path) -> "LocalDataset":
        """Find what belongs to ``X.csv``: ``X_test.csv`` (or another format) and ``X.toml``.

        Raises:
            BadInputError: There is no such file, it is neither CSV nor Parquet, or keys cannot hold its name.
        """
        stem, suffix = split_dataset_name(path)
        if suffix.lower() not in DATASET_SUFFIXES:
            *others, last = DATASET_SUFFIXES
            raise BadInputError(f"dataset {path} must end with {', '.join(others)} or {last}")
        if not path.is_file():
            raise BadInputError(f"dataset {path} does not exist" if not path.exists() else f"dataset {path} is no file")
        try:
            check_name(stem)
        except ValueError as error:
            sentence = f"dataset {path} cannot be used, because its name is that of its file: {stem!r} {error}"
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
        """Return the pipeline parameters of the settings file's table ``[parameters]``; without one, those recommended.

        Raises:
            BadInputError: The file is not such TOML.
        """
        settings = self.settings or RECOMMENDED
        try:
            data = settings.read_bytes()
        except OSError as error:
            raise BadInputError(f"{settings} cannot be read: {reason(error)}") from None
        return _read_parameters(str(settings), data)

    def put(self, store: ObjectStore, bucket: str) -> None:
        """Copy both files into the store, of which a folder may have them already.

        What an earlier dataset of the same name left, in the other format or as a test part, is removed: preprocess
        must not take it for a part of this one.
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
            if not (isinstance(store, FileStore) and _same(path, store.root / bucket / key)):
                store.upload(bucket, key, path)


@dataclass(frozen=True)
class StoredDataset:
    """A dataset that the store has already; ``settings`` is its ``<name>.toml`` there, if there is one."""

    name: str
    settings: bytes | None
    place: str

    @classmethod
    def find(cls, name: str, store: ObjectStore, bucket: str) -> "StoredDataset":
        """Find a dataset by its name.

        Raises:
            BadInputError: The bucket has none of this name.
            ServiceUnavailableError: The store is out of reach.
        """
        try:
            check_name(name)
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
        """Return the pipeline parameters of the table ``[parameters]`` beside it; without one, those recommended.

        Raises:
            BadInputError: The object is not such TOML.
        """
        if self.settings is None:
            return _read_parameters(str(RECOMMENDED), RECOMMENDED.read_bytes())
        return _read_parameters(f"object {self.name}.toml", self.settings)

    def put(self, store: ObjectStore, bucket: str) -> None:
        """Leave everything as it is: the store has it."""


def _read_parameters(label: str, data: bytes) -> Mapping[str, Any]:
    try:
        document = tomllib.loads(data.decode())
    except ValueError as error:
        place = re.search(r"at (line \d+, column \d+)", str(error))
        raise BadInputError(f"{label} cannot be read as TOML{f', {place[1]}' if place else ''}") from None
    parameters = document.get("parameters")
    if document.keys() != {"parameters"} or not isinstance(parameters, dict):
        raise BadInputError(f"{label} must hold one table, [parameters]")
    return parameters


def _same(path: Path, kept: Path) -> bool:
    try:
        return filecmp.cmp(path, kept, shallow=False)
    except OSError:  # not there yet, or unreadable: the upload will say so
        return False
