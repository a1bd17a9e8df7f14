"""A small pipeline for the tests of the local runner: first -> {left, right} -> last, of a real little program.

What a task does is a word in the pipeline parameter ``<task>_does``; nothing means that it just does its work.
"""

import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from kfp import dsl
from kfp.compiler import Compiler
from kfp.dsl import HTML, Artifact, Input, Output, OutputPath

from tests.support.waiting import wait_until

# KFP has no types, and reads an object where type checkers expect a type.
component: Callable[[Callable[..., object]], Any] = dsl.container_component
if TYPE_CHECKING:
    TextPath = str
else:
    TextPath = OutputPath(str)

WORKER = """#!{python}
import json, os, pathlib, signal, subprocess, sys, time

asked = json.loads(sys.argv[sys.argv.index("--executor-input") + 1])
values = asked["inputs"]["parameterValues"]
outputs = asked["outputs"]
does = values["does"]
folder = pathlib.Path(outputs["outputFile"]).parent


def tell(event, message, **fields):
    print(json.dumps({{"event": event, "message": message, **fields}}), file=sys.stderr, flush=True)


print("plain text on stdout", flush=True)
tell("progress", "half of it", fraction=0.5)
if does == "fail":
    tell("error", "column temp is empty", exit_code=2)
    sys.exit(2)
if does == "crash":
    sys.exit("Traceback: boom")
if does == "die":
    os.kill(os.getpid(), signal.SIGKILL)
if does == "hang":
    child = subprocess.Popen(["sleep", "60"])
    (folder / "child").write_text(str(child.pid))
    tell("progress", "hanging", fraction=None)
    child.wait()
if does == "ignore":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    tell("progress", "hanging", fraction=None)
    time.sleep(60)
if does == "grow":  # to a gigabyte, unless it may not
    tell("progress", "growing", fraction=None)
    held = []
    while len(held) < 100:
        held.append(b"x" * 10_000_000)
        time.sleep(0.05)
if does == "meet":  # ends only if the other one runs at the same time
    (folder / "here").touch()
    (other,) = {{"left", "right"}} - {{folder.name}}
    deadline = time.monotonic() + 60
    while not (folder.parent / other / "here").exists():
        if time.monotonic() > deadline:
            sys.exit("the other never came")
        time.sleep(0.01)

(folder / "seen.json").write_text(json.dumps({{"inputs": asked["inputs"], "threads": os.environ.get("FLTS_THREADS")}}))
artifacts = {{}}
for name, listed in outputs["artifacts"].items():
    (artifact,) = listed["artifacts"]
    if does != "forget":
        pathlib.Path(artifact["uri"]).write_text(f"{{name}} of {{folder.name}}")
    uri = "s3://elsewhere/x" if does == "move" else artifact["uri"]
    artifacts[name] = {{"artifacts": [{{"name": name, "uri": uri, "metadata": {{"rows": 3, "by": folder.name}}}}]}}
written = {{"artifacts": artifacts, "parameterValues": {{"word": f"from {{folder.name}}"}}}}
if does == "embellish":
    written["extra"] = {{}}
pathlib.Path(outputs["outputFile"]).write_text(json.dumps(written))
if does == "warn":
    tell("note", "3 values were missing")
tell("done", f"{{folder.name}} is done", cached=does == "reuse")
"""


def assert_gone(*pids: int) -> None:
    """Wait until processes have ended, reaped or not; they would go on for a minute."""

    def still_run() -> list[int]:
        running = []
        for pid in pids:
            with suppress(psutil.NoSuchProcess):
                if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                    running.append(pid)
        return running

    wait_until(lambda: not still_run(), 50, state=lambda: f"processes {still_run()} still run")


def _command() -> dict[str, Any]:
    return {
        "image": "worker:kfp",
        "command": ["test-worker"],
        "args": ["--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER],
    }


@component
def first(
    does: str,
    count: int,
    data: Output[Artifact],
    page: Output[HTML],
    word: TextPath,
    ratio: float = 0.5,
    flag: bool = True,
) -> dsl.ContainerSpec:
    return dsl.ContainerSpec(**_command())


@component
def left(does: str, data: Input[Artifact], heard: str, result: Output[Artifact], word: TextPath) -> dsl.ContainerSpec:
    return dsl.ContainerSpec(**_command())


@component
def right(does: str, data: Input[Artifact], heard: str, result: Output[Artifact], word: TextPath) -> dsl.ContainerSpec:
    return dsl.ContainerSpec(**_command())


@component
def last(
    does: str,
    one: Input[Artifact],
    two: Input[Artifact],
    constant: int,
    result: Output[Artifact],
    word: TextPath,
) -> dsl.ContainerSpec:
    return dsl.ContainerSpec(**_command())


@dsl.pipeline(name="workers", display_name="Workers")  # type: ignore[untyped-decorator]  # KFP has no types
def workers(count: int, first_does: str = "", left_does: str = "", right_does: str = "", last_does: str = "") -> None:
    begun = first(does=first_does, count=count).set_display_name("The first")
    given = {"data": begun.outputs["data"], "heard": begun.outputs["word"]}
    halves = [left(does=left_does, **given), right(does=right_does, **given)]
    last(does=last_does, one=halves[0].outputs["result"], two=halves[1].outputs["result"], constant=7)


def compile_workers(folder: Path) -> Path:
    """Compile the pipeline and put its program into ``folder``."""
    program = folder / "test-worker"
    program.write_text(WORKER.format(python=sys.executable))
    program.chmod(0o755)
    path = folder / "workers.yaml"
    Compiler().compile(workers, str(path))
    return path
