"""Documents and folders from others: limited in size, never read through a link; every error is one sentence."""

import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from pydantic_core import from_json

from flts.diagnostics.system import reason, refused
from flts.diagnostics.terminal import printable
from flts.errors import BadInputError

# A message, a configuration, a metrics file: 100,000 columns of 160 bytes each fit.
LARGEST_DOCUMENT = 16 << 20


def json_object(data: bytes | str, source: str, kind: str, *, allow_nan: bool = False) -> dict[str, Any]:
    """Parse a JSON object.

    Args:
        data: Its text; numbers come out as ``json.loads`` reads them.
        source: The document's name in the sentence.
        kind: The expected kind of document, with its article: ``a metrics file``.
        allow_nan: Whether ``NaN`` and ``Infinity``, which are not JSON, may stand for numbers.

    Raises:
        BadInputError: It is not UTF-8, not JSON, not an object, or nested more than 200 deep.
    """
    try:
        value = from_json(data, allow_inf_nan=allow_nan)
    except ValueError:
        raise BadInputError(f"{source} is not {kind}: JSON is expected, not nested deeply") from None
    if not isinstance(value, dict):
        raise BadInputError(f"{source} is not {kind}: a JSON object is expected")
    return value


def read_document(path: Path, kind: str, largest: int = LARGEST_DOCUMENT) -> bytes:
    """Read a small file from outside.

    Raises:
        BadInputError: It is not a regular file, cannot be read, or is larger than ``largest`` bytes.
    """
    with _opened(path, kind, largest) as file:
        return file.read(largest)


def check_folder(folder: Path, largest: Mapping[str, int], kind: str) -> None:
    """Check a folder before anything in it is read.

    Args:
        folder: The folder.
        largest: The allowed files, ``/``-separated where they lie in folders of it, and the largest size of each in
            bytes.
        kind: The expected kind of folder: ``model bundle``.

    Raises:
        BadInputError: It is not a folder; or an entry has another name, is not a regular file (a link is not one), or
            is too large.
    """
    where = printable(str(folder))
    with refused(f"read {where}"):
        if not folder.is_dir():
            raise BadInputError(f"{where} is not a {kind}: a folder is expected")
        for name in _entries(folder, "", where, largest, kind):
            _check_file(f"{where}/{name}", (folder / name).stat(follow_symlinks=False), largest[name])


def _entries(folder: Path, within: str, where: str, largest: Mapping[str, int], kind: str) -> Iterator[str]:
    """Yield the files of a folder; only the folders that allowed files lie in are looked into, never through a link."""
    folders = allowed_folders(largest)
    with os.scandir(folder / within) as entries:
        for entry in entries:
            name = f"{within}/{entry.name}".lstrip("/")
            if name in folders and entry.is_dir(follow_symlinks=False):
                yield from _entries(folder, name, where, largest, kind)
                continue
            check_name(name, where, largest, kind)
            yield name


def allowed_folders(largest: Mapping[str, int]) -> frozenset[str]:
    """Return the folders that allowed files lie in."""
    return frozenset(str(folder) for name in largest for folder in PurePosixPath(name).parents if folder.name)


def check_name(name: str, where: str, largest: Mapping[str, int], kind: str) -> None:
    """Refuse a file that does not belong in a folder; ``where`` is the folder's name in the sentence."""
    if name not in largest:
        beside = PurePosixPath(name).parent
        allowed = [file for file in largest if PurePosixPath(file).parent == beside]
        raise BadInputError(
            f"{where}/{printable(name)} is not part of the {kind}: only {', '.join(allowed)} may be there"
            if allowed
            else f"{where}/{printable(name)} is not part of the {kind}"
        )


def check_size(name: str, size: int, largest: int) -> None:
    """Refuse a file that is too large; ``name`` is its name in the sentence."""
    if size > largest:
        raise BadInputError(f"{name} has {size:,} bytes: at most {largest:,} are accepted")


def copy_folder(folder: Path, destination: Path, largest: Mapping[str, int], kind: str) -> None:
    """Copy the files of a folder into an existing one; arguments and errors as in ``check_folder``.

    No link is followed, and no more than the allowed sizes is copied, even if the folder changes meanwhile.
    """
    check_folder(folder, largest, kind)
    for name, limit in largest.items():
        path = folder / name
        if path.is_symlink() or path.exists():
            with (
                _opened(path, kind, limit, flags=os.O_NOFOLLOW) as source,
                refused(f"write {destination / name}"),
                _created(destination / name) as target,
            ):
                shutil.copyfileobj(source, target)
                check_size(str(path), source.tell(), limit)


def _created(path: Path) -> BinaryIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("wb")


@contextmanager
def _opened(path: Path, kind: str, largest: int, flags: int = 0) -> Iterator[BinaryIO]:
    name = printable(str(path))
    try:
        # A pipe would otherwise wait for its writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | flags)
    except FileNotFoundError:
        raise BadInputError(f"{name} does not exist: a {kind} is expected") from None
    except OSError as error:
        raise BadInputError(f"cannot read {name}: {reason(error)}") from None
    except ValueError:  # a NUL in it
        raise BadInputError(f"{name} is not the name of a file") from None
    try:
        _check_file(name, os.fstat(descriptor), largest)
        with open(descriptor, "rb", closefd=False) as file:
            yield file
    finally:
        os.close(descriptor)


def _check_file(name: str, status: os.stat_result, largest: int) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = "a link" if stat.S_ISLNK(status.st_mode) else "a folder" if stat.S_ISDIR(status.st_mode) else "a device"
        raise BadInputError(f"{name} is {kind}, expected a regular file")
    check_size(name, status.st_size, largest)
