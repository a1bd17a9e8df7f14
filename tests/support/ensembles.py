"""Three trained models whose forecasts of the selection part are known, as the mean of them then is."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flts.contracts import TrainedModel
from flts.datafiles.processed_parquet import write_processed
from flts.models import bundle
from flts.models.base import BundledForecaster
from flts.models.intervals import Intervals
from flts.params import EvalParams
from flts.stage_interface import Context, InputArtifact, Result
from flts.stages.evaluation.stage import run
from flts.stages.selection import SelectionForecasts
from flts.timeseries.arrays import Floats
from flts.timeseries.metrics import score, target_range
from flts.timeseries.processed import ProcessedData
from tests.support.champions import HISTORY, MINUTE, off_by, scored, until, write_metrics

SLOTS = ("gru", "lstm", "prophet")


def forecaster(slot: str, data: ProcessedData) -> BundledForecaster:
    """A model of a type; a network has arbitrary weights."""
    if slot == "prophet":
        return off_by(data, 0.0)
    import torch

    from flts.models.recurrent.forecaster import RecurrentForecaster
    from flts.models.recurrent.network import RecurrentNet
    from flts.models.recurrent.window_transform import ScalingTransform

    torch.manual_seed(SLOTS.index(slot))
    return RecurrentForecaster(
        [RecurrentNet("GRU" if slot == "gru" else "LSTM", len(data.features), 4, 1, len(data.targets))],
        ScalingTransform(data.features, data.targets, data.scaler, input_seq_len=HISTORY, output_seq_len=1),
        input_seq_len=HISTORY,
        output_seq_len=1,
        features=data.features,
        targets=data.targets,
    )


@dataclass(frozen=True)
class EnsembleCandidates:
    """The outputs of the three trainers, a folder each, and the training data."""

    folder: Path
    data: ProcessedData
    predicted: Mapping[str, Floats]

    @classmethod
    def write(cls, folder: Path, data: ProcessedData, predicted: Mapping[str, Floats]) -> "EnsembleCandidates":
        """Write them; ``predicted`` (k, targets) are the forecasts of the selection part by slot."""
        made = cls(folder, data, dict(predicted))
        folder.mkdir(parents=True, exist_ok=True)
        write_processed(folder / "processed_data.parquet", data)
        for slot, values in predicted.items():
            made._write_candidate(slot, values)
        return made

    def composite(self, slot: str) -> float:
        """The composite score of a candidate."""
        return self.score_of(self.predicted[slot])

    def score_of(self, predicted: Floats) -> float:
        """The composite score of forecasts."""
        return score(self.data.actual_matrix()[scored(self.data)], predicted, unit=target_range(self.data)).composite

    def evaluate(self, output: Path, **given: object) -> Result:
        """Run eval as by itself, with an ensemble; ``given`` are parameters, or parts of the context."""
        output.mkdir(parents=True, exist_ok=True)
        work_dir = output / "work"
        work_dir.mkdir(exist_ok=True)
        inputs = {"training_data": InputArtifact(self.folder / "processed_data.parquet")}
        for slot in self.predicted:
            inputs[f"{slot}_model"] = InputArtifact(self.folder / slot / "model.json")
            inputs[f"{slot}_metrics"] = InputArtifact(self.folder / slot / "metrics.json")
        names = set(EvalParams.model_fields)
        params = {"config_hash": "", "identifier": "station", "ensemble": True}
        params |= {name: value for name, value in given.items() if name in names}
        context = {name: value for name, value in given.items() if name not in names}
        return run(
            EvalParams.model_validate(params),
            Context(**{"inputs": inputs, "work_dir": work_dir, "output_dir": output} | context),  # type: ignore[arg-type]
            model_types=",".join(slot.upper() for slot in self.predicted),
        )

    def _write_candidate(self, slot: str, predicted: Floats) -> None:
        folder, data, rows = self.folder / slot, self.data, scored(self.data)
        model = forecaster(slot, data)
        honest = until(data, data.parts.validation_end - 1)
        intervals = Intervals.learn(model, data, predicted, rows, 0.9)
        bundle.save(folder / "bundle", model, data, trained_until=honest, intervals=intervals)
        scores = score(data.actual_matrix()[rows], predicted, unit=target_range(data))
        message = TrainedModel(
            model_type=slot.upper(),
            config_hash=data.config_hash,
            run_id=f"run-{slot}",
            status="SUCCESS",
            model_uri="bundle",
            test_rmse=scores.rmse,
            test_mae=scores.mae,
            test_mse=scores.mse,
            train_start="2025-01-31T11:00:00.000000Z",
            train_end=MINUTE % (10, SLOTS.index(slot)),
            identifier="station",
            artifact_uri="bundle",
            operation=f"Trained: {slot.upper()}",
            bundle_sha256=bundle.digest(folder / "bundle"),
            trained_until=honest,
        )
        (folder / "model.json").write_text(message.to_json())
        write_metrics(folder / "metrics.json", scores, persistence=99.0, linear=99.0)
        (folder / "selection.json").write_text(SelectionForecasts.of(data, rows, predicted).to_json())


def noisy(data: ProcessedData, slot: str, scale: float) -> Floats:
    """Forecasts of the selection part with errors of their own: those of a mean are smaller."""
    actual = data.actual_matrix()[scored(data)]
    errors: Floats = np.random.default_rng(SLOTS.index(slot)).normal(size=actual.shape)
    return actual + scale * errors


def edit_message(folder: Path, **fields: object) -> None:
    """Change fields of a trainer's message."""
    path = folder / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))
