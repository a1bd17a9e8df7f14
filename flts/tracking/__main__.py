"""``python -m flts.tracking URI EXPERIMENT``: prepares a database before the trainers start."""

import sys

from flts.errors import FltsError
from flts.tracking import prepare


def main(argv: list[str]) -> int:
    """Prepare, and return the exit code."""
    if len(argv) != 2:
        print("usage: python -m flts.tracking URI EXPERIMENT", file=sys.stderr)
        return 2
    try:
        prepare(*argv)
    except FltsError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
