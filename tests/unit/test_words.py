"""Docstrings, descriptions and pages are in plain English: they begin with a verb or a noun, and use common words."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from flts.stages import STAGES

ROOT = Path(__file__).parents[2]

# Folders whose docstrings are checked, and pages.
CODE = ("flts", "pipeline", "scripts", "benchmarks", "images", "tests/support")
PAGES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "docs", "images")

BEGINNINGS = {"How", "That", "What", "When", "Where", "Whether", "Which", "Who", "Whose", "Why"}
# Words that are used in another sense than readers expect, with the common ones.
UNUSUAL = {
    r"\bbehind\b(?! an? (?:proxy|load balancer|gateway))": "after, or in",
    r"\bbeside\b": "next to, with, or in addition to",
    r"\bonward\b": "after, or from",
    r"\bwhoever\b": "the person or program that",
    r"\bnobody's\b": "no one's",
    r"\bmend(?:s|ed|ing)?\b": "fix, repair",
    r"\b(?:is|are) to (?:hold|lie|have)\b": "should",
    r"\b(?:has|have) not an?\b": "has no",
    r"\bfor ever\b": "forever",
}


def documented() -> Iterator[tuple[str, str]]:
    """Return every public docstring with its place."""
    for name in CODE:
        path = ROOT / name
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            place = str(file.relative_to(ROOT))
            yield from ((f"{place}: {label}", text) for label, text in docstrings(ast.parse(file.read_text()), ""))


def docstrings(
    node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, label: str
) -> Iterator[tuple[str, str]]:
    if text := ast.get_docstring(node):
        yield label or "the module", text
    for each in node.body:
        if isinstance(each, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and public(each.name):
            yield from docstrings(each, f"{label}.{each.name}".lstrip("."))


def public(name: str) -> bool:
    return not name.startswith("_") or name.startswith("__")


def descriptions() -> Iterator[tuple[str, str]]:
    """Return the description of every parameter, input and output of a stage."""
    for stage in STAGES.values():
        yield stage.name, f"{stage.summary} {stage.also}"
        for name, field in stage.params.model_fields.items():
            yield f"{stage.name}: {name}", field.description or ""
        for name, artifact in {**stage.inputs, **stage.outputs}.items():
            yield f"{stage.name}: {name}", artifact.help


def pages() -> Iterator[tuple[str, str]]:
    for name in PAGES:
        path = ROOT / name
        for file in sorted(path.rglob("*.md")) if path.is_dir() else [path]:
            lines = enumerate(file.read_text().splitlines(), start=1)
            yield from ((f"{file.relative_to(ROOT)}:{number}", line) for number, line in lines)


def test_docstrings_begin_with_a_verb_or_a_noun():
    wrong = [place for place, text in documented() if re.split(r"\W", text, maxsplit=1)[0] in BEGINNINGS]
    assert wrong == []


@pytest.mark.parametrize("source", [documented, descriptions, pages])
def test_common_words_are_used(source):
    found = [
        f"{place}: {match[0]!r}: better {common}"
        for place, text in source()
        for word, common in UNUSUAL.items()
        for match in re.finditer(word, text, re.IGNORECASE)
    ]
    assert found == []


def test_everything_that_is_named_here_exists():
    assert [name for name in (*CODE, *PAGES) if not (ROOT / name).exists()] == []
