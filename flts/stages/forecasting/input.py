"""Inputs of inference: the test data and the promoted model, checked to fit each other."""

from dataclasses import dataclass, replace
from pathlib import Path

from flts.contracts import Promotion, TrainedModel
from flts.errors import BadInputError
from flts.models import bundle
from flts.models.base import Forecaster
from flts.models.intervals import Intervals
from flts.params import InferenceParams
from flts.stage_interface import Context
from flts.stages.inputs import load_selected, read_dataset, read_selected, required_input, with_time_features
from flts.timeseries.processed import ProcessedData

# Larger ratios of the data's sampling interval to the training data's give a warning.
_INTERVAL_TOLERANCE = 1.5


@dataclass(frozen=True)
class ForecastInput:
    """Data and model of a forecast.

    Attributes:
        path: The data file.
        data: Its rows, with the model's targets.
        selected: The message that names the model.
        forecaster: The model.
        intervals: The model's prediction intervals; ``None`` for older models.
        start: First row to forecast.
        notes: Warnings for people.
        loaded: The model's bundle.
    """

    path: Path
    data: ProcessedData
    selected: Promotion | TrainedModel
    forecaster: Forecaster
    intervals: Intervals | None
    start: int
    notes: tuple[str, ...]
    loaded: bundle.Bundle


def read_input(params: InferenceParams, context: Context) -> ForecastInput:
    """Read data and model.

    Raises:
        BadInputError: One of them is missing or cannot be read, they do not fit each other, or the data is too short.
    """
    path, data = read_dataset(required_input(context, "inference_data"), context.store, context.work_dir)
    selected = read_selected(required_input(context, "selected_model"))
    _check_config_hash(params.config_hash, data, selected, path)
    loaded = load_selected(
        selected, context.tracking_uri, context.work_dir / "model", wait_seconds=context.wait_seconds
    )
    forecaster = loaded.forecaster
    data = adapt_to_model(forecaster, data, str(path))
    start = params.sample_idx + forecaster.input_seq_len
    if start > len(data):
        raise BadInputError(
            f"{path} has {len(data)} rows, but sample_idx {params.sample_idx} and the model's input_seq_len "
            f"{forecaster.input_seq_len} need at least {start}"
        )
    return ForecastInput(
        path,
        data,
        selected,
        forecaster,
        loaded.intervals,
        start,
        _interval_notes(data, loaded),
        loaded,
    )


def _check_config_hash(expected: str, data: ProcessedData, selected: Promotion | TrainedModel, path: Path) -> None:
    """Refuse data and model of different preprocessing; a foreign file, which names none, is checked by its columns.

    A champion that replaces a held winner carries the ``config_hash`` of the data that it is to forecast.
    """
    intended = getattr(selected, "data_config_hash", None) or selected.config_hash
    if data.config_json and data.config_hash != (expected or intended):
        raise BadInputError(f"{path} has config_hash {data.config_hash}, but {expected or intended} is expected")
    if expected and intended != expected:
        raise BadInputError(
            f"the selected {selected.model_type} (run {selected.run_id}) was trained on data with config_hash "
            f"{selected.config_hash}, but {expected} is expected"
        )


def adapt_to_model(forecaster: Forecaster, data: ProcessedData, source: str) -> ProcessedData:
    """Return data as a model needs it: with its time features and targets, which a foreign file does not name.

    Args:
        forecaster: The model.
        data: The rows.
        source: Their name in error sentences.

    Raises:
        BadInputError: A column is missing.
    """
    data = with_time_features(data, forecaster.features)
    lacking = [name for name in dict.fromkeys([*forecaster.features, *forecaster.targets]) if name not in data.features]
    if lacking:
        raise BadInputError(
            f"{source} lacks the columns {', '.join(lacking)} that the model was trained on; "
            "preprocess it with the same parameters as the training data"
        )
    actual = {name: data.actual.get(name, data.frame.columns[name]) for name in forecaster.targets}
    return replace(data, targets=forecaster.targets, actual=actual)


def quantile_notes(params: InferenceParams, source: ForecastInput) -> tuple[str, ...]:
    """Return what to know of the quantiles that are asked for of an older model."""
    if not params.quantiles:
        return ()
    if source.intervals is None:
        return (f"{source.selected.model_type} has no intervals, and so no quantiles: train it again",)
    if source.intervals.signed is None:
        return (
            f"{source.selected.model_type} was trained by an older version, which did not keep the signs of errors: "
            "quantiles are as far below the forecast as above it, until measured values tell more",
        )
    return ()


def _interval_notes(data: ProcessedData, loaded: bundle.Bundle) -> tuple[str, ...]:
    here, trained = data.sampling_seconds, loaded.config.sampling_seconds
    if len(data) > 1 and not 1 / _INTERVAL_TOLERANCE < here / trained < _INTERVAL_TOLERANCE:
        return (f"the data has a row every {here:g} s, but the model was trained on one every {trained:g} s",)
    return ()
