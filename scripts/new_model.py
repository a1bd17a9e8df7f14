"""Scaffold a model that trains at once, and everything that the project has per model: ``make model NAME=nhits``."""

import argparse
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from string import Template

from flts.models.registry import MODELS, REQUIRED_MODELS

ROOT = Path(__file__).resolve().parents[1]
TEMPLATES = ROOT / "scripts" / "templates"
# The model whose image is copied.
PATTERN = "prophet"
# The layers of the image of a model without libraries of its own.
LAYERS = ("base", "kafka", "numeric", "tracking")
LONGEST_NAME = 32


class ScaffoldError(Exception):
    """A model cannot be scaffolded; the text is a sentence for people."""


def check_name(name: str) -> None:
    """Check the name of a new model.

    Raises:
        ScaffoldError: It cannot be part of a model type and of a command, or is taken.
    """
    if not re.fullmatch(rf"[a-z][a-z0-9]{{0,{LONGEST_NAME - 1}}}", name):
        raise ScaffoldError(
            f"NAME must be at most {LONGEST_NAME} lower-case letters and digits, the first one a letter, got {name!r}"
        )
    if name.upper() in MODELS:
        raise ScaffoldError(f"there is already a model type {name.upper()}")
    for path in (ROOT / "flts" / "models" / f"{name}.py", ROOT / "flts" / "models" / name):
        if path.exists():
            raise ScaffoldError(f"{path.relative_to(ROOT)} exists already: choose another name")


def filled(template: str, name: str) -> str:
    """Return a template with the names of a model in it."""
    names = {"name": name, "class_name": name.capitalize(), "model_type": name.upper(), "title": name.upper()}
    return Template((TEMPLATES / template).read_text(encoding="utf-8")).substitute(names)


def new_files(name: str) -> dict[str, str]:
    """Return the new files of a model by path."""
    image = f"images/train-{name}"

    def copied(file: str) -> str:
        text = (ROOT / "images" / f"train-{PATTERN}" / file).read_text(encoding="utf-8")
        return _renamed(text, PATTERN, name)

    return {
        f"flts/models/{name}.py": filled("model.py.txt", name),
        f"tests/unit/models/test_{name}.py": filled("test_model.py.txt", name),
        f"{image}/main.py": copied("main.py"),
        f"{image}/component.py": copied("component.py"),
        f"{image}/Dockerfile": _dockerfile(copied("Dockerfile"), name),
        f"{image}/README.md": filled("image_readme.md.txt", name),
    }


def _dockerfile(text: str, name: str) -> str:
    """Return a Dockerfile with the usual layers alone, and a description of its own."""
    instructions = re.split(r"^(?=[A-Z])", text, flags=re.MULTILINE)
    kept = [each for each in instructions if (lock := _lock(each)) is None or lock in LAYERS]
    description = f'description="Fits a {name.upper()} forecaster and scores it beside four baselines"'
    return re.sub(r'description="[^"]*"', description, "".join(kept))


def _lock(instruction: str) -> str | None:
    found = re.search(r"source=images/locks/([\w-]+)\.txt", instruction)
    return found[1] if found else None


def changed_files(name: str, last: str) -> dict[str, str]:
    """Return the files that have an entry per model, by path, with one more: a copy of the ``last`` model's."""
    end_of_registry = "        )\n    }\n)\n"

    def add_to_registry(text: str) -> str:
        return text.replace(end_of_registry, filled("registry_entry.txt", name) + end_of_registry)

    def repeat(pattern: str) -> Callable[[str], str]:
        def add(text: str) -> str:
            return re.sub(pattern, lambda found: found[0] + _renamed(found[0], last, name), text, flags=re.MULTILINE)

        return add

    def expect(text: str) -> str:
        return re.sub(r"(EXPECTED_MODEL_TYPES\b[^A-Z]*[A-Z0-9,]+)", rf"\1,{name.upper()}", text)

    line = rf"^.*\bflts-train-{last}\b.*\n"
    changes: Mapping[str, Callable[[str], str]] = {
        "flts/models/registry.py": add_to_registry,
        "pyproject.toml": repeat(line),
        "images/README.md": lambda text: re.sub(
            rf"^\| train-{last} \|.*\n", rf"\g<0>| train-{name} | {', '.join(LAYERS)} |\n", text, flags=re.MULTILINE
        ),
        "deploy/docker-compose.yaml": repeat(rf"^  train-{last}:\n(?:    .*\n)+\n"),
        "deploy/docker-compose.boosted.yaml": expect,
        "deploy/kubernetes/components/boosted/kustomization.yaml": expect,
        "deploy/kubernetes/overlays/kafka/kustomization.yaml": repeat(line),
        "deploy/kubernetes/overlays/kafka/workers.yaml": repeat(
            rf"^apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: flts-train-{last}}}\n"
            r"(?:(?!apiVersion: v1\n).*\n)+"
        ),
        "deploy/observability/prometheus.yaml": repeat(rf" train-{last},"),
        "docs/deploying.md": repeat(rf" `train-{last}`,"),
        "docs/glossary.md": lambda text: re.sub(
            r"(^\| model, forecaster \|.*`) \|$", rf"\1, `{name.capitalize()}Forecaster` |", text, flags=re.MULTILINE
        ),
    }
    texts = {}
    for path, change in changes.items():
        before = (ROOT / path).read_text(encoding="utf-8")
        texts[path] = change(before)
        if texts[path] == before:
            raise ScaffoldError(f"{path} has no entry of train-{last} in the usual form: add train-{name} by hand")
    return texts


def _renamed(entry: str, last: str, name: str) -> str:
    return entry.replace(f"train-{last}", f"train-{name}").replace(f"train_{last}", f"train_{name}")


REMAINING = """
flts-train-{name} trains: so far a seasonal naive forecaster. What remains:
  1. flts/models/{name}.py: replace the bodies of fit_{name}, forecast, save and load, and what the test expects in
     tests/unit/models/test_{name}.py
  2. flts/models/registry.py: the title and the summary of its entry
  3. parameters of its own, if any: a class in flts/params.py, named in its entry; then make specs docs
  4. libraries, if any: an extra in pyproject.toml, named in its entry; a layer in scripts/image_locks.sh and in the
     Dockerfiles of images/train-{name} and images/pipeline, both named in images/README.md; then make lock
  5. README.md and the picture in docs/kafka.md name the models for people
"""


def main() -> int:
    """Scaffold a model; return 2 for a name that cannot be taken."""
    parser = argparse.ArgumentParser(prog="make model", description=__doc__)
    parser.add_argument("name", help="lower-case name: nhits becomes the model type NHITS and the stage train-nhits")
    name: str = parser.parse_args().name
    last = list(REQUIRED_MODELS.values())[-1].slot
    try:
        check_name(name)
        texts = new_files(name) | changed_files(name, last)
    except ScaffoldError as error:
        print(f"make model: {error}", file=sys.stderr)
        return 2
    for path, text in texts.items():
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_text(text, encoding="utf-8")
        if text.startswith("#!"):
            (ROOT / path).chmod(0o755)
        print(f"wrote {path}")
    # In processes of their own, which see the new entry.
    for module in ("scripts.compile_specs", "scripts.stage_docs"):
        subprocess.run([sys.executable, "-m", module], cwd=ROOT, check=True)  # noqa: S603
    print(REMAINING.format(name=name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
