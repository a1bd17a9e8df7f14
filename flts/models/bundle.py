"""Model bundles: a trained model as a folder of plain files, none of them a pickle.

The file that the registry names (``model.safetensors``, ``prophet.json``) holds the model, ``config.json`` what it is,
``scaler.json`` the scaling, ``checksums.json`` the SHA-256 of the other three. The same model gives the same bytes.

The bundle of an ensemble holds those of its members as well, each in ``members/<slot>``; its ``checksums.json`` covers
their files, too.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from flts.boundary.files import sha256_file
from flts.boundary.untrusted import check_folder, check_name, json_object
from flts.contracts import canonical_json
from flts.diagnostics.validation import first_problem
from flts.errors import BadInputError, ChecksumMismatchError
from flts.models.base import BundledForecaster, Forecaster
from flts.models.baselines import LearnedBaselines
from flts.models.config import BundleConfig
from flts.models.files import CHECKSUMS_FILE, CONFIG_FILE, MEMBERS_FOLDER, SCALER_FILE
from flts.models.intervals import Intervals
from flts.models.registry import ENSEMBLE, MODELS, TRAINED_MODELS, entry, largest_files
from flts.timeseries.metrics import target_range
from flts.timeseries.processed import ProcessedData
from flts.timeseries.scaling import Scaler


@dataclass(frozen=True)
class Bundle:
    """A loaded model bundle; ``digest`` is the SHA-256 over its checksums. Older ones have no ``intervals``."""

    forecaster: Forecaster
    scaler: Scaler
    config: BundleConfig
    digest: str
    intervals: Intervals | None = None


def save(
    directory: Path,
    forecaster: BundledForecaster,
    data: ProcessedData,
    *,
    trained_until: str | None = None,
    intervals: Intervals | None = None,
    baselines: LearnedBaselines | None = None,
) -> None:
    """Write a bundle into ``directory``, which is made when missing.

    Args:
        directory: Where the four files go.
        forecaster: The trained model.
        data: The training data that it was trained on.
        trained_until: Time of the last row that the model was trained on.
        intervals: Its prediction intervals.
        baselines: The baselines that it was scored with.

    Raises:
        BadInputError: ``load`` would not accept it: a file is too large, or a value in the data is impossible.
    """
    directory.mkdir(parents=True, exist_ok=True)
    config = _config(forecaster, data, trained_until, intervals, baselines)
    forecaster.save(directory)
    (directory / CONFIG_FILE).write_text(config.to_json(), encoding="utf-8")
    (directory / SCALER_FILE).write_text(canonical_json(data.scaler.to_dict()) + "\n", encoding="utf-8")
    seal(directory, [CONFIG_FILE, SCALER_FILE, MODELS[forecaster.model_type].weights_file])


def seal(directory: Path, names: Iterable[str]) -> None:
    """Write the checksums of a bundle's files; ``BadInputError`` where ``load`` would not accept them."""
    checksums = {name: sha256_file(directory / name) for name in sorted(names)}
    (directory / CHECKSUMS_FILE).write_text(canonical_json(checksums) + "\n", encoding="utf-8")
    check_folder(directory, largest_files(), "model bundle")


def _config(
    forecaster: BundledForecaster,
    data: ProcessedData,
    trained_until: str | None,
    intervals: Intervals | None,
    baselines: LearnedBaselines | None,
) -> BundleConfig:
    try:
        return BundleConfig(
            model_type=forecaster.model_type,
            input_seq_len=forecaster.input_seq_len,
            output_seq_len=forecaster.output_seq_len,
            features=forecaster.features,
            targets=forecaster.targets,
            hyperparameters=forecaster.config(),
            sampling_seconds=data.sampling_seconds,
            parts=data.parts,
            config_hash=data.config_hash,
            preprocess_config=data.config_json,
            target_range=dict(zip(data.targets, target_range(data).tolist(), strict=True)),
            trained_until=trained_until,
            intervals=intervals.fitted() if intervals else None,
            baselines=baselines.fitted(data.targets) if baselines else None,
        )
    except ValidationError as error:
        raise BadInputError(f"the {forecaster.model_type} model cannot be bundled: {first_problem(error)}") from None


def digest(directory: Path) -> str:
    """Return the SHA-256 over ``checksums.json``: one value that identifies the whole bundle."""
    return sha256_file(directory / CHECKSUMS_FILE)


def load(directory: Path, *, sha256: str | None = None) -> Bundle:
    """Verify a bundle and load it; nothing is parsed before every checksum is verified.

    Args:
        directory: The bundle.
        sha256: The digest that a message announces, where it does.

    Raises:
        ChecksumMismatchError: A file differs from its checksum, or the bundle's digest is another one.
        BadInputError: A file is missing, not declared, a link or too large, is a pickle or an archive, does not parse,
            holds an impossible value, or is of a version that this one does not know.
    """
    config = verify(directory, sha256=sha256)
    scaler = _scaler(directory / SCALER_FILE)
    intervals = Intervals.of(config.intervals, config.targets) if config.intervals else None
    return Bundle(_forecaster(directory, config, scaler), scaler, config, digest(directory), intervals)


