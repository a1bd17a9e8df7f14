"""The command ``flts-prepare-store``: makes the buckets and uploads datasets; a second time it changes nothing."""

import argparse
import hashlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from flts.boundary.arguments import Parser
from flts.boundary.files import DATASET_SUFFIXES, sha256_file
from flts.diagnostics.system import reason
from flts.errors import BadInputError
from flts.observability.exit_codes import run_command
from flts.store import ObjectStore, open_store
from flts.version import __version__

BUCKETS = ("dataset", "processed-data", "mlflow", "model-promotion", "inference-logs", "kfp-artifacts")
DATASETS = BUCKETS[0]
_SUFFIXES = (*DATASET_SUFFIXES, ".toml")
_MARK = ".prepared"  # a bucket is made by the first write into it


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command and exit; errors are one sentence on stderr."""
    sys.exit(run_command("flts-prepare-store", lambda: _run(argv)))


def _run(argv: Sequence[str] | None) -> None:
    options = _parser().parse_args(argv)
    if not options.store:
        raise BadInputError("--store is required: s3://, http(s)://host:port or file:///dir")
    store = open_store(options.store)
    for line in (*make_buckets(store), *upload_datasets(store, options.datasets)):
        print(line, flush=True)


def make_buckets(store: ObjectStore) -> list[str]:
    """Make every bucket that FLTS uses, MLflow's too, and say so; one that has objects is left alone.

    Raises:
        BadInputError: The store refuses the credentials.
        ServiceUnavailableError: It is out of reach.
    """
    for bucket in BUCKETS:
        if next(store.list(bucket), None) is None:
            store.put(bucket, _MARK, b"This bucket is there.\n")
            store.delete(bucket, _MARK)
    return [f"buckets: {', '.join(BUCKETS)}"]


def upload_datasets(store: ObjectStore, folder: Path | None) -> list[str]:
    """Upload the folder's datasets, and the parameters beside them, where the store's differ; say what was done.

    Args:
        store: The store.
        folder: The folder; files that are neither CSV, Parquet nor TOML are left out. ``None``: nothing to upload.

    Raises:
        BadInputError: The folder or a file in it cannot be read.
        ServiceUnavailableError: The store is out of reach.
    """
    if folder is None:
        return []
    try:
        files = sorted(path for path in folder.iterdir() if path.name.lower().endswith(_SUFFIXES))
    except OSError as error:
        raise BadInputError(f"--datasets {folder} cannot be read: {reason(error)}") from None
    if not files:
        return [f"{folder} has no datasets: nothing to upload"]
    return [f"{DATASETS}/{path.name}: {_upload(store, path)}" for path in files]


def _upload(store: ObjectStore, path: Path) -> str:
    if _same(store, path):
        return "there already"
    info = store.upload(DATASETS, path.name, path)
    return f"uploaded, {info.size:,} bytes"


def _same(store: ObjectStore, path: Path) -> bool:
    wanted = sha256_file(path)
    stored = store.head(DATASETS, path.name)
    if stored is None or stored.size != path.stat().st_size:
        return False
    digest = hashlib.sha256()
    for piece in store.read(DATASETS, path.name)[1]:
        digest.update(piece)
    return digest.hexdigest() == wanted


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="flts-prepare-store",
        description="Make the buckets that FLTS and MLflow use, and upload datasets. A second time nothing changes.",
        epilog="Exit codes: 0 done, 2 wrong input or refused credentials, 3 the store is out of reach.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--store",
        metavar="URL",
        default=os.environ.get("GATEWAY_URL", ""),
        help="object store, as a stage's --gateway-url (default: the environment's GATEWAY_URL)",
    )
    parser.add_argument(
        "--datasets", type=Path, metavar="FOLDER", help="upload its CSV and Parquet files, and the TOML beside them"
    )
    parser.add_argument("--version", action="version", version=f"flts-prepare-store {__version__}")
    return parser


if __name__ == "__main__":
    main()
