"""Draw ``docs/images/architecture.svg``: the folders of flts in their layers, and which imports which."""

import ast
import sys
import textwrap
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from graphlib import TopologicalSorter
from html import escape
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "images" / "architecture.svg"

_WIDTH = 1080
_BOX_WIDTH, _BOX_HEIGHT, _LAYER_HEIGHT = 196, 66, 112
_CHARACTERS, _LINES = 33, 3
_BOXES_IN_A_ROW = 5
# The layers from this one down are the ground that everything may use: no arrows, or the picture would be full of them.
_GROUND = "observability"
_STYLE = """
  svg { background: #fff; font-family: system-ui, sans-serif }
  rect { fill: #f3f6fb; stroke: #44618f }
  .name { font-size: 14px; font-weight: 600; fill: #1c2b45 }
  .summary { font-size: 10.5px; fill: #44506a }
  path { fill: none; stroke: #8aa0c4; stroke-width: 1.2; marker-end: url(#head) }
  .ground { fill: #eef0f3; stroke: none }
  .ground-name { font-size: 12px; fill: #44506a }
  marker path { fill: #8aa0c4; stroke: none; marker-end: none }
"""

Layers = Sequence[Sequence[str]]
Graph = Mapping[str, set[str]]


def main() -> int:
    """Write the picture, or only say with ``--check`` whether it is that of the code."""
    picture = draw(read_layers(), read_imports())
    if sys.argv[1:] == ["--check"]:
        return int(PICTURE.read_text() != picture)
    PICTURE.write_text(picture)
    return 0


def read_layers() -> list[list[str]]:
    """Return the layers that import-linter checks, the highest first."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["id"] == "layers")
    return [layer.split(" | ") for layer in layers]


def read_imports() -> dict[str, set[str]]:
    """Return the folders and loose modules of flts, each with those that its modules import."""
    graph = grimp.build_graph("flts", cache_dir=None)
    imports: dict[str, set[str]] = {}
    for module in graph.modules - {"flts"}:
        imported = graph.find_modules_directly_imported_by(module) - {"flts"}
        imports.setdefault(_room(module), set()).update(map(_room, imported))
    return {room: others - {room} for room, others in imports.items()}


def reduced(imports: Graph) -> dict[str, set[str]]:
    """Return a graph without the arrows that a longer way already shows (its transitive reduction)."""
    reach: dict[str, set[str]] = {}
    for room in TopologicalSorter(imports).static_order():
        reach[room] = set().union(*({other} | reach[other] for other in imports[room]))
    return {
        room: {other for other in others if not any(other in reach[between] for between in others)}
        for room, others in imports.items()
    }


def draw(layers: Layers, imports: Graph) -> str:
    """Return the SVG: one row of boxes for each layer, an arrow from each box to what it imports."""
    start = next(number for number, layer in enumerate(layers) if _GROUND in layer)
    ground = [room for layer in layers[start:] for room in layer]
    rows = [*layers[:start], *(ground[i : i + _BOXES_IN_A_ROW] for i in range(0, len(ground), _BOXES_IN_A_ROW))]
    places = dict(_places(rows))
    arrows = reduced({room: imports[room] - set(ground) for layer in layers[:start] for room in layer})
    height = len(rows) * _LAYER_HEIGHT
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}">',
        "<title>The folders of flts, and which imports which; longer ways stand for direct imports too</title>",
        f"<style>{_STYLE}</style>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 8 4 0 8z"/></marker></defs>',
        f'<rect class="ground" y="{start * _LAYER_HEIGHT:g}" width="{_WIDTH}" height="{height}"/>',
        f'<text class="ground-name" x="12" y="{start * _LAYER_HEIGHT + 14:g}">Everything above imports these:</text>',
        *(_arrow(places[room], places[other]) for room in sorted(arrows) for other in sorted(arrows[room])),
        *(_box(room, *places[room]) for room in places),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _room(module: str) -> str:
    return module.split(".")[1]


def _places(layers: Layers) -> Iterator[tuple[str, tuple[float, float]]]:
    """Yield each box's name and the middle of its top edge."""
    for row, layer in enumerate(layers):
        for column, room in enumerate(layer):
            yield room, (_WIDTH * (column + 0.5) / len(layer), row * _LAYER_HEIGHT + 20.0)


def _arrow(start: tuple[float, float], end: tuple[float, float]) -> str:
    (x, y), (to_x, to_y) = (start[0], start[1] + _BOX_HEIGHT), end
    bend = (to_y - y) / 2
    return f'<path d="M{x:g} {y:g} C{x:g} {y + bend:g} {to_x:g} {to_y - bend:g} {to_x:g} {to_y:g}"/>'


def _box(room: str, x: float, y: float) -> str:
    lines = textwrap.wrap(_summary(room), _CHARACTERS, max_lines=_LINES, placeholder=" …")
    summary = "".join(
        f'<text class="summary" x="{x:g}" y="{y + 32 + 12 * number:g}" text-anchor="middle">{escape(line)}</text>'
        for number, line in enumerate(lines)
    )
    return (
        f'<rect x="{x - _BOX_WIDTH / 2:g}" y="{y:g}" width="{_BOX_WIDTH}" height="{_BOX_HEIGHT}" rx="7"/>'
        f'<text class="name" x="{x:g}" y="{y + 17:g}" text-anchor="middle">{room}</text>{summary}'
    )


def _summary(room: str) -> str:
    """Return the first sentence of a folder's or module's docstring."""
    folder = ROOT / "flts" / room
    source = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    docstring = ast.get_docstring(ast.parse(source.read_text())) or ""
    return docstring.split("\n")[0].replace("``", "").rstrip(".")


if __name__ == "__main__":
    sys.exit(main())
