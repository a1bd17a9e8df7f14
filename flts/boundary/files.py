"""Files on this machine: checks before they are opened, their SHA-256, and the names of datasets."""

import hashlib
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flts.errors import BadInputError

# In the order in which they are looked for.
DATASET_SUFFIXES = (".csv", ".parquet", ".csv.gz")


def check_regular(path: Path, label: str | None = None) -> None:
    """Check that a path leads to a regular file: reading a device or a pipe might never end, or never begin.

    Args:
        path: The file, or a symbolic link to it.
        label: Its name in error sentences; by default the path.

    Raises:
        BadInputError: It is missing, cannot be reached, or is a folder or anything else but a regular file.
    """
    label = label or str(path)
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise BadInputError(f"{label} does not exist") from None
    except PermissionError:
        raise BadInputError(f"{label} cannot be read: permission denied") from None
    if stat.S_ISDIR(mode):
        raise BadInputError(f"{label} is a folder, expected a file")
    if not stat.S_ISREG(mode):
        raise BadInputError(f"{label} is a pipe, a device or a socket, expected a regular file")


@contextmanager
def readable(path: Path, label: str) -> Iterator[None]:
    """Let the body read a file; ``label`` names it in the sentence of an error.

    Raises:
        BadInputError: It is not a regular file, or may not be read.
    """
    check_regular(path, label)
    try:
        yield
    except FileNotFoundError:
        raise BadInputError(f"{label} does not exist") from None
    except PermissionError:
        raise BadInputError(f"{label} cannot be read: permission denied") from None


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hex.

    Raises:
        BadInputError: It is not a regular file.
    """
    check_regular(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def split_dataset_name(path: Path) -> tuple[str, str]:
    """Split a dataset's file name into name and suffix: ``X.csv.gz`` into ``X`` and ``.csv.gz``."""
    name = path.name
    packed = path.suffix.lower() == ".gz"
    suffix = "".join(path.suffixes[-2:]) if packed else path.suffix
    return name.removesuffix(suffix), suffix
