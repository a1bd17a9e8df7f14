"""The folder ``--home``, which keeps the runs on this machine and their results."""

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
from pipeline.runner.console_summary import Location
from pipeline.runner.state import TaskState
from pipeline.runner.summary import Summary

_PROBE_BYTES = 4096  # an empty file could be created even on a full disk


def check_home(home: Path) -> None:
    """Create the folder if it is missing, and check that it is writable.

    Raises:
        BadInputError: It is not.
    """
    with _home_errors(home), tempfile.TemporaryFile(dir=_ensured(home)) as probe:
        probe.write(bytes(_PROBE_BYTES))
        probe.flush()


def make_run_folder(home: Path, identifier: str) -> Path:
    """Create ``runs/<identifier>-<time>``; a second run in the same second gets a number.

    Raises:
        BadInputError: The folder cannot be created.
    """
    name = f"{owner(identifier)}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    for suffix in ("", *(f"-{number}" for number in range(2, 100))):
        folder = home / "runs" / f"{name}{suffix}"
        with _home_errors(home):
            try:
                folder.mkdir(parents=True)
            except FileExistsError:
                continue
            return folder
    raise BadInputError(f"there are too many runs named {name} in {home / 'runs'}")


def write_results(
    home: Path, folder: Path, summary: Summary, states: Mapping[str, TaskState], results: Mapping[str, Location]
) -> dict[str, Location]:
    """Write the report and ``summary.json`` into the run's folder, and point ``latest`` to it.

    Args:
        home: The folder that keeps the runs.
        folder: The run's folder in it.
        summary: The run's summary.
        states: States of its tasks.
        results: Locations of its results, for links in the report.

    Returns:
        All locations, most important first.

    Raises:
        BadInputError: One of them cannot be written.
    """
    from flts.report.pages import run_page

    summary = Summary.model_validate(redact_values(summary.model_dump()))
    report, machine_readable = folder / "index.html", folder / "summary.json"
    with _home_errors(home):
        pointer = folder / "latest"  # in this run's own folder, so that no other run uses the name
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


def _ensured(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def _home_errors(home: Path) -> Iterator[None]:
    """Begin sentences about files that cannot be written with the flag and the folder."""
    try:
        yield
    except BadInputError as error:
        raise BadInputError(f"--home {home}: {error}") from None
    except FileExistsError:
        raise BadInputError(f"--home {home} is a file, expected a folder") from None
    except OSError as error:
        raise BadInputError(f"--home {home} cannot be written: {str(error.strerror).lower()}") from None
