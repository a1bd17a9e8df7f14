"""Bringing a dataset into the store of the local runner."""

from pathlib import Path

import pytest

from flts.errors import BadInputError
from flts.store.file import FileStore
from pipeline.runner.dataset import LocalDataset, StoredDataset


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "store")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder / "X.csv"


def keys(store: FileStore) -> set[str]:
    return {info.key for info in store.list("dataset")}


def test_the_test_part_and_the_parameters_beside_a_dataset_are_found(folder: Path) -> None:
    path = write(folder, X__csv="a", X_test__csv="b", X__toml='[parameters]\nepochs = 3\nscaler = "none"\n')

    dataset = LocalDataset.find(path)

    assert (dataset.name, dataset.train, dataset.test) == ("X", path, folder / "X_test.csv")
    assert dataset.parameters() == {"epochs": 3, "scaler": "none"}


def test_a_dataset_may_be_alone(folder: Path) -> None:
    dataset = LocalDataset.find(write(folder, X__csv="a"))

    assert dataset.test is None
    assert dataset.settings is None
    assert dataset.parameters() == {
        "num_layers": 1,
        "hidden_size": 32,
        "batch_size": 256,
        "learning_rate": 2e-3,
        "epochs": 60,
        "patience": 6,
        "target_transform": "auto",
        "ensemble": True,
        "quantiles": "0.05,0.5,0.95",
    }


def test_the_test_part_may_have_the_other_format(folder: Path) -> None:
    dataset = LocalDataset.find(write(folder, X__csv="a", X_test__parquet="b"))

    assert dataset.test == folder / "X_test.parquet"


def test_a_packed_dataset_has_the_name_of_what_it_holds(folder: Path, store: FileStore) -> None:
    write(folder, X__csv__gz="a", X_test__csv__gz="b", X__toml="[parameters]\n")

    dataset = LocalDataset.find(folder / "X.csv.gz")
    dataset.put(store, "dataset")

    assert (dataset.name, dataset.test, dataset.settings) == ("X", folder / "X_test.csv.gz", folder / "X.toml")
    assert keys(store) == {"X.csv.gz", "X_test.csv.gz"}


def test_both_parts_are_put_into_the_store(folder: Path, store: FileStore) -> None:
    LocalDataset.find(write(folder, X__csv="a", X_test__csv="b")).put(store, "dataset")

    assert store.get("dataset", "X.csv")[0] == b"a"
    assert store.get("dataset", "X_test.csv")[0] == b"b"


def test_an_unchanged_dataset_is_not_written_again(folder: Path, store: FileStore) -> None:
    dataset = LocalDataset.find(write(folder, X__csv="a"))
    dataset.put(store, "dataset")
    before = (store.root / "dataset" / "X.csv").stat()
    dataset.put(store, "dataset")

    assert (store.root / "dataset" / "X.csv").stat().st_ino == before.st_ino


def test_a_changed_dataset_of_the_same_size_replaces_the_old_one(folder: Path, store: FileStore) -> None:
    LocalDataset.find(write(folder, X__csv="a")).put(store, "dataset")
    LocalDataset.find(write(folder, X__csv="b")).put(store, "dataset")

    assert store.get("dataset", "X.csv")[0] == b"b"


def test_what_an_earlier_dataset_of_the_name_left_is_removed(folder: Path, store: FileStore, tmp_path: Path) -> None:
    LocalDataset.find(write(folder, X__csv="a", X_test__csv="b")).put(store, "dataset")
    store.put("dataset", "Other_test.csv", b"other")
    later = tmp_path / "later"
    later.mkdir()
    (later / "X.parquet").write_text("c")

    LocalDataset.find(later / "X.parquet").put(store, "dataset")

    assert keys(store) == {"X.parquet", "Other_test.csv"}


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("none.csv", "dataset {} does not exist"),
        ("folder.csv", "dataset {} is not a file"),
        ("X.xlsx", "dataset {} must end with .csv, .parquet or .csv.gz"),
        (
            "current.json.csv",
            "dataset {} cannot be used, because it is named after its file: 'current.json' must not be current.json, "
            "global, trainings, trained or index, which keys use",
        ),
    ],
)
def test_what_is_no_dataset_is_named(folder: Path, name: str, sentence: str) -> None:
    (folder / "folder.csv").mkdir()
    (folder / "current.json.csv").touch()
    path = folder / name

    with pytest.raises(BadInputError) as error:
        LocalDataset.find(path)

    assert str(error.value) == sentence.format(path)


@pytest.mark.parametrize("text", ["epochs = 3", "[parameters]\n[more]", "parameters = 3", "[parameters", "\xff"])
def test_settings_that_are_not_one_table_are_refused(folder: Path, text: str) -> None:
    path = write(folder, X__csv="a")
    (folder / "X.toml").write_bytes(text.encode("latin-1"))

    with pytest.raises(BadInputError, match=r"X\.toml (must contain one table|cannot be read as TOML)"):
        LocalDataset.find(path).parameters()


def test_a_dataset_of_the_store_is_used_as_it_lies_there(store: FileStore) -> None:
    store.put("dataset", "X.parquet", b"a")
    store.put("dataset", "X_test.csv", b"b")

    dataset = StoredDataset.find("X", store, "dataset")
    dataset.put(store, "dataset")

    assert dataset.location == "dataset/X.parquet"
    assert "epochs" in dataset.parameters()
    assert keys(store) == {"X.parquet", "X_test.csv"}


def test_a_dataset_of_the_store_brings_its_parameters(store: FileStore) -> None:
    store.put("dataset", "X.csv", b"a")
    store.put("dataset", "X.toml", b"[parameters]\nepochs = 3\n")

    assert StoredDataset.find("X", store, "dataset").parameters() == {"epochs": 3}


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("Y", "bucket dataset has neither Y.csv, Y.parquet nor Y.csv.gz: upload the dataset first"),
        ("../Y", "--stored-dataset '../Y' must not contain '/'"),
    ],
)
def test_a_dataset_that_the_store_lacks_is_one_sentence(store: FileStore, name: str, sentence: str) -> None:
    with pytest.raises(BadInputError) as error:
        StoredDataset.find(name, store, "dataset")

    assert str(error.value).startswith(sentence)


def test_parameters_in_the_store_that_are_no_toml_are_named(store: FileStore) -> None:
    store.put("dataset", "X.csv", b"a")
    store.put("dataset", "X.toml", b"[parameters]\nepochs = =\n")

    with pytest.raises(BadInputError, match=r"object X\.toml cannot be read as TOML, line 2"):
        StoredDataset.find("X", store, "dataset").parameters()
