"""``python -m flts.tracking URI EXPERIMENT``: prepares a database before the trainers start."""

import sys

from flts.observability.exit_codes import run_command
from flts.tracking import prepare


def main(argv: list[str]) -> int:
    """Prepare, and return the exit code."""
    if len(argv) != 2:
        print("usage: python -m flts.tracking URI EXPERIMENT", file=sys.stderr)
        return 2
    return run_command("flts.tracking", lambda: prepare(*argv))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
