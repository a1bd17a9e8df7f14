"""Retries of calls to an MLflow that is away."""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from flts.boundary.retries import RetryPolicy
from flts.diagnostics.services import BROKEN_OFF
from flts.errors import ServiceUnavailableError
from flts.tracking.mlflow_errors import explain

if TYPE_CHECKING:
    from mlflow import MlflowClient

T = TypeVar("T")

RETRIES, TIMEOUT = "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"

_BROKEN = re.compile("Connection broken|IncompleteRead|ChunkedEncodingError|failures occurred while downloading")
_short_waits: ContextVar[bool] = ContextVar("_short_waits", default=False)


class MlflowCaller:
    """Calls MLflow, again and again while it is away; every call must be safe to repeat."""

    def __init__(self, tracking_uri: str, seconds: int | None) -> None:
        """Wait ``seconds`` at most; with ``None`` as long as MLflow's own client, half a minute by default."""
        self._tracking_uri = tracking_uri
        self._waiting = None if seconds is None else RetryPolicy(seconds)
        # For responses that break off, which MLflow's client does not request again.
        self._repeating = RetryPolicy(None)

    def __call__(self, call: Callable[[], T], doing: str = "use") -> T:
        """Return the result of ``call``; ``doing`` is its access to an artifact store, such as ``read``.

        Raises:
            ServiceUnavailableError: MLflow stayed away longer than the wait.
        """
        if self._waiting is None or _short_waits.get():
            with self._outages(doing):
                return self._repeating.call(call, _broken)
        return self._waiting.call(partial(self._attempt, call, doing), unreachable)

    def _attempt(self, call: Callable[[], T], doing: str) -> T:
        with _limits({RETRIES: 0}), self._outages(doing):
            return call()

    @contextmanager
    def _outages(self, doing: str) -> Iterator[None]:
        """Turn errors into those of FLTS where MLflow is away; others stay as they are."""
        try:
            yield
        except Exception as error:
            explained = explain(self._tracking_uri, error, doing)
            if isinstance(explained, ServiceUnavailableError):
                raise explained from None
            raise


class PersistentClient:
    """An ``MlflowClient`` whose calls wait for the server."""

    def __init__(self, client: "MlflowClient", caller: MlflowCaller) -> None:
        """Wrap a client."""
        self._client = client
        self._caller = caller

    def __getattr__(self, name: str) -> Any:
        """Return a method of the client."""
        method, doing = getattr(self._client, name), "write to" if name.startswith("log_") else "read"
        return lambda *args, **given: self._caller(lambda: method(*args, **given), doing)


@contextmanager
def short_timeouts(*, retries: int = 0, timeout: int = 3) -> Iterator[None]:
    """Wait for the server for less time than a stage: ``retries`` of a request, ``timeout`` seconds for a response."""
    token = _short_waits.set(True)
    try:
        with _limits({RETRIES: retries, TIMEOUT: timeout}):
            yield
    finally:
        _short_waits.reset(token)


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


def unreachable(error: Exception) -> str:
    """Return the sentence of an error after which a retry may help, as ``RetryPolicy.ask`` wants it; else ``""``."""
    return str(error) if isinstance(error, ServiceUnavailableError) else ""


def _broken(error: Exception) -> str:
    from mlflow.exceptions import MlflowException
    from requests import RequestException  # type: ignore[import-untyped, unused-ignore]

    broken = isinstance(error, MlflowException | RequestException) and _BROKEN.search(str(error))
    return BROKEN_OFF if broken else ""
