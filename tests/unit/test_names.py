"""No two things share a name: public classes and functions of flts and pipeline are told apart by their names."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]

# Functions with the same role in several modules: entry points, and implementations of one interface.
ROLES = {
    "build_parser": "the argument parser of a command",
    "forecast_table": "forecasts from a table of pandas: flts.models.pyfunc is what logged models call",
    "handle": "the handler of a worker's messages",
    "error_responses": "the error responses of a server, for its OpenAPI document",
    "main": "the entry point of a command",
    "make_app": "the ASGI app of a server",
    "read_processed": "reading of processed data: flts.api's is the one for pandas",
    "read_settings": "settings from the environment, checked",
    "run": "the function of a stage, and of what runs one",
    "serve": "the loop of a server or a worker",
    "start": "the start of a server from its command, and of a thread",
}
# Functions that still share a name with another one, each used with the name of its module in mind.
QUALIFIED = {"claim_check", "find", "is_text", "open_client", "prepare", "publish", "reason", "verify"}


def definitions(kind: type[ast.AST] | tuple[type[ast.AST], ...]) -> dict[str, list[str]]:
    """Return the modules that define each public class or function at their top."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for path, node in top_level():
        if isinstance(node, kind) and isinstance(name := getattr(node, "name", None), str) and name[0] != "_":
            found[name].append(str(path.relative_to(ROOT)))
    return found


def top_level() -> Iterator[tuple[Path, ast.stmt]]:
    for folder in ("flts", "pipeline"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield from ((path, node) for node in ast.parse(path.read_text()).body)


def shared(found: dict[str, list[str]]) -> dict[str, list[str]]:
    return {name: modules for name, modules in found.items() if len(modules) > 1}


def test_no_two_classes_share_a_name():
    assert shared(definitions(ast.ClassDef)) == {}


def test_no_two_functions_share_a_name_unless_they_have_the_same_role():
    doubled = shared(definitions((ast.FunctionDef, ast.AsyncFunctionDef)))
    assert {name: modules for name, modules in doubled.items() if name not in {*ROLES, *QUALIFIED}} == {}


def test_no_class_has_the_name_of_a_function():
    classes = definitions(ast.ClassDef)
    assert classes.keys() & definitions((ast.FunctionDef, ast.AsyncFunctionDef)).keys() == set()


def test_every_exception_is_still_needed():
    doubled = shared(definitions((ast.FunctionDef, ast.AsyncFunctionDef)))
    assert {*ROLES, *QUALIFIED} - doubled.keys() == set()
