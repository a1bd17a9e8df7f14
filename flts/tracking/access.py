"""Getting at MLflow: quietly, quickly, and with errors that name what is wrong."""

import fcntl
import gc
import os
import re
import sqlite3
import time
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from flts.errors import BadInputError, FltsError, RefusedError, ServiceUnavailableError
from flts.os_errors import reason
from flts.outage import why

if TYPE_CHECKING:
    from mlflow import MlflowClient

T = TypeVar("T")

SQLITE = "sqlite:///"
MISSING = frozenset({"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"})
EXISTS = frozenset({"RESOURCE_ALREADY_EXISTS"})

_RETRIES, _TIMEOUT = "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"
# A server that refuses connections is given up after six attempts within about 30 s. The user's own settings win.
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    _RETRIES: "5",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    _TIMEOUT: "30",
    # Bundles are small, and stages need not reach the server's own object store: no question whether they could.
    "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "false",
}
# Stages load bundles and never a pickle; this is for whatever else MLflow might be asked to load in their process.
_ENFORCED = {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
_SQLITE_HEADER = b"SQLite format 3\0"
# What a check of a whole database may take before a training; one of a thousand runs takes a tenth of it.
_CHECK_SECONDS = 2.0
_DAMAGED = "the MLflow database {} is damaged: put back a copy of it, or move it away so that a new one is made"
_CREDENTIALS = frozenset({"PERMISSION_DENIED", "UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED"})
_OUT_OF_REACH = frozenset({"TEMPORARILY_UNAVAILABLE", "RESOURCE_EXHAUSTED", "REQUEST_LIMIT_EXCEEDED"})
_CLIENT_ERROR = re.compile(r"API request to endpoint \S+ failed with error code 4\d\d")
_UNKNOWN_HOST = "Invalid Host header"
_FAILED = ("API request to", "The following failures occurred while downloading")
_UNWRITABLE = {
    "database or disk is full": "no space left on device",
    "readonly database": "it is read-only",
    "unable to open database file": "it cannot be opened",
}
_BROKEN = re.compile("Connection broken|IncompleteRead|ChunkedEncodingError|failures occurred while downloading")
# For answers that break off half-way, which MLflow does not ask for again.
_REPEATS: Mapping[str, Any] = {"attempts": 6, "timeout": 120.0, "wait_initial": 0.2, "wait_max": 2.0}


def open_client(tracking_uri: str) -> "MlflowClient | PersistentClient":
    """Open MLflow; a SQLite database that is missing is made.

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
    return PersistentClient(load_mlflow()(tracking_uri))


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
    """Return where artifacts lie: beside the database, not in whichever folder a command happens to run."""
    return (database.parent / "mlartifacts").as_uri()


@contextmanager
def translated(tracking_uri: str) -> Iterator[None]:
    """Turn MLflow's errors into FLTS' where people can do something about them; others pass as they are."""
    from mlflow.exceptions import MlflowException
    from requests import RequestException  # type: ignore[import-untyped, unused-ignore]

    try:
        yield
    except MlflowException as error:
        raise _translate(tracking_uri, error.error_code, error.message) or error from None
    except RequestException as error:  # artifacts of a server
        status = error.response.status_code if error.response is not None else 503
        code = "PERMISSION_DENIED" if status in (401, 403) else "TEMPORARILY_UNAVAILABLE"
        raise _translate(tracking_uri, code, str(error)) or error from None


class PersistentClient:
    """An ``MlflowClient`` that asks again when an answer breaks off half-way; whatever it does may be done twice."""

    def __init__(self, client: "MlflowClient") -> None:
        """Wrap a client."""
        self._client = client

    def __getattr__(self, name: str) -> Any:
        """Return a method of the client."""
        method = getattr(self._client, name)
        return lambda *args, **given: repeated(lambda: method(*args, **given))


def repeated(call: Callable[[], T]) -> T:
    """Call again while an answer of the server breaks off half-way; ``call`` may be done twice."""
    import stamina

    return stamina.RetryingCaller(**_REPEATS).on(_is_broken)(call)


def _is_broken(error: Exception) -> bool:
    from mlflow.exceptions import MlflowException
    from requests import RequestException

    return isinstance(error, MlflowException | RequestException) and bool(_BROKEN.search(str(error)))


@contextmanager
def impatient(*, retries: int = 0, timeout: int = 3) -> Iterator[None]:
    """Wait for the server less long than a stage would: ``retries`` of a request, ``timeout`` seconds an answer."""
    before = {name: os.environ.get(name) for name in (_RETRIES, _TIMEOUT)}
    os.environ.update({_RETRIES: str(retries), _TIMEOUT: str(timeout)})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def allowing(codes: Collection[str]) -> Iterator[None]:
    """Ignore MLflow's errors with these codes."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code not in codes:
            raise


def _translate(tracking_uri: str, code: str, message: str) -> FltsError | None:
    if _UNKNOWN_HOST in message or code in _CREDENTIALS:
        return RefusedError(_refusal(tracking_uri, message))
    if trouble := _about_database(tracking_uri, message):
        return BadInputError(trouble)
    if code in _OUT_OF_REACH or (message.startswith(_FAILED) and not _CLIENT_ERROR.match(message)):
        return ServiceUnavailableError(f"MLflow at {tracking_uri} cannot be reached: {why(message)}")
    if _CLIENT_ERROR.match(message):
        return BadInputError(f"{tracking_uri} does not answer as an MLflow server: {why(message)}")
    return None


def _about_database(tracking_uri: str, message: str) -> str | None:
    if "database schema" in message:
        return f"the MLflow database {tracking_uri} is of another MLflow version: run mlflow db upgrade {tracking_uri}"
    if "malformed" in message:
        return _DAMAGED.format(tracking_uri)
    for said, meant in _UNWRITABLE.items():
        if said in message:
            return f"the MLflow database {tracking_uri} cannot be written: {meant}"
    return None


def _refusal(tracking_uri: str, message: str) -> str:
    if _UNKNOWN_HOST not in message:
        return f"MLflow at {tracking_uri} refused the credentials, or what they may do"
    host = urlsplit(tracking_uri).netloc.rpartition("@")[2]
    return f"MLflow at {tracking_uri} does not answer to the name {host}: add {host} to the server's --allowed-hosts"


def load_mlflow() -> "type[MlflowClient]":
    """Import MLflow with settings that keep it quiet."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    os.environ.update(_ENFORCED)
    with _importing():
        from mlflow import MlflowClient
    client: type[MlflowClient] = MlflowClient
    return client


def _open_database(path: Path) -> "MlflowClient":
    client, uri = load_mlflow(), f"{SQLITE}{path}"
    try:
        with _importing():
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
                    raise BadInputError(f"{path} is not an SQLite database, as mlflow_tracking_uri says")
        # Without the lock, trainers that start together would each make a database.
        with path.with_name(f"{path.name}.lock").open("ab") as lock, translated(uri):
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists() or not path.stat().st_size:
                _make_database(SqlAlchemyStore, path)
            else:
                _check_database(path)
            return client(uri)
    except OSError as error:
        raise BadInputError(f"MLflow database {path} cannot be opened: {reason(error)}") from None


def _check_database(path: Path) -> None:
    """Look for damaged pages, which MLflow would come across only when a finished training is logged.

    Raises:
        BadInputError: There are some, among those that could be looked at in time.
    """
    until = time.monotonic() + _CHECK_SECONDS
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True)) as database:
        database.set_progress_handler(lambda: time.monotonic() > until, 10_000)
        try:
            sound = database.execute("PRAGMA quick_check(1)").fetchall() == [("ok",)]
        except sqlite3.OperationalError:  # locked, or out of time; whatever else it is, MLflow will say
            return
        except sqlite3.DatabaseError:
            sound = False
    if not sound:
        raise BadInputError(_DAMAGED.format(path))


def _make_database(store: Any, path: Path) -> None:
    """Make a database under another name and rename it: MLflow never recovers from half a set of tables."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    _remove(unfinished)
    try:
        # By a client instead, the experiment "Default" would get its artifacts in the current folder.
        store(f"{SQLITE}{unfinished}", artifact_root(path)).engine.dispose()
        unfinished.replace(path)
    finally:
        _remove(unfinished)


def _remove(database: Path) -> None:
    """Remove a database and what SQLite writes beside it."""
    for file in database.parent.glob(f"{database.name}*"):
        file.unlink()


@contextmanager
def _importing() -> Iterator[None]:
    """Import in silence, and faster: 2,000 modules make no garbage, yet looking for it takes a seventh of the time."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if collecting:
            gc.enable()
