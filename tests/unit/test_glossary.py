"""The glossary names every public class, so that nobody calls a thing by a word of their own."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text()


def public_classes() -> Iterator[str]:
    for path in [*(ROOT / "flts").rglob("*.py"), *(ROOT / "pipeline").rglob("*.py")]:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                yield node.name


def named_classes() -> set[str]:
    """Return the classes in the last column of the glossary's tables."""
    cells = [line.rstrip(" |").rsplit("|", 1)[-1] for line in GLOSSARY.splitlines() if line.startswith("|")]
    return set(re.findall(r"`([A-Z]\w+)`", " ".join(cells)))


def test_every_public_class_is_named_after_a_term_of_the_glossary():
    assert sorted(set(public_classes()) - named_classes()) == []


def test_the_glossary_names_no_class_that_is_gone():
    assert sorted(named_classes() - set(public_classes())) == []


def test_terms_stand_once():
    terms = re.findall(r"^\| ([^|]+?) \|", GLOSSARY, re.MULTILINE)
    terms = [term for term in terms if term not in ("term", "---")]
    assert len(terms) == len(set(terms))
