"""Writing the bundle of an ensemble from those of its members, none of which is loaded."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flts.boundary.untrusted import copy_folder
from flts.errors import BadInputError
from flts.models import bundle
from flts.models.config import BundleConfig
from flts.models.ensemble.description import EnsembleDescription, EnsembleMember
from flts.models.files import CONFIG_FILE, SCALER_FILE
from flts.models.intervals import Intervals
from flts.models.registry import ENSEMBLE, largest_files

# Of the members' configurations; a mean of other forecasts would not be one of the same thing.
_ALIKE = ("config_hash", "targets", "input_seq_len", "output_seq_len", "sampling_seconds", "parts", "target_range")


@dataclass(frozen=True)
class MemberBundle:
    """The bundle of a model that becomes a member: its folder, the run that trained it, and its configuration."""

    folder: Path
    run_id: str
    config: BundleConfig

    @classmethod
    def verified(cls, folder: Path, run_id: str, sha256: str | None) -> "MemberBundle":
        """Verify a bundle; errors as of ``bundle.verify``, and a ``BadInputError`` where it is an ensemble itself."""
        config = bundle.verify(folder, sha256=sha256)
        if config.model_type == ENSEMBLE.model_type:
            raise BadInputError(f"{folder} is an ensemble itself, and cannot be a member of another")
        return cls(folder, run_id, config)


def check_alike(members: Sequence[MemberBundle]) -> None:
    """Make sure that models can be averaged.

    Raises:
        BadInputError: They differ in data, targets or windows; the sentence names how.
    """
    first, *others = members
    for other in others:
        for name in _ALIKE:
            ours, theirs = getattr(first.config, name), getattr(other.config, name)
            if ours != theirs:
                raise BadInputError(
                    f"{first.config.model_type} and {other.config.model_type} have no mean: {name} is {ours} in one, "
                    f"{theirs} in the other"
                )


def intervals_of_mean(measured: Intervals, members: Sequence[MemberBundle]) -> Intervals:
    """Complete the intervals of the mean, ``measured`` one step ahead, by how those of the members widen.

    No member is loaded, so that the mean farther ahead is not known: see docs/decisions/0019-promoted-mean.md.
    """
    known = [Intervals.of(one.config.intervals, one.config.targets) for one in members if one.config.intervals]
    return measured.widening_like(known)


def save_ensemble(directory: Path, members: Sequence[MemberBundle], intervals: Intervals | None) -> BundleConfig:
    """Write the bundle of an ensemble into ``directory``, which is made when missing.

    Args:
        directory: The folder.
        members: The bundles of its members, verified and alike, in the order that breaks ties.
        intervals: Prediction intervals of the mean.

    Returns:
        Its configuration.

    Raises:
        BadInputError: A bundle changed meanwhile.
    """
    described = [
        EnsembleMember(model_type=one.config.model_type, bundle_sha256=bundle.digest(one.folder)) for one in members
    ]
    for one, member in zip(members, described, strict=True):
        copy = member.folder(directory)
        copy.mkdir(parents=True)
        copy_folder(one.folder, copy, largest_files(), "model bundle")
    EnsembleDescription(members=tuple(described)).save(directory)
    config = _config(members, intervals)
    (directory / CONFIG_FILE).write_text(config.to_json(), encoding="utf-8")
    shutil.copyfile(described[0].folder(directory) / SCALER_FILE, directory / SCALER_FILE)
    files = sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file())
    bundle.seal(directory, files)
    return bundle.verify(directory)


def _config(members: Sequence[MemberBundle], intervals: Intervals | None) -> BundleConfig:
    configs = [one.config for one in members]
    until = [config.trained_until for config in configs]
    return configs[0].model_copy(
        update={
            "model_type": ENSEMBLE.model_type,
            "features": tuple(dict.fromkeys(name for config in configs for name in config.features)),
            "hyperparameters": {"members": [config.model_type for config in configs]},
            # A row that shaped one of them shaped the mean. Times of one form: the latest is the last in order.
            "trained_until": max((moment for moment in until if moment), default=None) if all(until) else None,
            "intervals": intervals.fitted() if intervals else None,
        }
    )
