"""flts-prepare-store: the buckets, and the datasets of a folder."""

import subprocess
import sys
from pathlib import Path

import pytest

from flts.administration.prepare_store import create_buckets, main, upload_datasets
from flts.params import BUCKETS
from flts.stages import STAGES
from flts.store.file import FileStore

DEFAULTS = [bucket.default for bucket in BUCKETS.values()]


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(tmp_path / "store")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "datasets"
    folder.mkdir()
    for name in ("X.csv", "X_test.csv", "X.toml", "Y.parquet", "README.md"):
        (folder / name).write_text(name)
    return folder


def test_it_makes_every_bucket_that_a_stage_or_kfp_uses(root: Path, store: FileStore) -> None:
    create_buckets(store, DEFAULTS)

    made = {path.name for path in store.root.iterdir() if not path.name.startswith(".")}
    used = {
        name: field.default
        for stage in STAGES.values()
        for name, field in stage.params.model_fields.items()
        if name.endswith("_bucket")
    }
    assert used.items() <= {name: bucket.default for name, bucket in BUCKETS.items()}.items()
    assert made == set(DEFAULTS)
    launcher = (root / "deploy" / "kubernetes" / "kfp" / "launcher-minio.yaml").read_text()
    assert f"defaultPipelineRoot: s3://{BUCKETS['kfp_bucket'].default}\n" in launcher, (
        "KFP's artifacts in the same store"
    )
    assert all(not list(store.list(bucket)) for bucket in DEFAULTS)


def test_datasets_are_uploaded_once(store: FileStore, folder: Path) -> None:
    first, again = upload_datasets(store, "dataset", folder), upload_datasets(store, "dataset", folder)

    assert [info.key for info in store.list("dataset")] == ["X.csv", "X.toml", "X_test.csv", "Y.parquet"]
    assert all("uploaded" in line for line in first)
    assert all(line.endswith("there already") for line in again)


def test_a_dataset_that_changed_is_uploaded_again(store: FileStore, folder: Path) -> None:
    upload_datasets(store, "dataset", folder)
    (folder / "X.csv").write_text("Z.csv")  # of the same size

    done = upload_datasets(store, "dataset", folder)

    assert store.get("dataset", "X.csv")[0] == b"Z.csv"
    assert sum("uploaded" in line for line in done) == 1


def test_what_others_put_there_stays(store: FileStore, folder: Path) -> None:
    store.put("model-promotion", "current.json", b"{}")
    store.put("dataset", "mine.csv", b"a")

    create_buckets(store, DEFAULTS)
    upload_datasets(store, "dataset", folder)

    assert store.get("model-promotion", "current.json")[0] == b"{}"
    assert store.get("dataset", "mine.csv")[0] == b"a"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "--store is required"),
        (["--store", "ftp://x"], "gateway_url 'ftp://x' is not an object store address"),
        (["--store", "file://{}", "--datasets", "{}/none"], "--datasets {}/none cannot be read: no such file"),
        (["--store", "file://{}", "--dataset", "{}"], "unrecognized arguments: --dataset"),
        (["--store", "file://{}", "--kfp-bucket", "A_B"], "--kfp-bucket: bucket 'A_B' is not 3 to 63 lower-case"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    with pytest.raises(SystemExit) as end:
        main([word.format(tmp_path) for word in arguments])

    assert end.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(f"flts-prepare-store: {sentence.format(tmp_path)}")
    assert error.count("\n") == 1


def test_options_and_variables_name_the_buckets(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {name: f"ours-{number}" for number, name in enumerate(BUCKETS)}
    for name, bucket in names.items():
        monkeypatch.setenv(name.upper(), bucket)
    monkeypatch.setenv("PROMOTION_BUCKET", "not-this-one")

    with pytest.raises(SystemExit) as end:
        main(
            [
                *("--store", f"file://{tmp_path}/store", "--datasets", str(folder)),
                *("--promotion-bucket", names["promotion_bucket"]),
            ]
        )

    assert end.value.code == 0
    assert {path.name for path in (tmp_path / "store").iterdir() if path.is_dir()} - {".tmp", ".locks"} == {
        *names.values()
    }
    assert (tmp_path / "store" / names["input_bucket"] / "X.csv").is_file()


def test_the_command_says_what_it_did(tmp_path: Path, folder: Path) -> None:
    command = [sys.executable, "-m", "flts.administration.prepare_store", "--store", f"file://{tmp_path}/store"]
    done = subprocess.run([*command, "--datasets", folder], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[0] == f"buckets: {', '.join(DEFAULTS)}"
    assert "dataset/X.csv: uploaded, 5 bytes" in done.stdout
