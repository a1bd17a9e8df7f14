"""Command lines of commands that are not stages."""

import argparse
from typing import NoReturn

from flts.errors import BadInputError


class Parser(argparse.ArgumentParser):
    """A parser that raises ``BadInputError``, so that its errors are one sentence as all others."""

    def error(self, message: str) -> NoReturn:
        """Raise the error."""
        raise BadInputError(message)
