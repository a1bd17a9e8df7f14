"""The command line of a stage, built from its declaration."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_origin

from pydantic.fields import FieldInfo

from flts.boundary.paths import read_path
from flts.errors import BadInputError
from flts.runtime.output import check_input
from flts.runtime.parameters import (
    describe_default,
    describe_limits,
    extra,
    flag,
    read_values,
    standalone_defaults,
    suggest,
)
from flts.stage_interface import InputArtifact, P, Stage
from flts.version import __version__

_GROUP_NOTES = {"Services": "A stage that runs by itself uses a service only when its address is given."}
_PLACEHOLDERS: Mapping[Any, str] = {int: "N", float: "X", str: "TEXT"}


@dataclass(frozen=True)
class CommandLine:
    """A command line as it was typed, not yet checked: parameters and artifact paths by declared name, as text."""

    params: Mapping[str, Any]
    inputs: Mapping[str, str]
    output_dir: str | None
    executor_input: str | None
    listen: bool = False

    @property
    def is_single_run(self) -> bool:
        """True if it names the inputs or outputs of a single run."""
        return bool(self.inputs) or self.output_dir is not None or self.executor_input is not None


def build_parser(stage: Stage) -> argparse.ArgumentParser:
    """Build the parser; it fails with ``argparse.ArgumentError`` and leaves unknown arguments to its caller."""
    required = "".join(f" {flag(name)} PATH" for name, item in stage.inputs.items() if item.required)
    parser = argparse.ArgumentParser(
        prog=stage.command,
        usage=f"{stage.command}{required} --output-dir DIR [options]",
        description=stage.summary,
        epilog=_epilog(stage),
        formatter_class=lambda prog: _Formatter(prog, max_help_position=30),
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
        exit_on_error=False,
        add_help=False,
    )
    artifacts = parser.add_argument_group("Artifacts")
    for name, item in stage.inputs.items():
        artifacts.add_argument(flag(name), dest=f"input:{name}", metavar="PATH", help=_escape(item.help))
    artifacts.add_argument("--output-dir", metavar="DIR", help="folder for the results; created when missing")
    groups: dict[str, argparse._ArgumentGroup] = {}
    for name, field in stage.params.model_fields.items():
        title = group(field)
        if title not in groups:
            groups[title] = parser.add_argument_group(title, _GROUP_NOTES.get(title))
        options: dict[str, Any] = {"dest": f"param:{name}", "help": _help(field)}
        if field.annotation is bool:
            options["action"] = _OnOff
        else:
            options["metavar"] = _placeholder(field)
        groups[title].add_argument(flag(name), **options)
    others = parser.add_argument_group("Other")
    others.add_argument("--executor-input", metavar="JSON", help="task of Kubeflow Pipelines; takes no other options")
    if stage.worker and stage.worker.messages_of_run:
        others.add_argument(
            "--listen", action="store_true", help="run as a Kafka worker that answers requests, instead of once"
        )
    others.add_argument(
        "--version", action="version", version=f"{stage.command} {__version__}", help="show the version"
    )
    others.add_argument("-h", "--help", action="help", help="show this help")
    return parser


def read_command_line(stage: Stage, argv: Sequence[str]) -> CommandLine:
    """Parse the arguments; ``--help`` and ``--version`` print and raise ``SystemExit``.

    Raises:
        BadInputError: An argument is unknown, or lacks its value.
    """
    parser = build_parser(stage)
    try:
        parsed, unknown = parser.parse_known_args(argv)
    except argparse.ArgumentError as error:
        name = (error.argument_name or "").split("/")[0]
        if "ignored explicit argument" in error.message:
            raise BadInputError(f"{name} takes no value: write {name} or {_negated(name)}") from None
        raise BadInputError(f"{name} needs a value") from None
    if unknown:
        known = [option for action in parser._actions for option in action.option_strings]
        raise BadInputError(_unknown_argument(unknown, known))
    values = vars(parsed)
    return CommandLine(
        params={key.removeprefix("param:"): value for key, value in values.items() if key.startswith("param:")},
        inputs={key.removeprefix("input:"): value for key, value in values.items() if key.startswith("input:")},
        output_dir=values.get("output_dir"),
        executor_input=values.get("executor_input"),
        listen=bool(values.get("listen")),
    )


def read_params(stage: Stage[P], flags: Mapping[str, Any], environ: Mapping[str, str]) -> tuple[P, set[str]]:
    """Check parameters from flags and the environment; flags win, and an empty variable counts as unset.

    Returns:
        The parameters, and the names of those that were given.

    Raises:
        BadInputError: A value is wrong; the sentence names the flag or the environment variable.
    """
    variables = {name: variable(name) for name in stage.params.model_fields}
    return read_values(stage.params, environ, variables, flags, standalone_defaults(stage.params))


def read_inputs(stage: Stage, paths: Mapping[str, str]) -> dict[str, InputArtifact]:
    """Check the input artifacts given as paths.

    Raises:
        BadInputError: A required one is missing, or one cannot be read.
    """
    inputs = {}
    for name, item in stage.inputs.items():
        if name in paths:
            path = read_path(paths[name], flag(name))
            check_input(path, item, flag(name))
            inputs[name] = InputArtifact(path)
        elif item.required:
            raise BadInputError(f"{flag(name)} is required: {item.help}")
    return inputs


def variable(name: str) -> str:
    """Return the environment variable of a parameter, ``HIDDEN_SIZE`` for ``hidden_size``."""
    return name.upper()


def group(field: FieldInfo) -> str:
    """Return the heading under which a parameter is listed."""
    return str(extra(field)["group"])


def example(stage: Stage) -> str:
    """Return a command line that runs the stage by itself."""
    given = "".join(f" {flag(name)} {item.example}" for name, item in stage.inputs.items() if item.example)
    return f"{stage.command}{given} --output-dir {stage.name.removeprefix('train-')}/"


class _Formatter(argparse.HelpFormatter):
    """Wraps paragraphs one by one, and keeps indented lines as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        fill = super()._fill_text
        return "\n".join(
            line if line.startswith(" ") or not line else fill(line, width, indent) for line in text.splitlines()
        )


