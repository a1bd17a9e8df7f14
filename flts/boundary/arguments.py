"""The command lines of what is no stage."""

import argparse
from typing import NoReturn

from flts.errors import BadInputError


class Parser(argparse.ArgumentParser):
    """A parser whose errors are ``BadInputError``, to be told in one sentence like any other."""

    def error(self, message: str) -> NoReturn:
        """Raise the error."""
        raise BadInputError(message)
