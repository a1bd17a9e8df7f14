"""Messages between stages: claim check, trained model, promotion, forecast, performance.

Each is JSON with ``"v": 1``. Unknown fields are kept and ignored; times are ISO 8601, UTC, with ``Z``.
"""

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from flts.boundary.untrusted import read_document
from flts.diagnostics.validation import first_problem, shown
from flts.errors import BadInputError

# The registered types are in flts.models.registry.
ModelType = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9]{0,31}$")]


def _address(value: str) -> str:
    if len(value) > 4096 or re.search(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]", value):
        raise ValueError("must be a path or an address of at most 4096 characters, none of them a control character")
    return value


def _part_of_keys(value: str) -> str:
    # Otherwise a folder could take the name of a pointer, which could then never be moved again.
    if not re.fullmatch(r"[\w-]{0,128}", value, re.ASCII):
        raise ValueError("must be at most 128 letters, digits, '-' and '_'")
    return value


Address = Annotated[str, AfterValidator(_address)]
ConfigHash = Annotated[str, AfterValidator(_part_of_keys)]
MetadataValue = str | int | float

_CLOCKS_DIFFER = timedelta(days=1)

SCORE_WEIGHTS: Mapping[str, float] = {"rmse": 0.5, "mae": 0.3, "mse": 0.2}


def canonical_json(value: object) -> str:
    """Serialise with sorted keys and no spaces, so that equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def utc_timestamp(moment: datetime | None = None) -> str:
    """Format a moment (default: now) as ISO 8601 in UTC with microseconds and ``Z``."""
    moment = moment or datetime.now(UTC)
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def parse_timestamp(text: str) -> datetime:
    """Parse an ISO 8601 time into UTC; times without a zone are UTC. ``ValueError`` if it is not one."""
    moment = datetime.fromisoformat(text)
    try:
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except OverflowError:
        raise ValueError(f"{text} is before the year 1 or after the year 9999 in UTC") from None


def past_moment(text: object, label: str) -> datetime:
    """Parse a time in the past from a field of a message.

    Args:
        text: The field.
        label: Name of the field in sentences.

    Raises:
        BadInputError: It is not a time, or lies in the future; since the latest of several messages counts, a message
            from the future would outrank all that follow.
    """
    try:
        moment = parse_timestamp(str(text))
    except ValueError:
        raise BadInputError(f"{label} {shown(text, quoted=True)} is not a time such as 2025-01-31T12:00:00Z") from None
    if moment > datetime.now(UTC) + _CLOCKS_DIFFER:
        raise BadInputError(f"{label} {text} lies in the future")
    return moment


def composite_score(rmse: float, mae: float, mse: float) -> float:
    """Return ``0.5 rmse + 0.3 mae + 0.2 mse``, all in min-max units of the fit part; lower is better."""
    return SCORE_WEIGHTS["rmse"] * rmse + SCORE_WEIGHTS["mae"] * mae + SCORE_WEIGHTS["mse"] * mse


class Message(BaseModel):
    """A versioned JSON document; fields that this version does not know are kept."""

    model_config = ConfigDict(extra="allow", frozen=True, protected_namespaces=())

    kind: ClassVar[str] = "message"
    v: int = 1

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a message from a file.

        Raises:
            BadInputError: The file is not such a message, or too large for one; the sentence names the file and the
                first invalid field.
        """
        return cls.parse(read_document(path, cls.kind), source=str(path))

    @classmethod
    def parse(cls, data: bytes | str, *, source: str) -> Self:
        """Parse a message; error sentences begin with ``source``."""
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            raise BadInputError(f"{source} is not a {cls.kind}: {first_problem(error)}") from None

    def to_json(self) -> str:
        """Serialise as canonical JSON with a final newline.

        Numbers that are not finite become ``null``; optional fields that are not set are left out.
        """
        unset = {
            name
            for name, field in type(self).model_fields.items()
            if not field.is_required() and field.default is None and getattr(self, name) is None
        }
        return canonical_json(_finite(self.model_dump(mode="json", exclude=unset))) + "\n"

    def metadata(self) -> dict[str, MetadataValue]:
        """Flatten to strings and finite numbers, as KFP's artifact metadata requires."""
        return flat_metadata(self.model_dump(mode="json"))


class ClaimCheck(Message):
    """Location of a dataset; the file of a Dataset artifact. ``size`` is in bytes, ``sha256`` that of the object.

    Readers verify ``size``, ``sha256``, ``rows``, and ``config_hash`` where it is not empty.
    """

    kind: ClassVar[str] = "claim check"
    bucket: str
    object: str
    size: int
    identifier: str
    config_hash: ConfigHash
    sha256: str
    rows: int
    object_key: str | None = None
    operation: str | None = None


