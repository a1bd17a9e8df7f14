"""The command ``flts-inference --serve``."""

import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import NoReturn

from flts.boundary.environment import limit_threads
from flts.errors import BadInputError
from flts.observability.events import flush
from flts.serving.settings import STAGE_VARIABLES, ServingSettings
from flts.store import open_store
from flts.store.keys import check_bucket
from flts.web.server import listen, read_settings, run, serve

COMMAND = "flts-inference --serve"
_SUMMARY = "Serve live forecasts with the promoted model over HTTP."


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Serve until SIGTERM."""
    run(COMMAND, start, argv)


def start(argv: Sequence[str], environ: Mapping[str, str]) -> None:
    """Check the settings, serve until SIGTERM, and end the process.

    Raises:
        BadInputError: A setting is wrong, or a package is missing.
    """
    settings = read_settings(COMMAND, _SUMMARY, ServingSettings, argv, environ, others=STAGE_VARIABLES)
    store = open_store(settings.gateway_url)
    for bucket in (settings.promotion_bucket, settings.data_bucket):
        check_bucket(bucket)
    listener = listen(settings.host, settings.port)
    limit_threads()
    _silence_libraries()
    try:
        from flts.serving.app import make_app
    except ModuleNotFoundError as error:
        raise BadInputError(f"{COMMAND} needs the package {error.name}: install flts[serving]") from None
    serve(make_app(settings, store), listener)
    flush()
    # A normal exit would tear the interpreter down under threads that are inside PyTorch or waiting for a service.
    os._exit(0)


def _silence_libraries() -> None:
    """Keep libraries from writing to stderr, which holds JSON lines only."""
    os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")
    logging.getLogger().addHandler(logging.NullHandler())
    warnings.simplefilter("ignore")
