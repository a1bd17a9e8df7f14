"""The registry of model types: the trainer, the forecaster and the needs of each; everything else loops over it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from types import MappingProxyType
from typing import TYPE_CHECKING

from flts.contracts import ModelType
from flts.errors import BadInputError
from flts.lazy import resolve
from flts.models.files import LARGEST_DOCUMENTS, LARGEST_MODEL, MEMBERS_FOLDER
from flts.params import LightGBMParams, ProphetParams, RecurrentParams, TrainerParams
from flts.progress import Progress

# The stages' declarations use this module, and `--help` must not import NumPy.
if TYPE_CHECKING:
    from flts.models.base import FitResult, Forecaster
    from flts.models.config import BundleConfig
    from flts.timeseries.processed import ProcessedData
    from flts.timeseries.scaling import Scaler


@dataclass(frozen=True, kw_only=True)
class ModelEntry:
    """A model type.

    Attributes:
        model_type: Its name in messages.
        title: Its name for people.
        forecaster: ``"module:class"`` of the forecaster that its bundles are loaded with.
        weights_file: The model file in its bundle, JSON or safetensors as its suffix says.
        extra: The extra of flts with its libraries. Empty for a type that has none of its own.
        trainer: ``"module:function"`` that fits it; called with data, parameters and progress, returns a ``FitResult``.
            Empty for a type that no training stage trains.
        summary: The task of its training stage, one sentence.
        params: The parameters of its training stage.
        optional: True if its training stage is not part of every pipeline: eval takes its model where it is given.
        remark: A note for readers of its report, if any.
        libraries: Packages that its trainer imports only in a fit.
    """

    model_type: ModelType
    title: str
    forecaster: str
    weights_file: str
    extra: str
    trainer: str = ""
    summary: str = ""
    params: type[TrainerParams] = TrainerParams
    optional: bool = False
    remark: str = ""
    libraries: tuple[str, ...] = ()

    @property
    def slot(self) -> str:
        """Its name in the names of stages and artifacts: ``gru`` in ``train-gru`` and ``gru_model``."""
        return self.model_type.lower()

    def fit(self, data: "ProcessedData", params: TrainerParams, progress: Progress) -> "FitResult":
        """Import the trainer and fit a model; errors as of the trainer."""
        fit: FitResult = resolve(self.trainer)(data, params, progress)
        return fit

    def load(self, directory: Path, config: "BundleConfig", scaler: "Scaler") -> "Forecaster":
        """Import the forecaster and load a bundle with it; errors as in ``BundledForecaster.load``."""
        loaded: Forecaster = resolve(self.forecaster).load(directory, config, scaler)
        return loaded


# The mean of other models, which eval makes; after all of them where scores tie.
ENSEMBLE = ModelEntry(
    model_type="ENSEMBLE",
    title="Ensemble",
    forecaster="flts.models.ensemble.forecaster:EnsembleForecaster",
    weights_file="ensemble.json",
    extra="",
    remark="The ensemble is the mean of the forecasts of its members, all with the same weight.",
)

# All types, in the order that decides ties.
MODELS: Mapping[ModelType, ModelEntry] = MappingProxyType(
    {
        entry.model_type: entry
        for entry in (
            ModelEntry(
                model_type="GRU",
                title="GRU",
                summary="Train a GRU forecaster and score it against four baselines.",
                params=RecurrentParams,
                trainer="flts.models.recurrent.training:fit_gru",
                forecaster="flts.models.recurrent.forecaster:RecurrentForecaster",
                weights_file="model.safetensors",
                extra="torch",
            ),
            ModelEntry(
                model_type="LSTM",
                title="LSTM",
                summary="Train an LSTM forecaster and score it against four baselines.",
                params=RecurrentParams,
                trainer="flts.models.recurrent.training:fit_lstm",
                forecaster="flts.models.recurrent.forecaster:RecurrentForecaster",
                weights_file="model.safetensors",
                extra="torch",
            ),
            ModelEntry(
                model_type="PROPHET",
                title="Prophet",
                summary="Fit one Prophet model per target and score it against four baselines.",
                params=ProphetParams,
                trainer="flts.models.prophet.training:fit_prophet",
                forecaster="flts.models.prophet.forecaster:ProphetForecaster",
                weights_file="prophet.json",
                extra="prophet",
                remark="Prophet's curve sees the time and its target only. What recent rows and other columns say "
                "reaches it through the residual correction alone.",
                libraries=("pandas", "prophet", "cmdstanpy"),
            ),
            ModelEntry(
                model_type="LIGHTGBM",
                title="LightGBM",
                summary="Fit gradient-boosted trees and score them against four baselines.",
                params=LightGBMParams,
                trainer="flts.models.boosting.training:fit_lightgbm",
                forecaster="flts.models.boosting.forecaster:LightGBMForecaster",
                weights_file="lightgbm.json",
                extra="lightgbm",
                optional=True,
                libraries=("lightgbm",),
            ),
            ENSEMBLE,
        )
    }
)

# Those with a training stage.
TRAINED_MODELS: Mapping[ModelType, ModelEntry] = MappingProxyType(
    {name: entry for name, entry in MODELS.items() if entry.trainer}
)
# Those that every pipeline trains, and that eval requires.
REQUIRED_MODELS: Mapping[ModelType, ModelEntry] = MappingProxyType(
    {name: entry for name, entry in TRAINED_MODELS.items() if not entry.optional}
)


def largest_files() -> dict[str, int]:
    """Return the files that a bundle may have, ``/``-separated, and the largest size of each in bytes."""
    weights_files = {known.weights_file for known in MODELS.values()}
    own = {**LARGEST_DOCUMENTS, **{name: LARGEST_MODEL[PurePath(name).suffix] for name in sorted(weights_files)}}
    # An ensemble has no ensembles among its members.
    of_members = {
        f"{MEMBERS_FOLDER}/{known.slot}/{name}": own[name]
        for known in TRAINED_MODELS.values()
        for name in (*LARGEST_DOCUMENTS, known.weights_file)
    }
    return own | of_members


def entry(model_type: ModelType, where: str) -> ModelEntry:
    """Return the entry of a type that a message or bundle names; ``where`` is its file or address, for the error.

    Raises:
        BadInputError: This version does not know the type.
    """
    if model_type not in MODELS:
        raise BadInputError(f"{where}: model type {model_type} is not known to this version; {', '.join(MODELS)} are")
    return MODELS[model_type]
