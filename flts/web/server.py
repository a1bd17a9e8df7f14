"""Start and end of a service: its settings, its socket, SIGTERM."""

import argparse
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from types import FrameType, MappingProxyType
from typing import TYPE_CHECKING, NoReturn, TypeVar

from flts.boundary.arguments import Parser
from flts.diagnostics.system import reason
from flts.errors import BadInputError
from flts.observability.exit_codes import run_command
from flts.params import Params
from flts.runtime.parameters import describe_default, describe_limits, flag, read_values, suggest
from flts.version import __version__

if TYPE_CHECKING:
    from starlette.types import ASGIApp

P = TypeVar("P", bound=Params)

SECONDS_TO_FINISH = 20
_IDLE_SECONDS = 75
_BACKLOG = 1024


def read_settings(
    command: str,
    summary: str,
    model: type[P],
    argv: Sequence[str],
    environ: Mapping[str, str],
    *,
    others: Mapping[str, str] = MappingProxyType({}),
) -> P:
    """Read a service's settings from flags and environment variables; flags win, an empty variable counts as unset.

    Args:
        command: Name of the command.
        summary: What it does, for its help.
        model: The settings; a variable is named ``FLTS_`` and the field's name.
        argv: The arguments.
        environ: The environment.
        others: Other variables that are read when that one is unset, by setting: those of the stages.

    Raises:
        BadInputError: A setting is unknown or wrong; the sentence names the flag or the variable.
    """
    parser = Parser(
        prog=command,
        description=summary,
        epilog="An option can also be given as an environment variable, --some-option as FLTS_SOME_OPTION.",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    for name, field in model.model_fields.items():
        other = f"also read from {others[name]}" if name in others else ""
        details = "; ".join(each for each in (describe_default(field), describe_limits(field), other) if each)
        parser.add_argument(flag(name), metavar="VALUE", help=f"{field.description} ({details})".replace("%", "%%"))
    parser.add_argument("--version", action="version", version=f"{command} {__version__}")
    given, unknown = parser.parse_known_args(argv)
    if unknown:
        known = [option for action in parser._actions for option in action.option_strings]
        name = unknown[0].split("=")[0]
        raise BadInputError(f"{name} is not an option{suggest(name, known) or '; --help lists them'}")
    variables = {name: f"FLTS_{name.upper()}" for name in model.model_fields}
    variables |= {name: other for name, other in others.items() if not environ.get(variables[name])}
    settings, _ = read_values(model, environ, variables, vars(given))
    return settings


def listen(host: str, port: int) -> socket.socket:
    """Bind a socket to an address; ``BadInputError`` where that is not possible."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        raise BadInputError(f"cannot listen on {host} port {port}: {reason(error)}") from None
    return listener


def serve(app: "ASGIApp", listener: socket.socket) -> None:
    """Answer requests until SIGTERM or Ctrl-C; those in progress then have ``SECONDS_TO_FINISH`` more."""
    import uvicorn

    from flts.web.draining import DrainingProtocol, DrainingServer

    # The app's own log lines tell of failing requests; uvicorn's other messages are of no use here.
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL + 1)
    config = uvicorn.Config(
        app,
        http=DrainingProtocol,
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        lifespan="on",
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=SECONDS_TO_FINISH,
    )
    server = DrainingServer(config)

    def stop(_number: int, _frame: FrameType | None) -> None:
        """Stop before uvicorn handles signals itself; after a signal has stopped it, uvicorn raises it once more."""
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    host, port = listener.getsockname()[:2]
    print(f"listening on http://{f'[{host}]' if ':' in host else host}:{port}", file=sys.stderr, flush=True)
    server.run(sockets=[listener])


def run(
    command: str, start: Callable[[Sequence[str], Mapping[str, str]], None], argv: Sequence[str] | None = None
) -> NoReturn:
    """Run ``start(argv, environ)``, which serves until it is stopped, and exit; errors are one sentence on stderr.

    In a container of Kubernetes the sentence is in the pod's status too.
    """
    arguments = sys.argv[1:] if argv is None else argv
    sys.exit(run_command(command, lambda: start(arguments, os.environ), service=True))