class TrainedModel(Message):
    """A finished training; the file of a Model artifact. Scores are in min-max units of the fit part.

    ``experiment`` is the MLflow experiment of its run; ``bundle_sha256`` the SHA-256 of the bundle's
    ``checksums.json``, which readers verify; ``trained_until`` the time of the last training row. Messages of older
    versions have none of them.
    """

    kind: ClassVar[str] = "trained-model message"
    model_type: ModelType
    config_hash: ConfigHash
    run_id: str
    status: Literal["RUNNING", "SUCCESS"]
    model_uri: Address
    test_rmse: float | None
    test_mae: float | None
    test_mse: float | None
    train_start: str
    train_end: str
    identifier: str
    artifact_uri: Address
    operation: str
    experiment: str | None = None
    bundle_sha256: str | None = None
    trained_until: str | None = None


class LeaderboardEntry(BaseModel):
    """A model or baseline on a leaderboard; ``None`` where something is unknown.

    On the selection part ``rmse``, ``mae`` and ``mse`` are in min-max units of the fit part, on the test data in
    original units. ``rank`` is by ``composite``, always in min-max units; ``run_id`` is ``None`` for a baseline.
    """

    model_config = ConfigDict(frozen=True)

    model: str
    run_id: str | None = None
    part: Literal["selection", "test"]
    rank: int | None = None
    composite: float | None = None
    rmse: float | None = None
    mae: float | None = None
    mse: float | None = None
    mase: float | None = None
    smape: float | None = None
    nrmse: float | None = None
    skill: float | None = None
    rows: int | None = None


class Promotion(Message):
    """The model chosen by eval; also the content of the ``current.json`` pointers.

    These fields are optional. Messages of older versions lack them, and are promotions:

    Attributes:
        artifact_uri: Address of the model in MLflow.
        bundle_sha256: As in the trained model.
        operation: ``Promotion``, made by an evaluation, or ``Rollback``, made by a person.
        status: ``PROMOTED``, or ``HELD`` if a gate kept it from production and no pointer names it.
        reason: Reason for the status, one sentence.
        by: Person who rolled back.
        gate: Requirement that the winner had to meet.
        champion_run_id: Run of the model in production, if the winner was compared with it.
        champion_time: The ``promotion_time`` of that model.
        interval_coverage: Share of measured values inside the winner's intervals, if it has any.
        data_config_hash: ``config_hash`` of the data to forecast, in a champion that replaces a held winner.
        candidates: The models that were compared, so that inference can score all of them on the test data.
        leaderboard: Their ranks on the selection part, with the baselines.
    """

    kind: ClassVar[str] = "promotion"
    model_uri: Address
    model_type: ModelType
    run_id: str
    config_hash: ConfigHash
    composite_score: float
    test_rmse: float
    test_mae: float
    test_mse: float
    promotion_time: str
    identifier: str
    experiment: str
    weights: dict[str, float] = Field(default_factory=lambda: dict(SCORE_WEIGHTS))
    rmse: float
    mae: float
    mse: float
    score: float
    timestamp: str
    artifact_uri: Address | None = None
    bundle_sha256: str | None = None
    operation: str | None = None
    status: str | None = None
    reason: str | None = None
    by: str | None = None
    gate: str | None = None
    champion_run_id: str | None = None
    champion_time: str | None = None
    interval_coverage: float | None = None
    data_config_hash: str | None = None
    candidates: list[TrainedModel] | None = None
    leaderboard: list[LeaderboardEntry] | None = None

    @property
    def held(self) -> bool:
        """True if a gate kept it from production."""
        return self.status == "HELD"

    def metadata(self) -> dict[str, MetadataValue]:
        """Flatten as every message, without the other candidates, which belong to the file alone."""
        return flat_metadata(self.model_dump(mode="json", exclude={"candidates", "leaderboard"}))


class ForecastBatch(Message):
    """One forecast with its metrics: a line of ``results.jsonl``; all values in original units.

    ``data_sha256``, ``inference_length`` and ``sample_idx`` record the request; older versions lack them. ``quantiles``
    names those that samples have, separated by commas, where some were asked for.
    """

    kind: ClassVar[str] = "forecast batch"
    timestamp: str
    identifier: str
    run_id: str
    model_type: ModelType
    config_hash: ConfigHash
    status: str
    metrics: dict[str, Any]
    samples: list[dict[str, Any]]
    data_sha256: str | None = None
    inference_length: int | None = None
    sample_idx: int | None = None
    quantiles: str | None = None


class Performance(Message):
    """Notice that a forecast was made, with the location of its log."""

    kind: ClassVar[str] = "performance message"
    operation: Literal["Inference"] = "Inference"
    status: str
    identifier: str
    run_id: str
    model_type: ModelType
    config_hash: ConfigHash
    rows: int
    log_bucket: str
    log_object_key: str
    metrics: dict[str, Any]


def flat_metadata(fields: Mapping[str, Any]) -> dict[str, MetadataValue]:
    """Keep strings and finite numbers; nested values become canonical JSON, ``None`` and NaN are left out."""
    flat: dict[str, MetadataValue] = {}
    for name, value in fields.items():
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            continue
        if isinstance(value, bool):
            flat[name] = str(value).lower()
        elif isinstance(value, str | int | float):
            flat[name] = value
        else:
            flat[name] = canonical_json(_finite(value))
    return flat


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return value
