"""Exceptions of FLTS; each class has the exit code of a stage that ends with it."""


class FltsError(Exception):
    """Base of all errors that FLTS raises on purpose; the text is one sentence for the person who can fix it."""

    exit_code = 1


class BadInputError(FltsError):
    """Invalid input, parameters or credentials; a retry cannot succeed."""

    exit_code = 2


class RefusedError(BadInputError):
    """A service refuses the credentials, or its settings are wrong; no other input can succeed."""


class ObjectNotFoundError(BadInputError):
    """An object that should be in the store is missing."""


class ChecksumMismatchError(BadInputError):
    """Content whose SHA-256 differs from the announced one."""


class PreconditionFailedError(FltsError):
    """A conditional put failed: the object has changed, or exists already (HTTP 412)."""


class ServiceUnavailableError(FltsError):
    """A service stayed unreachable after retries."""

    exit_code = 3
