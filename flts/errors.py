"""The one exception family; each class carries the exit code of a stage that ends with it."""


class FltsError(Exception):
    """Base of every error FLTS raises on purpose; its text is one sentence for the person who can fix it."""

    exit_code = 1


class BadInputError(FltsError):
    """Input, parameters or credentials that no retry can mend."""

    exit_code = 2


class RefusedError(BadInputError):
    """A service refuses the credentials or lacks them, or its settings are wrong: no input can mend it."""


class ObjectNotFoundError(BadInputError):
    """An object that should be in the store is not there."""


class ChecksumMismatchError(BadInputError):
    """Content whose SHA-256 differs from the one it was announced with."""


class PreconditionFailedError(FltsError):
    """A conditional put lost: the object changed, or exists already (HTTP 412)."""


class ServiceUnavailableError(FltsError):
    """A service stayed unreachable after retries."""

    exit_code = 3
