"""The command ``flts-prepare-store``: create the buckets and upload datasets; a second run changes nothing."""

import argparse
import hashlib
import os
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NoReturn

from flts.boundary.arguments import Parser
from flts.boundary.files import DATASET_SUFFIXES, sha256_file
from flts.diagnostics.system import reason
from flts.errors import BadInputError
from flts.observability.exit_codes import run_command
from flts.params import BUCKETS
from flts.store import ObjectStore, open_store
from flts.store.buckets import bucket_option, read_bucket
from flts.version import __version__

_SUFFIXES = (*DATASET_SUFFIXES, ".toml")
_MARK = ".prepared"  # the first write into a bucket creates it


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command and exit; errors are one sentence on stderr."""
    sys.exit(run_command("flts-prepare-store", lambda: _run(argv)))


def _run(argv: Sequence[str] | None) -> None:
    options = _parser().parse_args(argv)
    if not options.store:
        raise BadInputError("--store is required: s3://, http(s)://host:port or file:///dir")
    store = open_store(options.store)
    buckets = {name: read_bucket(name, os.environ, getattr(options, name)) for name in BUCKETS}
    datasets = buckets["input_bucket"]
    for line in (*create_buckets(store, buckets.values()), *upload_datasets(store, datasets, options.datasets)):
        print(line, flush=True)


def create_buckets(store: ObjectStore, buckets: Collection[str]) -> list[str]:
    """Create the buckets; one that contains objects is left alone.

    Returns:
        The lines to print.

    Raises:
        BadInputError: The store refuses the credentials.
        ServiceUnavailableError: The store is out of reach.
    """
    for bucket in buckets:
        if next(store.list(bucket), None) is None:
            store.put(bucket, _MARK, b"This bucket exists.\n")
            store.delete(bucket, _MARK)
    return [f"buckets: {', '.join(buckets)}"]


def upload_datasets(store: ObjectStore, bucket: str, folder: Path | None) -> list[str]:
    """Upload those datasets of a folder, and the TOML files of their parameters, that differ from the store's.

    Args:
        store: The store.
        bucket: The bucket of datasets.
        folder: The folder; files that are neither CSV, Parquet nor TOML are ignored. ``None``: nothing to upload.

    Returns:
        The lines to print.

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
    return [f"{bucket}/{path.name}: {_upload(store, bucket, path)}" for path in files]


def _upload(store: ObjectStore, bucket: str, path: Path) -> str:
    if _unchanged(store, bucket, path):
        return "there already"
    info = store.upload(bucket, path.name, path)
    return f"uploaded, {info.size:,} bytes"


def _unchanged(store: ObjectStore, bucket: str, path: Path) -> bool:
    expected = sha256_file(path)
    stored = store.head(bucket, path.name)
    if stored is None or stored.size != path.stat().st_size:
        return False
    digest = hashlib.sha256()
    for piece in store.read(bucket, path.name)[1]:
        digest.update(piece)
    return digest.hexdigest() == expected


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="flts-prepare-store",
        description="Create the buckets of FLTS, MLflow and Kubeflow Pipelines, and upload datasets. A second run "
        "changes nothing.",
        epilog="A bucket can also be named by an environment variable, as for the stages: --input-bucket by "
        "INPUT_BUCKET. Exit codes: 0 done, 2 wrong input or refused credentials, 3 the store is out of reach.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--store",
        metavar="URL",
        default=os.environ.get("GATEWAY_URL", ""),
        help="object store, as a stage's --gateway-url (default: the environment variable GATEWAY_URL)",
    )
    for name, bucket in BUCKETS.items():
        parser.add_argument(
            bucket_option(name), metavar="NAME", help=f"{bucket.description} (default {bucket.default})"
        )
    parser.add_argument(
        "--datasets", type=Path, metavar="FOLDER", help="folder of the CSV, Parquet and TOML files to upload"
    )
    parser.add_argument("--version", action="version", version=f"flts-prepare-store {__version__}")
    return parser


if __name__ == "__main__":
    main()
