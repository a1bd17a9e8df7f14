"""Waiting for an MLflow that is away, and saying so."""

import logging
import math
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

from flts.errors import ServiceUnavailableError
from flts.tracking.trouble import explain

if TYPE_CHECKING:
    from mlflow import MlflowClient

T = TypeVar("T")

RETRIES, TIMEOUT = "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"

_SECONDS_BETWEEN_LINES = 60.0
_BROKEN = re.compile("Connection broken|IncompleteRead|ChunkedEncodingError|failures occurred while downloading")
# For answers that break off half-way, which MLflow does not ask for again.
_REPEATS: Mapping[str, Any] = {"attempts": 6, "timeout": 120.0, "wait_initial": 0.2, "wait_max": 2.0}

_log = logging.getLogger("flts")
_hurried: ContextVar[bool] = ContextVar("_hurried", default=False)


class Patience:
    """Calls MLflow, and calls it again while it is away; whatever is called may be done twice."""

    def __init__(self, tracking_uri: str, seconds: int | None) -> None:
        """Wait ``seconds`` at most; ``None``: as long as MLflow's own client does, half a minute unless told else."""
        self._tracking_uri = tracking_uri
        self._seconds = seconds
        self._told = -math.inf

    def __call__(self, call: Callable[[], T], doing: str = "use") -> T:
        """Return what ``call`` does; ``doing`` is what it does to an artifact store, where it does: ``read``, say.

        Raises:
            ServiceUnavailableError: MLflow stayed away for as long as it is waited for.
        """
        import stamina

        if self._seconds is None or _hurried.get():
            with self._outages(doing):
                return stamina.RetryingCaller(**_REPEATS).on(_is_broken)(call)
        caller = stamina.RetryingCaller(attempts=None, timeout=self._seconds or 1e-9, wait_initial=0.2, wait_max=10.0)
        return caller.on(ServiceUnavailableError)(self._attempt, call, doing)

    def _attempt(self, call: Callable[[], T], doing: str) -> T:
        try:
            with _limits({RETRIES: 0}), self._outages(doing):
                return call()
        except ServiceUnavailableError as error:
            self._tell(error)
            raise

    @contextmanager
    def _outages(self, doing: str) -> Iterator[None]:
        """Turn errors into FLTS' where MLflow is away; others pass as they are."""
        try:
            yield
        except Exception as error:
            explained = explain(self._tracking_uri, error, doing)
            if isinstance(explained, ServiceUnavailableError):
                raise explained from None
            raise

    def _tell(self, error: ServiceUnavailableError) -> None:
        if self._seconds and time.monotonic() - self._told >= _SECONDS_BETWEEN_LINES:
            self._told = time.monotonic()
            _log.warning("waiting, %d s at most, because %s", self._seconds, error)


class PersistentClient:
    """An ``MlflowClient`` whose calls wait for the server."""

    def __init__(self, client: "MlflowClient", patience: Patience) -> None:
        """Wrap a client."""
        self._client = client
        self._patience = patience

    def __getattr__(self, name: str) -> Any:
        """Return a method of the client."""
        method, doing = getattr(self._client, name), "write to" if name.startswith("log_") else "read"
        return lambda *args, **given: self._patience(lambda: method(*args, **given), doing)


@contextmanager
def impatient(*, retries: int = 0, timeout: int = 3) -> Iterator[None]:
    """Wait for the server less long than a stage would: ``retries`` of a request, ``timeout`` seconds an answer."""
    token = _hurried.set(True)
    try:
        with _limits({RETRIES: retries, TIMEOUT: timeout}):
            yield
    finally:
        _hurried.reset(token)


@contextmanager
def _limits(limits: Mapping[str, int]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in limits}
    os.environ.update({name: str(limit) for name, limit in limits.items()})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _is_broken(error: Exception) -> bool:
    from mlflow.exceptions import MlflowException
    from requests import RequestException  # type: ignore[import-untyped, unused-ignore]

    return isinstance(error, MlflowException | RequestException) and bool(_BROKEN.search(str(error)))
