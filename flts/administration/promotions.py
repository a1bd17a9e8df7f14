"""The command ``flts-promotions``: list and explain promotions, roll back, and verify consistency."""

import argparse
import getpass
import json
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from flts.boundary.arguments import Parser
from flts.contracts import Promotion
from flts.errors import BadInputError
from flts.observability.exit_codes import run_command
from flts.params import BUCKETS
from flts.promotion import HistoryEntry, choose, entries, production_key, read_pointer, roll_back, rollback_target
from flts.store import ObjectStore, open_store
from flts.store.buckets import bucket_option, read_bucket
from flts.version import __version__

_BAD_INPUT = 2
_EPILOG = (
    "Without an option, the environment variable GATEWAY_URL, PROMOTION_BUCKET, IDENTIFIER or MLFLOW_TRACKING_URI is "
    "used, as in the stages. Exit codes: 0 done, 2 wrong input or, from verify, an inconsistency, 3 a service is "
    "unreachable."
)


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command and exit; errors are one sentence on stderr."""
    sys.exit(run_command("flts-promotions", lambda: _run(sys.argv[1:] if argv is None else argv)))


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = Parser(
        prog="flts-promotions", description="Manage the models in production.", epilog=_EPILOG, allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"flts-promotions {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    def add(name: str, function: Any, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text, epilog=_EPILOG, allow_abbrev=False)
        command.set_defaults(function=function)
        command.add_argument("--store", metavar="URL", help="object store, as a stage's --gateway-url")
        command.add_argument(
            bucket_option("promotion_bucket"),
            "--bucket",
            dest="bucket",
            metavar="NAME",
            help=f"bucket of promotions (default {BUCKETS['promotion_bucket'].default})",
        )
        command.add_argument(
            "--identifier", metavar="NAME", help="owner of the promotions; global: those without identifier"
        )
        command.add_argument("--mlflow-tracking-uri", metavar="URL", help="MLflow server of the models")
        command.add_argument("--json", action="store_true", help="print JSON")
        return command

    add("list", _list, "List the history: decisions, their scores, and what is in production.")
    show = add("show", _show, "Show a decision, by default the one in production.")
    show.add_argument("id", nargs="?", default="", help="id of the decision, or its beginning")
    rollback = add("rollback", _rollback, "Promote an earlier model again; servers load it.")
    rollback.add_argument(
        "--to",
        metavar="ID",
        default="",
        help="id of the decision to go back to (default: the one in production before)",
    )
    rollback.add_argument("--why", metavar="TEXT", required=True, help="reason, for the history")
    rollback.add_argument("--by", metavar="NAME", default="", help="name of the person (default: name of the user)")
    add("verify", _verify, "Check that pointers, history, MLflow runs and bundles agree.")
    return parser


def _run(argv: Sequence[str]) -> int:
    options = build_parser().parse_args(argv)
    options.bucket = read_bucket("promotion_bucket", os.environ, options.bucket)
    options.identifier = _setting(options.identifier, "IDENTIFIER")
    options.mlflow_tracking_uri = _setting(options.mlflow_tracking_uri, "MLFLOW_TRACKING_URI")
    url = _setting(options.store, "GATEWAY_URL")
    if not url:
        raise BadInputError(
            "--store is required: object store of the promotions, s3://, http(s)://host:port or file:///dir"
        )
    code: int = options.function(options, open_store(url))
    return code


def _setting(option: str | None, variable: str) -> str:
    return option or os.environ.get(variable, "")


def _list(options: argparse.Namespace, store: ObjectStore) -> int:
    found = entries(store, options.bucket, options.identifier)
    current = _in_production(store, options.bucket, found)
    if options.json:
        _print_json([_fields(entry, current) for entry in found])
        return 0
    if not found:
        print(f"{options.bucket} has no promotions{f' of {options.identifier}' if options.identifier else ''} yet.")
        return 0
    from flts.administration.promotions_table import print_history

    print_history(found, current)
    return 0


def _show(options: argparse.Namespace, store: ObjectStore) -> int:
    found = entries(store, options.bucket, options.identifier)
    current = _in_production(store, options.bucket, found)
    if options.id:
        entry = choose(found, options.id)
    else:
        key = production_key(_owner(options, found))
        named = [entry for entry in found if entry.key in current and production_key(entry.owner) == key]
        if not named:
            raise BadInputError(f"{options.bucket}/{key} names no promotion of the history: verify says more")
        entry = named[0]
    if entry.promotion is None:
        raise BadInputError(entry.problem)
    if options.json:
        _print_json(_fields(entry, current))
        return 0
    from flts.administration.promotions_table import print_entry

    print_entry(entry, in_production=entry.key in current)
    return 0


def _rollback(options: argparse.Namespace, store: ObjectStore) -> int:
    if not options.why.strip():
        raise BadInputError("--why must not be empty: the history keeps the reason")
    found = entries(store, options.bucket, options.identifier)
    name = choose(found, options.to).owner if options.to else _owner(options, found)
    target = rollback_target(store, options.bucket, name, options.to)
    promotion = target.promotion
    if promotion is None:
        raise BadInputError(target.problem)
    if options.mlflow_tracking_uri:
        from flts.administration.verification import model_problem

        if problem := model_problem(promotion, options.mlflow_tracking_uri):
            raise BadInputError(f"the model of {target.id} cannot be promoted again: {problem}")
    done = roll_back(store, options.bucket, promotion, by=options.by or _user(), why=options.why)
    if options.json:
        _print_json({"history_key": done.history_key, **json.loads(done.promotion.to_json())})
        return 0
    print(
        f"{name} is back to {promotion.model_type} (run {promotion.run_id}, promoted as {target.id}), "
        f"recorded as {options.bucket}/{done.history_key}."
    )
    for key in done.newer_pointers:
        print(f"{options.bucket}/{key} stays: it names a later promotion of another run.")
    return 0


def _verify(options: argparse.Namespace, store: ObjectStore) -> int:
    from flts.administration.verification import verify

    checked = verify(store, options.bucket, options.identifier, options.mlflow_tracking_uri)
    if options.json:
        _print_json({"problems": checked.problems, "promotions": checked.promotions, "models": checked.models})
    else:
        for problem in checked.problems:
            print(problem)
        unchecked = checked.unchecked and f"; {checked.unchecked} in MLflow not checked: give --mlflow-tracking-uri"
        counts = f"{checked.promotions} promotions, {checked.pointers} pointers and {checked.models} models checked"
        verdict = f"{len(checked.problems)} problems" if checked.problems else "everything agrees"
        print(f"{counts}{unchecked or ''}: {verdict}.")
    return _BAD_INPUT if checked.problems else 0


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in a container
        raise BadInputError("--by is required: the system user has no name") from None


def _owner(options: argparse.Namespace, found: list[HistoryEntry]) -> str:
    """Return the owner that the option names, or the only owner in the history."""
    if options.identifier:
        return str(options.identifier)
    names = sorted({entry.owner for entry in found})
    if len(names) != 1:
        hint = f"one of {', '.join(names)}" if names else f"{options.bucket} has no promotions yet"
        raise BadInputError(f"--identifier is required to choose an owner: {hint}")
    return names[0]


def _in_production(store: ObjectStore, bucket: str, found: list[HistoryEntry]) -> set[str]:
    """Return the keys of the decisions to which the owners' pointers point."""
    named: dict[str, Promotion] = {}
    for name in {entry.owner for entry in found}:
        pointer = read_pointer(store, bucket, production_key(name))
        if pointer and pointer.promotion:
            named[name] = pointer.promotion
    return {entry.key for entry in found if entry.promotion and named.get(entry.owner) == entry.promotion}


def _fields(entry: HistoryEntry, current: set[str]) -> dict[str, Any]:
    message = json.loads(entry.promotion.to_json()) if entry.promotion else {"problem": entry.problem}
    return {"id": entry.id, "key": entry.key, "in_production": entry.key in current, **message}


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