def verify(directory: Path, *, sha256: str | None = None) -> BundleConfig:
    """Check a bundle and return its configuration, without its model's library; arguments and errors as ``load``."""
    check_folder(directory, largest_files(), "model bundle")
    checksums = _checksums(directory)
    if sha256 and (found := digest(directory)) != sha256:
        raise ChecksumMismatchError(f"the model bundle {directory} has SHA-256 {found}, but {sha256} was announced")
    _refuse_unknown_files(directory, checksums)
    for name, expected in checksums.items():
        if sha256_file(directory / name) != expected:
            raise ChecksumMismatchError(
                f"{directory / name}{_owner(name)} differs from its SHA-256 in {CHECKSUMS_FILE}: the bundle was "
                "changed or damaged"
            )
        _refuse_pickle(directory / name)
    config = BundleConfig.read(directory / CONFIG_FILE)
    model_file = entry(config.model_type, str(directory)).weights_file
    if model_file not in checksums:
        raise BadInputError(f"{directory} is a {config.model_type} bundle without {model_file}")
    for member in members(directory):
        _verify_member(member, config)
    return config


def members(directory: Path) -> list[Path]:
    """Return the bundles of an ensemble's members, in the order that breaks ties; none for any other bundle."""
    folders = [directory / MEMBERS_FOLDER / known.slot for known in TRAINED_MODELS.values()]
    return [folder for folder in folders if folder.is_dir()]


def extras(directory: Path) -> list[str]:
    """Return the extras of flts with the libraries of a verified bundle's model, sorted."""
    configs = [BundleConfig.read(folder / CONFIG_FILE) for folder in members(directory) or [directory]]
    return sorted({MODELS[config.model_type].extra for config in configs})


def _verify_member(folder: Path, ensemble: BundleConfig) -> None:
    """Check the bundle of a member, whose files are those of the ensemble's checksums, and that it fits the others."""
    model_type = folder.name.upper()
    try:
        config = verify(folder)
    except BadInputError as error:
        raise type(error)(f"member {model_type} of an ensemble is damaged: {error}") from None
    expected = ensemble.model_copy(update={"model_type": model_type})
    for name in ("model_type", "config_hash", "targets", "input_seq_len", "output_seq_len"):
        if getattr(config, name) != getattr(expected, name):
            raise BadInputError(
                f"member {model_type} of an ensemble has {name} {getattr(config, name)}, but "
                f"{getattr(expected, name)} is expected: {folder}"
            )
    if unseen := [name for name in config.features if name not in ensemble.features]:
        raise BadInputError(
            f"member {model_type} of an ensemble sees column {unseen[0]!r}, which the ensemble does not"
        )


def _owner(name: str) -> str:
    """Return the words that name the member whose file it is."""
    parts = name.split("/")
    return f", of the ensemble's member {parts[1].upper()}," if len(parts) > 1 else ""


def _forecaster(directory: Path, config: BundleConfig, scaler: Scaler) -> Forecaster:
    known = MODELS[config.model_type]
    try:
        return known.load(directory, config, scaler)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise BadInputError(
            f"{directory / known.weights_file} is not the {config.model_type} model that {CONFIG_FILE} describes"
        ) from error


def _checksums(directory: Path) -> dict[str, str]:
    path = directory / CHECKSUMS_FILE
    if not path.is_file():
        raise BadInputError(f"{directory} is not a model bundle: {CHECKSUMS_FILE} is missing")
    try:
        checksums = json_object(path.read_bytes(), str(path), "a list of checksums")
    except BadInputError:
        checksums = {}
    model_files = {known.weights_file for known in MODELS.values()}
    of_members = {name for folder in members(directory) for name in _files_of_member(folder.name)}
    # Only an ensemble has members, and it has some.
    layouts = [
        {CONFIG_FILE, SCALER_FILE, name} | (of_members if name == ENSEMBLE.weights_file else set())
        for name in model_files
        if of_members or name != ENSEMBLE.weights_file
    ]
    if set(checksums) not in layouts:
        raise BadInputError(
            f"{path} must be a JSON object with the SHA-256 of {CONFIG_FILE}, {SCALER_FILE} and "
            f"{' or '.join(sorted(model_files))}; {ENSEMBLE.weights_file} goes with the files of at least one member"
        )
    return checksums


def _files_of_member(slot: str) -> list[str]:
    model_file = next(known.weights_file for known in TRAINED_MODELS.values() if known.slot == slot)
    return [f"{MEMBERS_FOLDER}/{slot}/{name}" for name in (CHECKSUMS_FILE, CONFIG_FILE, SCALER_FILE, model_file)]


def _refuse_unknown_files(directory: Path, checksums: dict[str, str]) -> None:
    for path in sorted(directory.rglob("*")):
        if not path.is_dir():
            name = path.relative_to(directory).as_posix()
            check_name(name, str(directory), dict.fromkeys([*checksums, CHECKSUMS_FILE], 0), "model bundle")
    for name in checksums:
        if not (directory / name).is_file():
            raise BadInputError(f"{directory / name} is missing from the model bundle")


def _refuse_pickle(path: Path) -> None:
    """Accept only JSON text and safetensors, by their content: other formats may run code when they are loaded."""
    with path.open("rb") as file:
        head = file.read(9)
    # A safetensors file begins with the length of its JSON header, 8 bytes, and the header's brace.
    start = head[8:9] if path.suffix == ".safetensors" else head[:1]
    if start != b"{":
        raise BadInputError(
            f"{path} is not {path.suffix.removeprefix('.')}: pickles, archives and other formats are never loaded"
        )


def _scaler(path: Path) -> Scaler:
    try:
        return Scaler.from_dict(json_object(path.read_bytes(), str(path), "a scaler"))
    except ValidationError as error:
        raise BadInputError(f"{path} is not a scaler: {first_problem(error)}") from None
