"""The command ``flts-gateway``."""

import ctypes
import ipaddress
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from flts.errors import BadInputError
from flts.gateway.settings import GatewaySettings
from flts.store import open_store
from flts.store.keys import check_bucket
from flts.web.server import listen, read_settings, run, serve

COMMAND = "flts-gateway"
_M_MMAP_THRESHOLD = -3  # its number in malloc.h
_MAPPED_FROM = 4 << 20  # smaller buffers are allocated too often to be mapped each time
_SUMMARY = "Serve the objects of a store over HTTP."


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the gateway until SIGTERM."""
    run(COMMAND, start, argv)


def start(argv: Sequence[str], environ: Mapping[str, str]) -> None:
    """Check the settings, and serve.

    Raises:
        BadInputError: A setting is wrong, or the gateway would be open to other machines.
    """
    settings = read_settings(COMMAND, _SUMMARY, GatewaySettings, argv, environ)
    if settings.store.startswith(("http://", "https://")):
        raise BadInputError("--store must be s3:// or file:///dir: a gateway cannot serve another gateway")
    if not settings.tokens_file and settings.auth == "on" and not _is_loopback(settings.host):
        raise BadInputError(
            f"--host {settings.host} is open to other machines: give a --tokens-file, or --auth off if the network "
            "keeps others out"
        )
    if settings.tokens_file and settings.auth == "off":
        raise BadInputError("--auth off and --tokens-file contradict each other: leave one out")
    store = open_store(settings.store)
    for name in sorted(settings.bucket_names):
        check_bucket(name)
    try:
        from flts.gateway.access import AccessControl
        from flts.gateway.app import make_app
    except ModuleNotFoundError as error:
        raise BadInputError(f"{COMMAND} needs the package {error.name}: install flts[gateway]") from None
    access = AccessControl(Path(settings.tokens_file) if settings.tokens_file else None, settings.bucket_names)
    listener = listen(settings.host, settings.port)
    if settings.auth == "off":
        print(f"{COMMAND}: anyone who can reach this address may read and write", file=sys.stderr, flush=True)
    _return_freed_memory()
    serve(make_app(settings, store, access), listener)


def _return_freed_memory() -> None:
    """Make glibc return the memory of large buffers as soon as they are freed, instead of keeping it."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none
    if mallopt:
        mallopt(_M_MMAP_THRESHOLD, _MAPPED_FROM)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
