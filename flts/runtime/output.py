"""Files in and out: whole or not at all, and nothing left behind."""

import contextlib
import errno
import fcntl
import math
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from flts.errors import BadInputError, FltsError
from flts.stage import Input, Result, Stage

_WORK_PREFIX = ".flts-"
_ENVIRONMENT_TROUBLE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}
_DISK_FULL_TEXTS = ("No space left on device", "database or disk is full")


def check_input(path: Path, declared: Input, label: str) -> None:
    """Make sure that an input artifact can be read; only a model may be a folder (a bundle).

    Raises:
        BadInputError: It cannot; ``label`` names the flag or artifact.
    """
    try:
        is_folder = path.is_dir()
        exists = is_folder or path.exists()
    except OSError as error:
        raise BadInputError(f"{label}: {path} cannot be read: {_reason(error)}") from None
    if not exists:
        raise BadInputError(f"{label}: {path} does not exist")
    if is_folder and declared.type != "Model":
        raise BadInputError(f"{label}: {path} is a folder, expected a file: {declared.help}")
    if not is_folder and not path.is_file():
        raise BadInputError(
            f"{label}: {path} is a pipe, a device or a socket, expected a regular file: {declared.help}"
        )
    if not os.access(path, os.R_OK | os.X_OK if is_folder else os.R_OK):
        raise BadInputError(f"{label}: {path} cannot be read: permission denied")


def check_result(stage: Stage, result: Result) -> None:
    """Hold a stage to its declaration; a difference is a bug in the stage.

    Raises:
        TypeError: An output is missing or undeclared, or metadata is not flat strings and finite numbers.
    """
    parameters = {name for name, output in stage.outputs.items() if output.type == "str"}
    if set(result.artifacts) != set(stage.outputs) - parameters or set(result.parameters) != parameters:
        made = sorted({*result.artifacts, *result.parameters})
        raise TypeError(f"{stage.command} made {made}, but declares {sorted(stage.outputs)}")
    for name, artifact in result.artifacts.items():
        for key, value in artifact.metadata.items():
            flat = isinstance(value, str | int | float) and not isinstance(value, bool)
            if not flat or (isinstance(value, float) and not math.isfinite(value)):
                raise TypeError(f"metadata {key!r} of {name} is {value!r}: must be text or a finite number")
    for name, value in result.parameters.items():
        if not isinstance(value, str):
            raise TypeError(f"output parameter {name} is {value!r}: must be text")


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file under a temporary name in its folder, made when missing, and rename it.

    Raises:
        BadInputError: The file cannot be written there.
    """
    temporary = path.with_name(f"{_WORK_PREFIX}{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(_encode(content))
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise BadInputError(f"{path} cannot be written: {_reason(error)}") from None


@contextlib.contextmanager
def work_folder(parent: Path) -> Iterator[Path]:
    """Give a private folder under ``parent``, removed at the end, and remove what killed processes left there.

    The owner holds a lock on its folder, which the system releases however the owner ends. Temporary files of
    libraries go there too, so that the next start removes those as well.
    """
    for leftover in parent.glob(f"{_WORK_PREFIX}*"):
        _remove_abandoned(leftover)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_WORK_PREFIX, dir=parent))
        lock = _open_folder(folder)
        if lock is not None:
            break
    try:
        with _temporary_files_in(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


@contextlib.contextmanager
def output_folder(path: Path) -> Iterator[Path]:
    """Make ``--output-dir`` and give a work folder inside it, on the same filesystem, so that results can be renamed.

    When the body fails, the folders that were made for it go again.

    Raises:
        BadInputError: ``path`` is a file, cannot be made or written to, or the body found its disk full.
    """
    if path.exists() and not path.is_dir():
        raise BadInputError(f"--output-dir {path} is a file, expected a folder")
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    with contextlib.ExitStack() as stack:
        try:
            path.mkdir(parents=True, exist_ok=True)
            work = stack.enter_context(work_folder(path))
        except OSError as error:
            _remove_empty(made)
            raise BadInputError(f"--output-dir {path} cannot be written: {_reason(error)}") from None
        try:
            yield work
        except BaseException as error:
            stack.close()
            _remove_empty(made)
            if not isinstance(error, FltsError) and (trouble := environment_trouble(error, path)):
                raise BadInputError(trouble) from error
            raise


def publish(stage: Stage, result: Result, work_dir: Path, output_dir: Path) -> list[str]:
    """Move a stage's artifacts and files into the output folder, each by renaming.

    Returns:
        The names of what was written, folders with a slash at the end.

    Raises:
        BadInputError: The output folder cannot take them.
    """
    files = dict(result.files)
    try:
        staging = Path(tempfile.mkdtemp(dir=work_dir))
        for name, artifact in result.artifacts.items():
            file_name = f"{name}.html" if stage.outputs[name].type == "HTML" else f"{name}.json"
            files[file_name] = staging / file_name
            files[file_name].write_bytes(_encode(artifact.content))
        for number, (name, source) in enumerate(files.items()):
            (output_dir / name).parent.mkdir(parents=True, exist_ok=True)
            _replace(source, output_dir / name, staging / f"replaced-{number}")
    except OSError as error:
        raise BadInputError(f"--output-dir {output_dir} cannot be written: {_reason(error)}") from None
    return sorted(f"{name}/" if (output_dir / name).is_dir() else name for name in files)


def environment_trouble(error: BaseException, output_dir: Path | None = None) -> str | None:
    """Tell a full disk or missing permissions from a bug, wherever in the chain of causes it is.

    Args:
        error: What was raised.
        output_dir: The folder to name where the error names no file, or one inside it.

    Returns:
        The sentence for the person who can fix it, or ``None``.
    """
    link: BaseException | None = error
    while link is not None:
        # Some libraries put the system's words into errors of their own.
        full = any(text in str(link) for text in _DISK_FULL_TEXTS)
        if full or (isinstance(link, OSError) and link.errno in _ENVIRONMENT_TROUBLE):
            reason = "no space left on device" if full else _reason(link)
            place = getattr(link, "filename", None)
            if output_dir and (not place or Path(place).is_relative_to(output_dir)):
                return f"--output-dir {output_dir} cannot be written: {reason}"
            return f"{place}: {reason}" if place else reason
        link = link.__cause__ or link.__context__
    return None


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


def _replace(source: Path, target: Path, aside: Path) -> None:
    """Rename ``source`` to ``target``; the system replaces a file at once, a folder is moved ``aside`` first."""
    if not (target.is_dir() or (source.is_dir() and target.exists())):
        source.rename(target)
        return
    target.rename(aside)
    try:
        source.rename(target)
    except OSError:
        aside.rename(target)
        raise


def _encode(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content


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


def _reason(error: BaseException) -> str:
    """Say an operating system error in words: ``permission denied``."""
    text = getattr(error, "strerror", None) or str(error)
    return text[:1].lower() + text[1:]
