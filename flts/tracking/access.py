"""Opening MLflow, without its messages and quickly."""

import fcntl
import gc
import os
import sqlite3
import time
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flts.diagnostics.system import reason
from flts.errors import BadInputError
from flts.tracking.artifact_keys import set_artifact_keys
from flts.tracking.mlflow_errors import DAMAGED, translate_errors
from flts.tracking.retries import RETRIES, TIMEOUT

if TYPE_CHECKING:
    from mlflow import MlflowClient

SQLITE = "sqlite:///"

# A server that refuses connections is given up after six attempts within about 30 s. The user's own settings win.
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    RETRIES: "5",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    TIMEOUT: "30",
    # Bundles are small, and stages cannot always reach the server's own object store, so they do not try.
    "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "false",
}
# Stages load bundles and never a pickle; this is for anything else that MLflow may load in their process.
_ENFORCED = {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
_SQLITE_HEADER = b"SQLite format 3\0"
# Largest time of a database check before a training; one of a thousand runs takes a tenth of it.
_CHECK_SECONDS = 2.0


def open_client(tracking_uri: str) -> "MlflowClient":
    """Open MLflow; a missing SQLite database is created.

    Raises:
        BadInputError: The address is neither ``http(s)://host`` nor ``sqlite:///file.db``, or the database is damaged,
            of another MLflow version, or cannot be written.
    """
    if database := database_path(tracking_uri):
        return _open_database(database)
    if not _is_server(tracking_uri):
        raise BadInputError(
            f"mlflow_tracking_uri {tracking_uri!r} is not an MLflow address: expected http(s)://host:port or "
            f"{SQLITE}file.db"
        )
    return load_mlflow()(tracking_uri)


def _is_server(tracking_uri: str) -> bool:
    try:
        parts = urlsplit(tracking_uri)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a bracket too many, or a port that is no number
        return False


def database_path(tracking_uri: str) -> Path | None:
    """Return the file of a SQLite address, ``None`` for any other."""
    name = tracking_uri.removeprefix(SQLITE)
    return Path(name).resolve() if name and name != tracking_uri else None


def artifact_root(database: Path) -> str:
    """Return the folder of artifacts, next to the database and not in the current folder."""
    return (database.parent / "mlartifacts").as_uri()


def load_mlflow() -> "type[MlflowClient]":
    """Import MLflow, with settings that silence it."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    os.environ.update(_ENFORCED)
    set_artifact_keys(os.environ)
    with _silent_import():
        from mlflow import MlflowClient
    client: type[MlflowClient] = MlflowClient
    return client


def _open_database(path: Path) -> "MlflowClient":
    client, uri = load_mlflow(), f"{SQLITE}{path}"
    try:
        with _silent_import():
            from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    except ModuleNotFoundError as error:
        raise BadInputError(
            f"mlflow_tracking_uri {uri!r} needs the package {error.name}, which is not installed: install flts[local], "
            "or name an MLflow server"
        ) from None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            with path.open("rb") as file:
                if file.read(len(_SQLITE_HEADER)) not in (b"", _SQLITE_HEADER):
                    raise BadInputError(f"{path} is not an SQLite database, although mlflow_tracking_uri says so")
        # Without the lock, trainers that start at the same time would each create a database.
        with path.with_name(f"{path.name}.lock").open("ab") as lock, translate_errors(uri):
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists() or not path.stat().st_size:
                _create_database(SqlAlchemyStore, path)
            else:
                _check_database(path)
            return client(uri)
    except OSError as error:
        raise BadInputError(f"MLflow database {path} cannot be opened: {reason(error)}") from None


def _check_database(path: Path) -> None:
    """Look for damaged pages, which MLflow would find only when a finished training is logged.

    Raises:
        BadInputError: There are damaged pages among those that could be checked in time.
    """
    until = time.monotonic() + _CHECK_SECONDS
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True)) as database:
        database.set_progress_handler(lambda: time.monotonic() > until, 10_000)
        try:
            sound = database.execute("PRAGMA quick_check(1)").fetchall() == [("ok",)]
        except sqlite3.OperationalError:  # locked, or out of time; MLflow reports any other problem
            return
        except sqlite3.DatabaseError:
            sound = False
    if not sound:
        raise BadInputError(DAMAGED.format(path))


def _create_database(store: Any, path: Path) -> None:
    """Create a database under another name and rename it: MLflow never recovers from an incomplete set of tables."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    _remove(unfinished)
    try:
        # A client would create the experiment "Default" with its artifacts in the current folder.
        store(f"{SQLITE}{unfinished}", artifact_root(path)).engine.dispose()
        unfinished.replace(path)
    finally:
        _remove(unfinished)


def _remove(database: Path) -> None:
    """Remove a database and SQLite's files next to it."""
    for file in database.parent.glob(f"{database.name}*"):
        file.unlink()


@contextmanager
def _silent_import() -> Iterator[None]:
    """Hide warnings, and collect no garbage: of the import of 2,000 modules, that takes a seventh of the time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if collecting:
            gc.enable()
