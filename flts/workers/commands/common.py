"""Common parts of the commands around the workers."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from flts.boundary.arguments import Parser
from flts.observability.exit_codes import run_command
from flts.params import EvalParams
from flts.version import __version__


def parser(command: str, description: str, epilog: str = "") -> Parser:
    """Make the parser of a command."""
    made = Parser(
        prog=command,
        description=description,
        epilog=f"{epilog} The variables for Kafka are those of the workers: KAFKA_BOOTSTRAP_SERVERS, .. "
        "Exit codes: 0 done, 2 wrong input or refused credentials, 3 Kafka or the store cannot be reached.".strip(),
        allow_abbrev=False,
    )
    made.add_argument("--version", action="version", version=f"{command} {__version__}")
    return made


def run(command: str, do: Callable[[Sequence[str]], int], argv: Sequence[str] | None) -> NoReturn:
    """Run a command and exit; an error is one sentence on stderr."""
    sys.exit(run_command(command, lambda: do(sys.argv[1:] if argv is None else argv)))


def store_address() -> str:
    """Return the address of the store, as for the stages."""
    return os.environ.get("GATEWAY_URL") or str(EvalParams.model_fields["gateway_url"].default)


def print_table(headings: Sequence[str], rows: Sequence[Sequence[object]], numbers: Sequence[str] = ()) -> None:
    """Print a table; the columns in ``numbers`` are aligned to the right."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in headings:
        table.add_column(name, justify="right" if name in numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    Console(highlight=False, width=None if sys.stdout.isatty() else 2000).print(table)


def positive(text: str) -> int:
    """Read a whole number of at least 1."""
    if not text.isdecimal() or not int(text[:10]) >= 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return int(text[:10])
