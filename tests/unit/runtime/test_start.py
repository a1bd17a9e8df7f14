"""Which mode a command chooses, what a stage gets in it, and how failures end."""

import io
import json
import logging
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from flts.errors import BadInputError, ServiceUnavailableError
from flts.params import ServiceParams
from flts.runtime import main
from flts.runtime.start import run
from flts.stage_interface import Artifact, Context, Input, Output, Result, Stage
from flts.stages import STAGES
from flts.store.file import FileStore

TRAIN_GRU = STAGES["train-gru"]


class EchoParams(ServiceParams):
    """Parameters of a stage that tells what it was given."""

    word: str = TRAIN_GRU.params.model_fields["identifier"]


def echo(params: EchoParams, context: Context) -> Result:
    fail = {
        "bad": BadInputError("data.csv, row 3: bad\nvalue"),
        "down": ServiceUnavailableError("the gateway is down"),
        "bug": ZeroDivisionError("oh"),
        "full": OSError(28, "No space left on device"),
        "memory": MemoryError(),
        "signal": None,
    }
    (context.work_dir / "half").write_text("half")
    if params.word == "signal":
        signal.raise_signal(signal.SIGTERM)
    if params.word == "interrupt":
        signal.raise_signal(signal.SIGINT)
    if params.word in fail:
        raise fail[params.word]
    if params.word == "swallow":
        # As libraries do that turn whatever breaks them off into an error of their own.
        try:
            signal.raise_signal(signal.SIGTERM)
        except BaseException:
            raise ImportError("broken off") from None
    context.progress(0.5, "half way")
    seen = {
        "word": params.word,
        "store": isinstance(context.store, FileStore),
        "tracking_uri": context.tracking_uri,
        "wait_seconds": context.wait_seconds,
        "output_dir": str(context.output_dir),
        "beside_outputs": context.work_dir.parent == context.output_dir,
        "inputs": {name: str(item.path) for name, item in context.inputs.items()},
    }
    return Result({"seen": Artifact(json.dumps(seen))}, "Seen", files={"half.txt": context.work_dir / "half"})


STAGE = Stage(
    name="echo",
    summary="Tell what was given.",
    params=EchoParams,
    inputs={"data": Input("Dataset", "anything", required=False)},
    outputs={"seen": Output("Artifact", "what was given")},
    function=f"{__name__}:echo",
)


@pytest.fixture(autouse=True)
def process_as_before(monkeypatch):
    """Undo what a stage's process changes in itself."""
    for name in ("USE_KFP", "FLTS_LOG", "FLTS_THREADS", "FLTS_PATIENCE_SECONDS", "GATEWAY_URL", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    for name in ("WORD",):
        monkeypatch.delenv(name, raising=False)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "MLFLOW_CONFIGURE_LOGGING"):
        monkeypatch.setenv(name, "1")
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", root.handlers)
    monkeypatch.setattr(root, "level", root.level)
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with warnings.catch_warnings():
        yield
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers


def seen(folder: Path) -> dict[str, object]:
    return json.loads((folder / "seen.json").read_text())


def kfp(folder: Path, **parameters: str) -> list[str]:
    outputs = {
        "artifacts": {"seen": {"artifacts": [{"uri": str(folder / "seen.json")}]}},
        "outputFile": str(folder / "output_file"),
    }
    return ["--executor-input", json.dumps({"inputs": {"parameterValues": parameters}, "outputs": outputs})]


