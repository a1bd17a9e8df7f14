"""Work folders: private, on the filesystem of the outputs, and removed however their owner ends."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from flts.diagnostics.system import environment_trouble, reason
from flts.errors import BadInputError, FltsError

TEMPORARY_PREFIX = ".flts-"

# Functions that remove the folders in use; the latest folder is removed first.
_cleanups: list[Callable[[], None]] = []


def remove_all() -> None:
    """Remove the work folders of the process, and its empty output folders, before it exits at once."""
    for clean_up in reversed(_cleanups):
        clean_up()


@contextlib.contextmanager
def work_folder(parent: Path | None = None) -> Iterator[Path]:
    """Yield a private folder, which is removed at the end, and remove those that killed processes left next to it.

    The owner holds a lock on its folder, which the system releases however the owner ends. Temporary files of
    libraries go there too, so that the next start removes them as well.

    Args:
        parent: The folder in which it is created; by default that of temporary files.
    """
    parent = parent or Path(tempfile.gettempdir())
    for leftover in parent.glob(f"{TEMPORARY_PREFIX}*"):
        _remove_abandoned(leftover)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=parent))
        lock = _open_folder(folder)
        if lock is not None:
            break
    try:
        with _cleaned_up_by(lambda: _remove_tree(folder)), _temporary_files_in(folder):
            yield folder
    finally:
        os.close(lock)


@contextlib.contextmanager
def output_folder(path: Path) -> Iterator[Path]:
    """Create ``--output-dir`` and yield a work folder in it, on the same filesystem, so that results can be renamed.

    When the body fails, the folders that were created are removed again.

    Raises:
        BadInputError: ``path`` is a file or cannot be created or written to, or its disk is full.
    """
    with contextlib.ExitStack() as stack:
        try:
            if path.exists() and not path.is_dir():
                raise BadInputError(f"--output-dir {path} is a file, expected a folder")
            made = [folder for folder in (path, *path.parents) if not folder.exists()]
            stack.enter_context(_cleaned_up_by(lambda: _remove_empty(made)))
            path.mkdir(parents=True, exist_ok=True)
            work = stack.enter_context(work_folder(path))
        except OSError as error:
            raise BadInputError(f"--output-dir {path} cannot be written: {reason(error)}") from None
        try:
            yield work
        except Exception as error:
            if not isinstance(error, FltsError) and (trouble := environment_trouble(error, path)):
                raise BadInputError(trouble) from error
            raise


@contextlib.contextmanager
def _cleaned_up_by(clean_up: Callable[[], None]) -> Iterator[None]:
    _cleanups.append(clean_up)
    try:
        yield
    finally:
        clean_up()
        _cleanups.remove(clean_up)


def _remove_tree(folder: Path) -> None:
    # Code that cannot be stopped may still be writing there.
    for _ in range(3):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            break


@contextlib.contextmanager
def _temporary_files_in(folder: Path) -> Iterator[None]:
    outer, outer_variable = tempfile.tempdir, os.environ.get("TMPDIR")
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = outer
        if outer_variable is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = outer_variable


def _remove_abandoned(folder: Path) -> None:
    try:
        if not folder.is_dir() or folder.is_symlink() or folder.stat().st_uid != os.geteuid():
            return
        lock = _open_folder(folder)
    except OSError:
        return
    if lock is not None:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _open_folder(folder: Path) -> int | None:
    """Open and lock a folder; ``None`` when another process holds it, or has just removed it."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), folder.stat()):
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return None


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()
