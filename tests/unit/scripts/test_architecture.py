"""The architecture page: its picture is that of the code, and it names what exists."""

import re
from importlib.util import find_spec

import pytest

from scripts.architecture import PICTURE, ROOT, draw, read_imports, read_layers, reduced

PAGE = (ROOT / "docs" / "architecture.md").read_text()


def test_the_picture_is_drawn_from_the_imports_of_today():
    assert PICTURE.read_text() == draw(read_layers(), read_imports()), "make docs"


def test_an_arrow_that_a_longer_way_shows_is_left_out():
    assert reduced({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == {"a": {"b"}, "b": {"c"}, "c": set()}


def test_there_are_at_most_ten_loose_modules_on_the_ground_floor():
    loose = [path.stem for path in (ROOT / "flts").glob("*.py") if path.stem != "__init__"]
    assert sorted(loose) == sorted(
        ["api", "commands", "contracts", "errors", "lazy", "params", "progress", "stage_interface", "version"]
    )


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`([a-z_]+(?:\.[a-z_]+)+)(?:\.[A-Z]\w+)?`", PAGE))))
def test_the_page_names_modules_that_exist(name: str):
    folder = name.split(".", maxsplit=1)[0]
    if folder in {room for layer in read_layers() for room in layer}:
        assert find_spec(f"flts.{name}")


def test_other_pages_lead_here():
    for page in ("README.md", "CONTRIBUTING.md"):
        assert "docs/architecture.md" in (ROOT / page).read_text()
