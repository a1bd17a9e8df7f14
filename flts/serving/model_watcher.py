"""What is served: the promoted model, loaded anew whenever its pointer changes."""

import gc
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, Any

from flts.errors import BadInputError, FltsError, ServiceUnavailableError
from flts.observability.events import log_event
from flts.observability.redaction import redact
from flts.promotion import HistoryEntry, entries, production_key, read_pointer
from flts.serving.loading import LoadedModel, load
from flts.serving.scores import NaiveScores, read_scores
from flts.serving.settings import ServingSettings
from flts.store import ObjectStore

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

SERVICE = "inference"
_NOTHING = "no model is promoted for identifier {}: it is served as soon as one is"
_NOTHING_AT_ALL = "no model is promoted for any identifier: whichever is promoted first is served, whoever's it is"
_FOLLOWS_ALL = "no identifier is set, so this server follows every promotion, whoever's it is; IDENTIFIER names one"
_PROMOTIONS = 50
# Every so many looks at the pointer, the history is read too, of which what a gate held moves no pointer; and what
# could not be loaded is tried once more: somebody may have mended it.
_THOROUGH = 12


@dataclass(frozen=True)
class ModelBackground:
    """What people like to know of the model that is served, and no forecast needs.

    Attributes:
        scores: Of the model and of the naive forecasts.
        promotions: The latest decisions, the newest first.
    """

    scores: NaiveScores
    promotions: Sequence[HistoryEntry]


class ModelWatcher:
    """A thread that looks at the pointer, and the model that it named last."""

    def __init__(self, store: ObjectStore, settings: ServingSettings, registry: "CollectorRegistry") -> None:
        """Watch the pointer of the identifier that is served, once ``start`` is called."""
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
        self._outages = Counter("flts_store_errors", "Looks at the store or MLflow that failed.", registry=registry)

    @property
    def loaded(self) -> LoadedModel | None:
        """The model that is served now; who forecasts with it takes it once."""
        return self._loaded

    @property
    def problem(self) -> str:
        """Why what is served is not what is promoted, or nobody knows; empty while all is well."""
        return self._problem

    @property
    def nothing(self) -> str:
        """Why there is no model, while there is none."""
        if self._problem:
            return self._problem
        return _NOTHING.format(self._settings.identifier) if self._settings.identifier else _NOTHING_AT_ALL

    @property
    def notice(self) -> str:
        """What whoever runs the server may not have meant; empty where one identifier is followed."""
        return "" if self._settings.identifier else _FOLLOWS_ALL

    @property
    def background(self) -> ModelBackground | None:
        """What else is known of the model; it comes a moment after it."""
        return self._background

    def start(self) -> None:
        """Begin to watch, and say whose promotions are followed."""
        identifier = self._settings.identifier
        if identifier:
            log_event(
                SERVICE, "following", f"serving what is promoted for identifier {identifier}", identifier=identifier
            )
        else:
            log_event(SERVICE, "following", self.notice, "warning")
        self._thread.start()

    def end(self) -> None:
        """Stop watching; a look that has begun goes on for itself."""
        self._ended.set()
        self._wake.set()

    def look(self, *, again: bool = True) -> bool:
        """Look at the pointer now, and serve what it names; tells whether that is another model than before.

        Unless ``again``, a promotion that could not be loaded is not tried once more.

        Raises:
            BadInputError: The promoted model cannot be loaded; the one before is still served.
            ServiceUnavailableError: The store or MLflow is out of reach.
        """
        with self._look_lock:
            before = self._loaded
            try:
                self._look(again=again)
            except ServiceUnavailableError as error:
                self._outages.inc()
                self._tell(str(error))
                raise
            except BadInputError as error:
                self._tell(str(error))
                raise
            self._tell("")
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
                raise BadInputError(f"{bucket}/{self._key} is not a promotion that this version reads")
            loaded = load(self._store, pointer.promotion, pointer.etag, self._settings)
        except BadInputError:
            self._failures.inc()
            self._refused_etag = pointer.etag
            raise
        self._tell("")  # first: who sees the new model must not be told what was wrong before it
        self._loaded, self._refused_etag = loaded, ""
        _settle()
        log_event(
            SERVICE, "loaded", f"serving {loaded.promotion.model_type} of run {loaded.promotion.run_id}", **loaded.log
        )

    def _tell(self, problem: str) -> None:
        problem = redact(problem)
        if problem and problem != self._problem:
            log: dict[str, Any] = self._loaded.log if self._loaded else {}
            log_event(SERVICE, "problem", problem, "warning", **log)
        elif self._problem and not problem:
            log_event(SERVICE, "recovered", "the promoted model is served")
        self._problem = problem

    def _run(self) -> None:
        looks = 0
        while not self._ended.is_set():
            try:
                thorough = looks % _THOROUGH == 0
                changed = self.look(again=thorough)
                if (changed or thorough) and self._loaded:
                    self._learn_background(self._loaded, again=changed)
            except FltsError:
                pass  # said, and tried again
            except Exception as error:  # a bug must not end the watch; what is served stays
                self._tell(f"{type(error).__name__}: {error}")
            looks += 1
            self._wake.wait(self._settings.watch_seconds)

    def _learn_background(self, loaded: LoadedModel, *, again: bool) -> None:
        settings, known = self._settings, self._background
        found = entries(self._store, settings.promotion_bucket, settings.identifier, latest=_PROMOTIONS)
        scores = known.scores if known and not again else read_scores(loaded.promotion, settings.mlflow_tracking_uri)
        self._background = ModelBackground(scores, found[::-1])


def _settle() -> None:
    """Look for garbage once, and from now on only in what comes later.

    What libraries and the model hold, stays; looking through it again and again would hold requests up for 0.1 s each.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
