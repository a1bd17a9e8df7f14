"""Compile the component specs and the pipelines: ``make specs``; ``--check`` only lists what is out of date.

With ``--registry``, ``--tag``, ``--digests`` or ``--timeout`` they are written to ``build/specs`` with those image
references and that time limit, and the tracked files stay as they are.
"""

import argparse
import importlib.util
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kfp.compiler import Compiler
from kfp.dsl.base_component import BaseComponent

from flts.stages import STAGES

ROOT = Path(__file__).resolve().parents[1]
PUBLISHED = ROOT / "build" / "specs"
DEFAULT_TAG = "kfp"


def load_component(stage: str) -> Any:
    """Load ``images/<stage>/component.py``, whose folder is not a package, and return its component."""
    path = ROOT / "images" / stage / "component.py"
    name = f"component_{stage.replace('-', '_')}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot import {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (component,) = (value for value in vars(module).values() if isinstance(value, BaseComponent))
    return component


def compile_to(path: Path, component: Any, *, check: bool) -> bool:
    """Compile one component; return true if the file at ``path`` was up to date."""
    with tempfile.TemporaryDirectory() as scratch:
        compiled = Path(scratch) / path.name
        Compiler().compile(component, str(compiled))
        text = compiled.read_text(encoding="utf-8")
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return True
    if not check:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return False


def references(registry: str, tag: str, digests: Path | None) -> dict[str, str]:
    """Return the image reference of every stage.

    Args:
        registry: ``HOST[/PATH]`` that the images are pulled from; empty: none.
        tag: Tag of every image.
        digests: ``images.json`` from ``build_push.sh``, whose names and digests are used instead.

    Raises:
        ValueError: The file cannot be read or lacks the digest of a stage.
    """
    if digests is None:
        return {stage: f"{registry.rstrip('/')}/flts-{stage}:{tag}".lstrip("/") for stage in STAGES}
    try:
        images = json.loads(digests.read_text(encoding="utf-8"))
        missing = [stage for stage in STAGES if not images.get(stage, {}).get("digest")]
    except (OSError, ValueError, AttributeError):
        raise ValueError(f"{digests} is not a file that scripts/build_push.sh wrote") from None
    if missing:
        raise ValueError(f"{digests} has no digest of {', '.join(missing)}: push with scripts/build_push.sh --push")
    return {stage: f"{images[stage]['image']}@{images[stage]['digest']}" for stage in STAGES}


def publish(images: Mapping[str, str], limit: tuple[int, int], directory: Path = PUBLISHED) -> None:
    """Write the specs and the pipelines to ``directory``.

    Args:
        images: Image references by stage, which replace the tracked names.
        limit: Time limit of the pipelines' tasks in seconds: the tracked one and its replacement.
        directory: Target folder.
    """
    tracked, wanted = limit
    specs = [ROOT / "component_specs" / f"{stage}.yaml" for stage in STAGES]
    for source in [*specs, *sorted((ROOT / "pipeline").glob("*.yaml"))]:
        text = source.read_text(encoding="utf-8")
        for stage, image in images.items():
            text = text.replace(f"image: flts-{stage}:{DEFAULT_TAG}\n", f"image: {image}\n")
        text = text.replace(f"activeDeadlineSeconds: '{tracked}'\n", f"activeDeadlineSeconds: '{wanted}'\n")
        target = directory / source.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        print(f"{os.path.relpath(target, ROOT)}: written")


def main() -> int:
    """Compile everything; return 1 when ``--check`` finds a file out of date, 2 for a wrong argument."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 when a compiled file is out of date"
    )
    parser.add_argument("--registry", default="", help="HOST[/PATH] that the images are pulled from")
    parser.add_argument("--tag", default="", help=f"tag of the images (default: {DEFAULT_TAG})")
    parser.add_argument("--digests", type=Path, help="images.json from build_push.sh: refer to the images by digest")
    parser.add_argument("--timeout", type=int, help="seconds after which Kubernetes ends a task of a pipeline")
    arguments = parser.parse_args()
    if arguments.timeout is not None and arguments.timeout < 1:
        parser.error("--timeout must be at least 1 second")
    if arguments.digests and (arguments.registry or arguments.tag):
        parser.error("--digests already names the images: leave out --registry and --tag")
    try:
        images = references(arguments.registry, arguments.tag or DEFAULT_TAG, arguments.digests)
    except ValueError as error:
        parser.error(str(error))
    publishing = bool(arguments.digests or arguments.registry or arguments.tag or arguments.timeout)
    check: bool = arguments.check or publishing

    targets = {ROOT / "component_specs" / f"{stage}.yaml": load_component(stage) for stage in STAGES}
    stale = [path for path, component in targets.items() if not compile_to(path, component, check=check)]
    if check and stale:
        # The pipelines are compiled from the specs on disk, which are out of date.
        report(stale, check=check)
        return 1

    from pipeline.pipeline import PIPELINES, TASK_TIMEOUT_SECONDS

    compiled = {ROOT / "pipeline" / f"{name}.yaml": pipeline for name, pipeline in PIPELINES.items()}
    stale += [path for path, pipeline in compiled.items() if not compile_to(path, pipeline, check=check)]
    report(stale, check=check)
    if publishing and not stale:
        publish(images, (TASK_TIMEOUT_SECONDS, arguments.timeout or TASK_TIMEOUT_SECONDS))
    return 1 if check and stale else 0


def report(paths: list[Path], *, check: bool) -> None:
    """Print one line for each file that was out of date."""
    for path in paths:
        print(f"{path.relative_to(ROOT)}: {'out of date, run make specs' if check else 'compiled'}")


if __name__ == "__main__":
    sys.exit(main())
