"""A trained model as a folder of plain files, none of them a pickle: what is logged, handed on and loaded.

``model.safetensors`` (GRU, LSTM) or ``prophet.json`` holds the model, ``config.json`` what it is, ``scaler.json`` the
scaling, ``checksums.json`` the SHA-256 of the other three. The same model gives the same bytes.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from flts.contracts import Message, ModelType, canonical_json
from flts.errors import BadInputError, ChecksumMismatchError
from flts.files import sha256_file
from flts.models.base import Forecaster
from flts.timeseries.frame import Parts, ProcessedData
from flts.timeseries.metrics import target_range
from flts.timeseries.scaling import Scaler

CONFIG_FILE = "config.json"
SCALER_FILE = "scaler.json"
CHECKSUMS_FILE = "checksums.json"
MODEL_FILES: dict[ModelType, str] = {"GRU": "model.safetensors", "LSTM": "model.safetensors", "PROPHET": "prophet.json"}


class BundledForecaster(Forecaster, Protocol):
    """A forecaster that can be saved: it knows its hyperparameters and writes its model file."""

    def config(self) -> dict[str, Any]:
        """Return the hyperparameters that loading needs, as JSON values."""
        ...

    def save(self, directory: Path) -> None:
        """Write the model file into ``directory``."""
        ...


class BundleConfig(Message):
    """``config.json``: what the model is and what data it was trained on.

    ``preprocess_config`` is canonical JSON or ``""``; ``target_range`` the width of each target on the fit part,
    the unit of the reported scores.
    """

    kind: ClassVar[str] = "bundle configuration that this version reads"
    v: Literal[1] = 1
    model_type: ModelType
    input_seq_len: int
    output_seq_len: int
    features: tuple[str, ...]
    targets: tuple[str, ...]
    hyperparameters: dict[str, Any]
    sampling_seconds: float
    parts: Parts
    config_hash: str
    preprocess_config: str
    target_range: dict[str, float]


@dataclass(frozen=True)
class Bundle:
    """A loaded model bundle; ``digest`` is the SHA-256 over its checksums."""

    forecaster: BundledForecaster
    scaler: Scaler
    config: BundleConfig
    digest: str


def save(directory: Path, forecaster: BundledForecaster, data: ProcessedData) -> None:
    """Write a bundle into ``directory``, which is made when missing.

    Args:
        directory: Where the four files go.
        forecaster: The trained model.
        data: The training data that it was trained on.
    """
    directory.mkdir(parents=True, exist_ok=True)
    config = BundleConfig(
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
    )
    forecaster.save(directory)
    (directory / CONFIG_FILE).write_text(config.to_json(), encoding="utf-8")
    (directory / SCALER_FILE).write_text(canonical_json(data.scaler.to_dict()) + "\n", encoding="utf-8")
    names = sorted([CONFIG_FILE, SCALER_FILE, MODEL_FILES[forecaster.model_type]])
    checksums = {name: sha256_file(directory / name) for name in names}
    (directory / CHECKSUMS_FILE).write_text(canonical_json(checksums) + "\n", encoding="utf-8")


def digest(directory: Path) -> str:
    """Return the SHA-256 over ``checksums.json``: one value that stands for the whole bundle."""
    return sha256_file(directory / CHECKSUMS_FILE)


def load(directory: Path) -> Bundle:
    """Verify a bundle and load it; nothing is parsed before every checksum is right.

    Raises:
        ChecksumMismatchError: A file differs from its checksum.
        BadInputError: A file is missing or not declared, is a pickle or an archive, does not parse, or is of a
            version that this one does not know.
    """
    config = verify(directory)
    scaler = _scaler(directory / SCALER_FILE)
    return Bundle(_forecaster(directory, config, scaler), scaler, config, digest(directory))


def verify(directory: Path) -> BundleConfig:
    """Check a bundle and tell what it is, without the library of its model; errors as in ``load``."""
    checksums = _checksums(directory)
    _refuse_strays(directory, checksums)
    for name, expected in checksums.items():
        if sha256_file(directory / name) != expected:
            raise ChecksumMismatchError(
                f"{directory / name} differs from its SHA-256 in {CHECKSUMS_FILE}: the bundle was changed or damaged"
            )
        _refuse_pickle(directory / name)
    config = BundleConfig.read(directory / CONFIG_FILE)
    model_file = MODEL_FILES[config.model_type]
    if model_file not in checksums:
        raise BadInputError(f"{directory} is a {config.model_type} bundle without {model_file}")
    return config


def _forecaster(directory: Path, config: BundleConfig, scaler: Scaler) -> BundledForecaster:
    # Only the library of this model type is imported: an image has torch or Prophet, not both.
    try:
        if config.model_type == "PROPHET":
            from flts.models.prophet import ProphetForecaster

            return ProphetForecaster.load(directory, config, scaler)
        from flts.models.recurrent import RecurrentForecaster

        return RecurrentForecaster.load(directory, config, scaler)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        model_file = MODEL_FILES[config.model_type]
        raise BadInputError(
            f"{directory / model_file} is not the {config.model_type} model that {CONFIG_FILE} describes: {error!r}"
        ) from error


def _checksums(directory: Path) -> dict[str, str]:
    if not directory.is_dir():
        raise BadInputError(f"{directory} is not a model bundle: a folder with {CHECKSUMS_FILE} is expected")
    path = directory / CHECKSUMS_FILE
    if not path.is_file():
        raise BadInputError(f"{directory} is not a model bundle: {CHECKSUMS_FILE} is missing")
    try:
        checksums = json.loads(path.read_bytes())
    except ValueError:
        checksums = None
    declared = [{CONFIG_FILE, SCALER_FILE, model} for model in MODEL_FILES.values()]
    if not isinstance(checksums, dict) or set(checksums) not in declared:
        models = " or ".join(sorted(set(MODEL_FILES.values())))
        raise BadInputError(
            f"{path} must be a JSON object with the SHA-256 of {CONFIG_FILE}, {SCALER_FILE} and {models}"
        )
    return checksums


def _refuse_strays(directory: Path, checksums: dict[str, str]) -> None:
    for path in sorted(directory.iterdir()):
        if path.name not in checksums and path.name != CHECKSUMS_FILE:
            raise BadInputError(
                f"{path} is not part of the model bundle: only {', '.join(checksums)} and {CHECKSUMS_FILE} may be there"
            )
    for name in checksums:
        if not (directory / name).is_file():
            raise BadInputError(f"{directory / name} is missing from the model bundle")


def _refuse_pickle(path: Path) -> None:
    """Accept only JSON text and safetensors by their content: what else there is could be made to run code."""
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
        return Scaler.from_dict(json.loads(path.read_bytes()))
    except (ValueError, KeyError, TypeError) as error:
        raise BadInputError(f"{path} is not a scaler: {error!r}") from None
