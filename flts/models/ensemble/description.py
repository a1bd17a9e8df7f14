"""``ensemble.json``: the members of an ensemble, in the bundle that holds theirs."""

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import BaseModel, Field

from flts.contracts import Message, ModelType
from flts.models.files import MEMBERS_FOLDER
from flts.models.registry import ENSEMBLE


class EnsembleMember(BaseModel):
    """A model in an ensemble: its type and the digest of its bundle. No run: equal members make equal bundles."""

    model_type: ModelType
    bundle_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]

    def folder(self, directory: Path) -> Path:
        """Return the folder of its bundle in the bundle of the ensemble."""
        return directory / MEMBERS_FOLDER / self.model_type.lower()


class EnsembleDescription(Message):
    """The content of ``ensemble.json``; the members are in the order that breaks ties."""

    kind: ClassVar[str] = "description of an ensemble"
    members: Annotated[tuple[EnsembleMember, ...], Field(min_length=1)]

    def save(self, directory: Path) -> None:
        """Write it into the bundle of the ensemble."""
        (directory / ENSEMBLE.weights_file).write_text(self.to_json(), encoding="utf-8")

    @classmethod
    def of(cls, directory: Path) -> "EnsembleDescription":
        """Read that of an ensemble's bundle; ``BadInputError`` where the file is something else."""
        return cls.read(directory / ENSEMBLE.weights_file)