@pytest.mark.parametrize("use_kfp", [None, "0", "1", "2"])
def test_artifact_paths_as_flags_win_over_use_kfp(use_kfp, tmp_path, monkeypatch, capsys):
    if use_kfp:
        monkeypatch.setenv("USE_KFP", use_kfp)
    assert run(STAGE, ["--output-dir", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out == f"Seen. Wrote half.txt, seen.json to {tmp_path / 'out'}\n"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["half.txt", "seen.json"]
    assert seen(tmp_path / "out") == {
        "word": "",
        "store": False,
        "tracking_uri": None,
        "wait_seconds": 180,
        "output_dir": str(tmp_path / "out"),
        "beside_outputs": True,
        "inputs": {},
    }


@pytest.mark.parametrize("use_kfp", [None, "0", "1", "2"])
def test_executor_input_wins_over_use_kfp_and_connects_services(use_kfp, tmp_path, monkeypatch, capsys):
    if use_kfp:
        monkeypatch.setenv("USE_KFP", use_kfp)
    monkeypatch.setenv("WORD", "from the environment")
    assert run(STAGE, kfp(tmp_path, word="w", gateway_url=f"file://{tmp_path}/store")) == 0
    told = seen(tmp_path)
    assert (told["word"], told["store"], told["output_dir"]) == ("w", True, "None")
    assert told["tracking_uri"] == "http://mlflow:5000"
    assert (tmp_path / "output_file").is_file()
    assert capsys.readouterr().out == ""


def test_services_are_used_alone_only_when_named_by_flag_or_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///x")
    run(STAGE, ["--output-dir", str(tmp_path), "--gateway-url", f"file://{tmp_path}/store"])
    assert (seen(tmp_path)["store"], seen(tmp_path)["tracking_uri"]) == (True, "sqlite:///x")


def test_an_empty_tracking_uri_is_the_environment_s_as_kfp_s_mlflow_plugin_sets_it(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://of-the-plugin:5000")
    given = {"word": "w", "gateway_url": f"file://{tmp_path}/store"}
    assert run(STAGE, kfp(tmp_path, **given, mlflow_tracking_uri="")) == 0
    assert seen(tmp_path)["tracking_uri"] == "http://of-the-plugin:5000"
    assert run(STAGE, kfp(tmp_path, **given, mlflow_tracking_uri="http://named:5000")) == 0
    assert seen(tmp_path)["tracking_uri"] == "http://named:5000"


def test_a_task_whose_mlflow_nobody_names_ends_with_a_sentence(tmp_path, capsys):
    assert run(STAGE, kfp(tmp_path, word="w", gateway_url=f"file://{tmp_path}/store", mlflow_tracking_uri="")) == 2
    assert json.loads(capsys.readouterr().err)["message"] == (
        "parameter mlflow_tracking_uri is empty, and environment variable MLFLOW_TRACKING_URI is not set: one of them "
        "must name MLflow's address"
    )


def test_a_stage_by_itself_with_an_empty_tracking_uri_uses_the_environment_s_or_no_mlflow(tmp_path, monkeypatch):
    flags = ["--output-dir", str(tmp_path), "--mlflow-tracking-uri", ""]
    assert run(STAGE, flags) == 0
    assert seen(tmp_path)["tracking_uri"] is None
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///x")
    assert run(STAGE, flags) == 0
    assert seen(tmp_path)["tracking_uri"] == "sqlite:///x"


@pytest.mark.parametrize(("said", "seconds"), [(None, 180), ("7", 7), ("0", 0)])
def test_stages_wait_three_minutes_for_mlflow_unless_told_otherwise(said, seconds, tmp_path, monkeypatch):
    monkeypatch.delenv("FLTS_PATIENCE_SECONDS", raising=False)
    if said:
        monkeypatch.setenv("FLTS_PATIENCE_SECONDS", said)
    for argv in (["--output-dir", str(tmp_path)], kfp(tmp_path, word="w", gateway_url=f"file://{tmp_path}/store")):
        assert run(STAGE, argv) == 0
        assert seen(tmp_path)["wait_seconds"] == seconds


def test_a_store_is_enough_output_when_standalone_is_asked_for(tmp_path, monkeypatch, capsys):
    store = ["--gateway-url", f"file://{tmp_path}/store"]
    assert run(STAGE, store) == 2
    monkeypatch.setenv("USE_KFP", "2")
    assert run(STAGE, store) == 0
    assert capsys.readouterr().out == "Seen.\n"


@pytest.mark.parametrize(("use_kfp", "argv"), [(None, []), ("1", []), ("1", ["--word", "x"])])
def test_without_anything_to_do_the_help_is_shown(use_kfp, argv, monkeypatch, capsys):
    if use_kfp:
        monkeypatch.setenv("USE_KFP", use_kfp)
    assert run(STAGE, argv) == 2
    assert "usage: flts-echo" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("environ", "argv", "said"),
    [
        ({"USE_KFP": "0"}, [], "environment variable USE_KFP is 0, but this build has no Kafka worker"),
        ({"USE_KFP": "yes"}, [], "environment variable USE_KFP must be 0, 1 or 2, got 'yes'"),
        ({"FLTS_THREADS": "0"}, [], "environment variable FLTS_THREADS must be a whole number from 1 to 1024, got '0'"),
        ({"FLTS_LOG": "xml"}, [], "environment variable FLTS_LOG must be json or empty, got 'xml'"),
        ({}, ["--word", "x"], "--output-dir is required: folder for the results"),
        ({"USE_KFP": "2"}, [], "--output-dir is required: folder for the results"),
        ({}, ["--output-dir", ""], "--output-dir is empty, expected a path"),
        ({}, ["--output-dir", "a\udcff"], r"--output-dir a\udcff is not UTF-8 text without NUL: rename it"),
        ({}, ["--output-dir", "n" * 300], f"--output-dir {'n' * 300} cannot be written: file name too long"),
        ({}, ["--output-dir", "/proc/x"], "--output-dir /proc/x cannot be written: no such file or directory"),
        ({}, ["--output-dir", "x", "--data", ""], "--data is empty, expected a path"),
        ({}, ["--output-dir", "x", "--data", "\udcff.csv"],
         r"--data \udcff.csv is not UTF-8 text without NUL: rename it"),
        ({}, ["--output-dir", "x", "--data", "n" * 300], f"--data: {'n' * 300} cannot be read: file name too long"),
        ({}, ["--output-dir", "x", "--word", "\udcff"],
         r"--word must be UTF-8 text without NUL, got '\udcff'"),
        ({}, ["--output-dir", "x", "--data", "nope"], "--data: nope does not exist"),
    ],
)  # fmt: skip
def test_a_wrong_start_is_one_sentence_and_exit_code_2(environ, argv, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert run(STAGE, argv) == 2
    assert capsys.readouterr().err == f"flts-echo: {said}\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("other", [["--word", "x"], ["--output-dir", "x"]])
def test_executor_input_takes_no_other_options(other, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(STAGE, ["--executor-input", "{}", *other]) == 2
    said = f"--executor-input takes no other options, got {other[0]}"
    assert json.loads(capsys.readouterr().err)["message"] == said


FAILURES = pytest.mark.parametrize(
    ("word", "code", "said"),
    [
        ("bad", 2, "data.csv, row 3: bad value"),
        ("full", 2, "--output-dir out cannot be written: no space left on device"),
        ("memory", 2, "there is not enough memory: give it more, take fewer rows, or a smaller model"),
        ("down", 3, "the gateway is down"),
        ("signal", 143, "stopped by SIGTERM"),
        ("swallow", 143, "stopped by SIGTERM"),
        ("interrupt", 130, "interrupted"),
        ("bug", 1, "ZeroDivisionError: oh"),
    ],
)


@FAILURES
def test_a_failing_stage_says_why_in_a_line_and_leaves_nothing(word, code, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(STAGE, ["--output-dir", "out", "--word", word]) == code
    *before, line = capsys.readouterr().err.splitlines()
    assert line == f"flts-echo: {said}"
    assert bool(before) == (code == 1)
    assert list(tmp_path.iterdir()) == []


@FAILURES
def test_json_lines_say_the_same_with_the_exit_code(word, code, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLTS_LOG", "json")
    assert run(STAGE, ["--output-dir", "out", "--word", word]) == code
    event = json.loads(capsys.readouterr().err)
    assert (event["message"], event["exit_code"]) == (said, code)
    assert ("traceback" in event) == (code == 1)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_the_closing_line_is_written_in_whatever_stdout_can_show(encoding, tmp_path, monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding))
    assert run(STAGE, ["--output-dir", str(tmp_path / "möwe")]) == 0
    shown = "möwe" if encoding == "utf-8" else r"m\xf6we"
    assert written.getvalue().decode(encoding).endswith(f"/{shown}\n")


@pytest.mark.parametrize(("stream", "word", "code"), [("stdout", "w", 0), ("stderr", "bad", 2)])
def test_an_exit_code_stays_where_nobody_listens(stream, word, code, tmp_path):
    script = (
        "import os; from tests.unit.runtime.test_start import STAGE; from flts.runtime import main;"
        f"main(STAGE, ['--output-dir', 'out', '--word', '{word}'])"
    )
    path = os.pathsep.join(sys.path)
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=tmp_path, env={"PYTHONPATH": path}, **{stream: subprocess.PIPE}
    ) as process:
        getattr(process, stream).close()
        assert process.wait() == code


def test_main_exits_with_the_code(tmp_path):
    with pytest.raises(SystemExit) as caught:
        main(STAGE, ["--output-dir", str(tmp_path), "--word", "down"])
    assert caught.value.code == 3


@pytest.mark.parametrize("threads", [None, "2"])
def test_numeric_libraries_get_one_thread_or_as_many_as_asked_for(threads, tmp_path, monkeypatch):
    if threads:
        monkeypatch.setenv("FLTS_THREADS", threads)
    run(STAGE, ["--output-dir", str(tmp_path)])
    assert {os.environ[name] for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")} == {
        threads or "1"
    }
