"""The digest of the code that shapes a trained model, whatever its files are called and wherever they lie.

Comments, docstrings, formatting and the order of imports do not count either. The digest is made from the running
Python's syntax tree: another minor version of Python may give another digest, and then trains once more. All images
have the same one.
"""

import ast
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[2]

# The code that fits, scores and bundles a model. A change in a report, a store, a runner or a server trains nothing
# again; nor does one in params.py or a declaration, because the parameters' values are in the fingerprint themselves.
SOURCES = (
    "boundary",
    "contracts.py",
    "datafiles",
    "diagnostics",
    "errors.py",
    "lazy.py",
    "models",
    "progress.py",
    "stages/training/fitting.py",
    "stages/training/scoring.py",
    "timeseries",
)

# As ``flts.lazy.resolve`` takes it.
_REFERENCE = re.compile(rf"(?P<module>{PACKAGE.name}\.[\w.]+):(?P<name>\w+)")


def source_files(package: Path) -> Iterator[Path]:
    """Yield the files of ``SOURCES`` under the folder of flts, in order."""
    for name in SOURCES:
        path = package / name
        yield from [path] if path.is_file() else sorted(path.rglob("*.py"))


@cache
def source_digest(package: Path = PACKAGE) -> str:
    """Return the SHA-256 over the code of ``source_files``: code that changed may train another model.

    A module counts by its own code and by the code of the modules that it imports from, so that the same name taken
    from another module is a change; a module without code, such as most ``__init__.py``, does not count.
    """
    modules = {_module_name(path, package): _Module(path) for path in source_files(package)}
    own = {name: _sha256(module.code) for name, module in modules.items()}
    return _sha256(*sorted(_sha256(module.code, *module.imported(own)) for module in modules.values() if module.code))


class _Module:
    """The code of a module, ``""`` where there is none, and what it imports."""

    def __init__(self, path: Path) -> None:
        self._imports: set[tuple[str, str, str]] = set()
        self.code = ",".join(self._flattened(ast.parse(path.read_bytes()).body))

    def imported(self, own: Mapping[str, str]) -> list[str]:
        """Return what is imported, in order; modules of flts by their digest in ``own``, or by nothing if not there."""
        named = []
        for module, name, alias in self._imports:
            whole = f"{module}.{name}".removesuffix(".")
            if whole in own:
                named.append(f"{own[whole]} as {alias}")
            elif module in own or module.partition(".")[0] == PACKAGE.name:
                named.append(f"{own.get(module, '')} {name} as {alias}")
            else:
                named.append(f"{module} {name} as {alias}")
        return sorted(named)

    def _flattened(self, nodes: Sequence[object]) -> Iterator[str]:
        for node in nodes:
            if isinstance(node, ast.Import):
                self._imports |= {(one.name, "", one.asname or one.name) for one in node.names}
            elif isinstance(node, ast.ImportFrom):
                self._imports |= {(node.module or "", one.name, one.asname or one.name) for one in node.names}
            elif not (isinstance(node, ast.Expr) and _is_text(node.value)):
                yield self._flat(node)

    def _flat(self, value: object) -> str:
        if isinstance(value, list):
            return f"[{','.join(self._flattened(value))}]"
        if isinstance(value, ast.AST):
            fields = ",".join([self._flat(getattr(value, name, None)) for name in value._fields])
            return f"{type(value).__name__}({fields})"
        if isinstance(value, str) and (reference := _REFERENCE.fullmatch(value)):
            self._imports.add((reference["module"], reference["name"], ""))
            return reference["name"]
        return repr(value)


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _module_name(path: Path, package: Path) -> str:
    parts = path.relative_to(package).with_suffix("").parts
    return ".".join([PACKAGE.name, *(parts[:-1] if parts[-1] == "__init__" else parts)])


def _sha256(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()
