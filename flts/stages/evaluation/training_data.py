"""The training data of the candidates, read once, and only if something needs it."""

from functools import cached_property
from pathlib import Path

from flts.errors import BadInputError
from flts.stage_interface import Context, InputArtifact
from flts.stages.inputs import read_dataset, required_input
from flts.timeseries.processed import ProcessedData


class CandidatesData:
    """The input ``training_data``, which pipelines give and a command may lack."""

    def __init__(self, context: Context, config_hash: str) -> None:
        """Prepare to read the data of the candidates, which share ``config_hash``."""
        self._context, self._config_hash = context, config_hash

    @property
    def given(self) -> bool:
        """True if there is the input."""
        return "training_data" in self._context.inputs

    @property
    def artifact(self) -> InputArtifact:
        """The input artifact; ``BadInputError`` where it is not given or not there."""
        return required_input(self._context, "training_data")

    @property
    def path(self) -> Path:
        """The file that it was read from; errors as of ``processed``."""
        return self._read[0]

    @property
    def processed(self) -> ProcessedData:
        """The data; ``BadInputError`` where it cannot be read, or is not what the candidates were trained on."""
        return self._read[1]

    @cached_property
    def _read(self) -> tuple[Path, ProcessedData]:
        artifact = self.artifact
        path, data = read_dataset(artifact, self._context.store, self._context.work_dir)
        if data.config_hash != self._config_hash:
            raise BadInputError(
                f"training_data ({artifact.path}) has config_hash {data.config_hash}, but the candidates were trained "
                f"on {self._config_hash}"
            )
        return path, data