class _OnOff(argparse.Action):
    """``--name`` and ``--no-name``."""

    def __init__(self, option_strings: list[str], dest: str, **options: Any) -> None:
        super().__init__([*option_strings, *map(_negated, option_strings)], dest, nargs=0, **options)

    def __call__(self, _parser: Any, namespace: argparse.Namespace, _values: Any, option: str | None = None) -> None:
        setattr(namespace, self.dest, not (option or "").startswith("--no-"))


def _negated(option: str) -> str:
    return "--no-" + option.removeprefix("--")


def _placeholder(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return "NAME"
    return _PLACEHOLDERS[field.annotation]


def _help(field: FieldInfo) -> str:
    details = [describe_default(field), describe_limits(field)]
    return _escape(f"{field.description} ({'; '.join(detail for detail in details if detail)})")


def _escape(text: str) -> str:
    """Double the percent signs, which argparse would read as formats."""
    return text.replace("%", "%%")


def _epilog(stage: Stage) -> str:
    also = f"{stage.also}\n\n" if stage.also else ""
    return _escape(
        "An option can also be given as an environment variable, --some-option as SOME_OPTION; options win. "
        "With USE_KFP=0 inputs and outputs are Kafka messages: see docs/kafka.md.\n\n"
        f"{also}Example:\n  {example(stage)}"
    )


def _unknown_argument(unknown: Sequence[str], known: Sequence[str]) -> str:
    options = [argument for argument in unknown if argument.startswith("-")]
    if options:
        name = options[0].split("=")[0]
        return f"{name} is not an option{suggest(name, known) or '; --help lists them'}"
    if unknown[0].lower() in {"true", "false", "0", "1"}:
        return f"unexpected argument {unknown[0]!r}: switches take no value, write --name or --no-name"
    return f"unexpected argument {unknown[0]!r}: every value follows its option"
