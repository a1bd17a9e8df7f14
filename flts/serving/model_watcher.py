"""The model being served, reloaded whenever the pointer to the promoted model changes."""

import gc
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any

from flts.errors import BadInputError, FltsError, ServiceUnavailableError
from flts.observability.events import log_event
from flts.observability.redaction import redact
from flts.promotion import HistoryEntry, entries, production_key, read_pointer
from flts.serving.loading import LoadedModel, load_promoted
from flts.serving.scores import NaiveScores, read_scores
from flts.serving.settings import ServingSettings
from flts.store import ObjectStore

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

SERVICE = "inference"
_NOTHING = "no model is promoted for identifier {} yet; the first one will be served within seconds of its promotion"
_NOTHING_AT_ALL = (
    "no model is promoted for any identifier yet; the first one will be served within seconds of its promotion"
)
_FOLLOWS_ALL = (
    "no identifier is set, so this server serves the latest promotion of any identifier; set IDENTIFIER to follow one"
)
_PROMOTIONS = 50
# Every so many looks at the pointer, the promotion history is read too, because models held back by a gate move no
# pointer, and a model that could not be loaded is tried again, because it may have been repaired.
_LOOKS_PER_RETRY = 12


@dataclass(frozen=True)
class ModelBackground:
    """Facts about the model being served that people want to see and forecasts do not need.

    Attributes:
        scores: Scores of the baselines.
        promotions: The latest decisions, newest first.
    """

    scores: NaiveScores
    promotions: Sequence[HistoryEntry]


class ModelWatcher:
    """A thread that polls the pointer, and the model that it named last."""

    def __init__(self, store: ObjectStore, settings: ServingSettings, registry: "CollectorRegistry") -> None:
        """Prepare to watch the pointer of the identifier in the settings; ``start`` begins."""
        from prometheus_client import Counter

        self._store, self._settings = store, settings
        self._key = production_key(settings.identifier) if settings.identifier else "current.json"
        self._loaded: LoadedModel | None = None
        self._background: ModelBackground | None = None
        self._refused_etag = ""
        self._problem = ""
        self._wake, self._ended, self._look_lock = Event(), Event(), Lock()
        self._thread = Thread(target=self._run, name="watch", daemon=True)
        self._failures = Counter(
            "flts_model_reload_failures", "Promoted models that could not be loaded.", registry=registry
        )
        self._outages = Counter(
            "flts_store_errors", "Failed attempts to read from the store or MLflow.", registry=registry
        )

    @property
    def loaded(self) -> LoadedModel | None:
        """The model being served; read it once per request, because it may change at any time."""
        return self._loaded

    @property
    def problem(self) -> str:
        """Reason why the latest promotion is not, or may not be, the model being served; empty while it is."""
        return self._problem

    @property
    def missing_reason(self) -> str:
        """Reason why no model is being served, while there is none."""
        if self._problem:
            return self._problem
        return _NOTHING.format(self._settings.identifier) if self._settings.identifier else _NOTHING_AT_ALL

    @property
    def notice(self) -> str:
        """Warning that no identifier is set; empty if one is."""
        return "" if self._settings.identifier else _FOLLOWS_ALL

    @property
    def background(self) -> ModelBackground | None:
        """Baseline scores and promotions; read shortly after the model is loaded."""
        return self._background

    def start(self) -> None:
        """Start watching, and log which promotions are followed."""
        identifier = self._settings.identifier
        if identifier:
            message = f"serving the model promoted for identifier {identifier}"
            log_event(SERVICE, "following", message, identifier=identifier)
        else:
            log_event(SERVICE, "following", self.notice, "warning")
        self._thread.start()

    def end(self) -> None:
        """Stop watching, without waiting for a look in progress."""
        self._ended.set()
        self._wake.set()

    def look(self, *, again: bool = True) -> bool:
        """Read the pointer now and serve the model that it names; return true if that is another model than before.

        A promotion that could not be loaded is tried again only if ``again`` is set.

        Raises:
            BadInputError: The promoted model cannot be loaded; the one before stays in service.
            ServiceUnavailableError: The store or MLflow is out of reach.
        """
        with self._look_lock:
            before = self._loaded
            try:
                self._look(again=again)
            except ServiceUnavailableError as error:
                self._outages.inc()
                self._set_problem(str(error))
                raise
            except BadInputError as error:
                self._set_problem(str(error))
                raise
            self._set_problem("")
            return self._loaded is not before

    def _look(self, *, again: bool) -> None:
        bucket = self._settings.promotion_bucket
        info = self._store.head(bucket, self._key)
        if info is None or (self._loaded and info.etag == self._loaded.etag):
            return
        if info.etag == self._refused_etag and not again:
            raise BadInputError(self._problem)
        pointer = read_pointer(self._store, bucket, self._key)
        if pointer is None:
            return
        try:
            if pointer.promotion is None:
                raise BadInputError(f"{bucket}/{self._key} is not a promotion that this version can read")
            loaded = load_promoted(self._store, pointer.promotion, pointer.etag, self._settings)
        except BadInputError:
            self._failures.inc()
            self._refused_etag = pointer.etag
            raise
        self._set_problem("")  # first, so that nobody sees the new model together with the old problem
        self._loaded, self._refused_etag = loaded, ""
        _freeze_garbage()
        message = f"serving {loaded.promotion.model_type} of run {loaded.promotion.run_id}"
        log_event(SERVICE, "loaded", message, **loaded.log)

    def _set_problem(self, problem: str) -> None:
        problem = redact(problem)
        if problem and problem != self._problem:
            log: dict[str, Any] = self._loaded.log if self._loaded else {}
            log_event(SERVICE, "problem", problem, "warning", **log)
        elif self._problem and not problem:
            log_event(SERVICE, "recovered", "the promoted model is being served")
        self._problem = problem

    def _run(self) -> None:
        looks = 0
        while not self._ended.is_set():
            try:
                thorough = looks % _LOOKS_PER_RETRY == 0
                changed = self.look(again=thorough)
                if (changed or thorough) and self._loaded:
                    self._read_background(self._loaded, again=changed)
            except FltsError:
                pass  # logged already; the next look tries again
            except Exception as error:  # a bug must not end the thread; the model stays in service
                self._set_problem(f"{type(error).__name__}: {error}")
            looks += 1
            self._wake.wait(self._settings.watch_seconds)

    def _read_background(self, loaded: LoadedModel, *, again: bool) -> None:
        settings, known = self._settings, self._background
        found = entries(self._store, settings.promotion_bucket, settings.identifier, latest=_PROMOTIONS)
        scores = known.scores if known and not again else read_scores(loaded.promotion, settings.mlflow_tracking_uri)
        self._background = ModelBackground(scores, found[::-1])


def _freeze_garbage() -> None:
    """Collect garbage once, and exempt all that is left from later collections.

    Libraries and the model stay in memory anyway; scanning them again and again would delay requests by 0.1 s each.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
