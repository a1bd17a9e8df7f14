"""Input and output files of a stage: inputs must be readable, and outputs are written completely or not at all."""

import math
import os
import tempfile
from pathlib import Path

from flts.diagnostics.system import reason
from flts.errors import BadInputError
from flts.runtime.work_folders import TEMPORARY_PREFIX
from flts.stage_interface import Input, Result, Stage


def check_input(path: Path, declared: Input, label: str) -> None:
    """Check that an input artifact can be read; only a model may be a folder (a bundle).

    Raises:
        BadInputError: It cannot be read; ``label`` names the flag or artifact.
    """
    try:
        is_folder = path.is_dir()
        exists = is_folder or path.exists()
    except OSError as error:
        raise BadInputError(f"{label}: {path} cannot be read: {reason(error)}") from None
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
    """Check a stage's result against its declaration; a difference is a bug in the stage.

    Raises:
        TypeError: An output is missing or undeclared, or metadata is not flat strings and finite numbers, of
            ``Metrics`` finite numbers alone.
    """
    parameters = {name for name, output in stage.outputs.items() if output.type == "str"}
    if set(result.artifacts) != set(stage.outputs) - parameters or set(result.parameters) != parameters:
        made = sorted({*result.artifacts, *result.parameters})
        raise TypeError(f"{stage.command} made {made}, but declares {sorted(stage.outputs)}")
    for name, artifact in result.artifacts.items():
        for key, value in artifact.metadata.items():
            is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            if not is_number and (stage.outputs[name].type == "Metrics" or not isinstance(value, str)):
                expected = "a finite number" if stage.outputs[name].type == "Metrics" else "text or a finite number"
                raise TypeError(f"metadata {key!r} of {name} is {value!r}: must be {expected}")
    for name, value in result.parameters.items():
        if not isinstance(value, str):
            raise TypeError(f"output parameter {name} is {value!r}: must be text")


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file under a temporary name in its folder, which is created when missing, and rename it.

    Raises:
        BadInputError: The file cannot be written there.
    """
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(_encode(content))
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise BadInputError(f"{path} cannot be written: {reason(error)}") from None


def publish(stage: Stage, result: Result, work_dir: Path, output_dir: Path) -> list[str]:
    """Move a stage's artifacts and files into the output folder, each by renaming.

    Returns:
        The names of the written files and folders, folders with a slash at the end.

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
        raise BadInputError(f"--output-dir {output_dir} cannot be written: {reason(error)}") from None
    return sorted(f"{name}/" if (output_dir / name).is_dir() else name for name in files)


def _replace(source: Path, target: Path, aside: Path) -> None:
    """Rename ``source`` to ``target``; the system replaces a file in one step, a folder is moved ``aside`` first."""
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
