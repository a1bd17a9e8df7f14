"""Write ``docs/stages/<stage>.md`` and the tables of ``docs/kafka.md`` from the stages' declarations: ``make docs``.

``--check`` only lists the pages that are out of date.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from flts.runtime.cli import example, group, variable
from flts.runtime.parameters import describe_limits, flag
from flts.stage_interface import Stage
from flts.stages import STAGES
from scripts.kafka_docs import with_tables

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "stages"
KAFKA = ROOT / "docs" / "kafka.md"

EXIT_CODES = (
    ("0", "done"),
    (
        "2",
        "bad input, parameters or credentials, a full disk, or too little memory; one line on stderr explains it",
    ),
    ("3", "a service is unreachable after retries"),
    ("130, 143", "stopped by Ctrl-C or SIGTERM, within a second, without half-written files"),
    ("1", "a bug, with traceback"),
)


def page(stage: Stage) -> str:
    """Return a stage's page as Markdown."""
    parts = [
        f"# {stage.name}",
        "<!-- Written by scripts/stage_docs.py from flts/params.py and flts/stages/__init__.py: change those. -->",
        stage.summary,
        f"On its own, on plain files:\n\n```sh\n{example(stage)}\n```",
        "As a task of Kubeflow Pipelines it takes `--executor-input` and nothing else; [turn KFP's cache off]"
        "(../platform-teams.md) for it. With `USE_KFP=0` its inputs and outputs are [Kafka messages](../kafka.md).",
        "## Inputs",
        _table(
            ("Artifact", "Type", "Flag", "In Kubeflow", "Meaning"),
            (
                (f"`{name}`", item.type, f"`{flag(name)}`", "yes" if item.kfp else "no", item.help)
                for name, item in stage.inputs.items()
            ),
        ),
        "## Parameters",
        "The flag of a parameter is its name with dashes. Flags take precedence over environment variables. "
        "Parameters without a default are required in Kubeflow, and empty for a stage that runs on its own.",
        *_parameters(stage),
        "## Outputs",
        _table(
            ("Output", "Type", "File when run on its own", "Meaning"),
            (
                (f"`{name}`", _output_type(output.type), _file(name, output.type), output.help)
                for name, output in stage.outputs.items()
            ),
        ),
        "## Exit codes",
        _table(("Code", "Meaning"), EXIT_CODES),
        "On a cluster, KFP's launcher [hides the code](../running.md#when-a-task-fails): the pod always ends with 1, "
        "and SIGTERM ends the launcher, not the stage.",
        "The log on stderr is plain text, with a progress bar on a terminal and a line every half minute elsewhere; as "
        "a task of Kubeflow Pipelines and with `FLTS_LOG=json` it is JSON lines. The last line, the result, goes to "
        "stdout.",
        "In Kubernetes an error also appears in the pod's status: it is written to `/dev/termination-log`, or to the "
        "file that `FLTS_TERMINATION_LOG` names, if that file exists.",
    ]
    return "\n\n".join(parts) + "\n"


def _parameters(stage: Stage) -> list[str]:
    groups: dict[str, list[tuple[str, ...]]] = {}
    for name, field in stage.params.model_fields.items():
        default = "" if field.is_required() else f"`{field.default!r}`".replace("'", '"')
        kind = field.annotation.__name__ if isinstance(field.annotation, type) else "str"
        row = (f"`{name}`", kind, default, describe_limits(field), f"`{variable(name)}`", field.description or "")
        groups.setdefault(group(field), []).append(row)
    head = ("Parameter", "Type", "Default", "Values", "Environment", "Meaning")
    return [part for title, rows in groups.items() for part in (f"### {title}", _table(head, rows))]


def _output_type(kind: str) -> str:
    return "parameter, str" if kind == "str" else kind


def _file(name: str, kind: str) -> str:
    return {"str": "", "HTML": f"`{name}.html`"}.get(kind, f"`{name}.json`")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_escape(cell) for cell in line) + " |" for line in lines)


def _escape(cell: str) -> str:
    """Escape a cell's bars and angle brackets for Markdown."""
    return cell.replace("|", "\\|").replace("<", "\\<")


def main() -> int:
    """Write or check every page; return 1 when a checked page differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a page is out of date")
    check = parser.parse_args().check
    pages = {FOLDER / f"{name}.md": page(stage) for name, stage in STAGES.items()}
    pages[KAFKA] = with_tables(KAFKA.read_text(encoding="utf-8"))
    obsolete = set(FOLDER.glob("*.md")) - set(pages)
    stale = [path for path, text in pages.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if check:
        for path in sorted({*stale, *obsolete}):
            print(f"{path.relative_to(ROOT)} is out of date: run make docs", file=sys.stderr)
        return 1 if stale or obsolete else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path in stale:
        path.write_text(pages[path], encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")
    for path in obsolete:
        path.unlink()
        print(f"removed {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
