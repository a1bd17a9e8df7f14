"""The folder that keeps the runs on this machine, ``--home``, and what a run leaves in it."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from flts.errors import BadInputError
from flts.observability.redaction import redact_values
from flts.promotion import owner
from flts.runtime.output import write_whole
from pipeline.runner.closing import Place
from pipeline.runner.state import TaskState
from pipeline.runner.summary import Summary

_PROBE_BYTES = 4096  # an empty file fits on a full disk


def check_home(home: Path) -> None:
    """Make the folder if it is missing, and make sure that files can be written there.

    Raises:
        BadInputError: They cannot.
    """
    with _naming(home), tempfile.TemporaryFile(dir=_made(home)) as probe:
        probe.write(bytes(_PROBE_BYTES))
        probe.flush()


def make_run_folder(home: Path, identifier: str) -> Path:
    """Make ``runs/<identifier>-<time>``; a second run in the same second gets a number.

    Raises:
        BadInputError: The home cannot take it.
    """
    name = f"{owner(identifier)}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    for suffix in ("", *(f"-{number}" for number in range(2, 100))):
        folder = home / "runs" / f"{name}{suffix}"
        with _naming(home):
            try:
                folder.mkdir(parents=True)
            except FileExistsError:
                continue
            return folder
    raise BadInputError(f"there are too many runs named {name} in {home / 'runs'}")


def write_results(
    home: Path, folder: Path, summary: Summary, states: Mapping[str, TaskState], results: Mapping[str, Place]
) -> dict[str, Place]:
    """Write the report and ``summary.json`` into the run's folder, and point ``latest`` to it.

    Args:
        home: The folder that keeps the runs.
        folder: The run's folder in it.
        summary: The run's summary.
        states: Its tasks.
        results: Where its results lie, to which the report links.

    Returns:
        All places, in the order in which people look for them.

    Raises:
        BadInputError: The home cannot take one of them.
    """
    from flts.report.pages import run_page

    summary = Summary.model_validate(redact_values(summary.model_dump()))
    report, machine_readable = folder / "index.html", folder / "summary.json"
    with _naming(home):
        pointer = folder / "latest"  # a name that no other run takes
        pointer.symlink_to(folder.relative_to(home), target_is_directory=True)
        pointer.replace(home / "latest")
        write_whole(machine_readable, summary.model_dump_json(indent=2) + "\n")
        files = {name: state.folder / "report.html" for name, state in states.items()}
        links = {
            name: quote(os.path.relpath(path, folder))
            for name, path in {**files, **results, "Summary": machine_readable}.items()
            if isinstance(path, Path) and path.is_file()
        }
        write_whole(report, run_page(summary.model_dump(mode="json"), links))
    return {"Report": report, **results, "Summary": machine_readable}


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def _naming(home: Path) -> Iterator[None]:
    """Name the home, by its flag, in what is said of a file that cannot be written there."""
    try:
        yield
    except BadInputError as error:
        raise BadInputError(f"--home {home}: {error}") from None
    except FileExistsError:
        raise BadInputError(f"--home {home} is a file, expected a folder") from None
    except OSError as error:
        raise BadInputError(f"--home {home} cannot be written: {str(error.strerror).lower()}") from None
