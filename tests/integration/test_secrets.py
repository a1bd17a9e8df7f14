"""Secrets in every place that takes one, every kind of error, and a look at all that came out of the processes."""

import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from flts.tracking import Tracking
from tests.support.commands import BIN, Ended, start
from tests.support.gateway import gateway
from tests.support.listening import listening
from tests.support.pipelines import command as pipeline_command

pytestmark = pytest.mark.slow

NOBODY = "127.0.0.1:9"  # nothing listens there
SECRETS = {
    "AWS_ACCESS_KEY_ID": "AKIAQ3EGSECRETKEYID9",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+aws",
    "FLTS_S3_ACCESS_KEY_ID": "key-id-of-flts-s3",
    "FLTS_S3_SECRET_ACCESS_KEY": "wJalr/flts+s3=secret",
    "FLTS_S3_SESSION_TOKEN": "session-token-of-s3",
    "FLTS_GATEWAY_TOKEN": "gateway-token-1a2b",
    "MLFLOW_TRACKING_USERNAME": "me",
    "MLFLOW_TRACKING_PASSWORD": "ml2flow",
    "KAFKA_SASL_PASSWORD": "sasl/pass%word",
    "OPENAI_API_KEY": "api-key-of-somebody",
}
URL_PASSWORD, URL_PASSWORD_ENCODED = "p@ss/w0rd-of-url", "p%40ss%2Fw0rd-of-url"
MLFLOW = f"http://me:{URL_PASSWORD_ENCODED}@{NOBODY}"
HIDDEN = {
    *(value for name, value in SECRETS.items() if name != "MLFLOW_TRACKING_USERNAME"),
    *(URL_PASSWORD, URL_PASSWORD_ENCODED, "sasl%2Fpass%25word", "wJalrXUtnFEMI%2FK7MDENG%2Baws", "file-held-secret"),
}


def assert_clean(*texts: str | bytes) -> None:
    for text in texts:
        whole = text.decode(errors="replace") if isinstance(text, bytes) else text
        assert not [secret for secret in HIDDEN if secret in whole], whole


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An environment full of secrets, with a termination log."""
    log, token = tmp_path / "termination-log", tmp_path / "some-token"
    log.touch()
    token.write_text("file-held-secret\n")
    return {
        **SECRETS,
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(token),
        "FLTS_TERMINATION_LOG": str(log),
        "FLTS_PATIENCE_SECONDS": "1",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "HOME": str(tmp_path),
    }


def run(folder: Path, *command: str, environ: Mapping[str, str]) -> Ended:
    with start(folder, *command, environ=environ) as process:
        stdout, stderr = process.communicate(timeout=120)
    return Ended(process.returncode, stdout, stderr)


@pytest.mark.parametrize("log", ["", "json"])
@pytest.mark.parametrize(
    ("arguments", "more", "code"),
    [
        (["--gateway-url", "s3://"], {"FLTS_S3_ENDPOINT_URL": f"http://me:{URL_PASSWORD_ENCODED}@{NOBODY}"}, 3),
        (["--gateway-url", f"http://me:{URL_PASSWORD}@{NOBODY}"], {}, 2),
        (["--gateway-url", f"http://{NOBODY}"], {}, 3),
        (["--gateway-url", "file:///nowhere/gateway-token-1a2b"], {}, 2),
        (["--identifier", "ml2flow", "--input", "wJalrXUtnFEMI/K7MDENG+aws"], {}, 2),
        (["--lags", "file-held-secret"], {}, 2),
    ],
)
def test_stages_that_reach_no_store(
    arguments: list[str], more: dict[str, str], code: int, log: str, environ: dict[str, str], tmp_path: Path
) -> None:
    command = ("flts-preprocess", "--dataset-name", "x", "--output-dir", "out", *arguments)

    ended = run(tmp_path, *command, environ=environ | more | {"FLTS_LOG": log})

    assert ended.code == code, ended.stderr
    said = Path(environ["FLTS_TERMINATION_LOG"]).read_text()
    assert said
    assert_clean(ended.stdout, ended.stderr, said)


def test_a_run_of_the_pipeline_and_its_summary_and_page(
    root: Path, demo: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    flags = ("--identifier", "ml2flow", "--param", "target_columns=file-held-secret")

    ended = run(root, *pipeline_command(home, demo, *flags), environ=environ)

    assert ended.code == 2, ended.stderr
    results = [path for path in (home / "latest").resolve().glob("*.*") if path.is_file()]
    assert {"summary.json", "index.html"} <= {path.name for path in results}
    summary = json.loads((home / "latest" / "summary.json").read_text())
    assert (summary["identifier"], summary["parameters"]["target_columns"]) == ("***", "***")
    assert "***" in summary["stages"]["preprocess"]["error"]
    logs = [path.read_text() for path in (home / "latest").resolve().rglob("*.log")]
    assert_clean(ended.stdout, ended.stderr, *logs, *(path.read_bytes() for path in results))


def test_a_run_of_the_pipeline_whose_mlflow_is_away(
    root: Path, demo: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    ended = run(root, *pipeline_command(tmp_path / "home", demo, "--mlflow", MLFLOW), environ=environ)

    assert ended.code == 3, ended.stderr
    assert f"http://***@{NOBODY}" in ended.stderr
    assert_clean(ended.stdout, ended.stderr)


def test_a_gateway_that_refuses_the_token(environ: dict[str, str], tmp_path: Path) -> None:
    tokens = tmp_path / "tokens.json"
    digest = hashlib.sha256(b"the-right-one").hexdigest()
    tokens.write_text(json.dumps([{"name": "x", "sha256": digest, "buckets": ["*"], "access": "write"}]))
    with gateway(f"file://{tmp_path}/store", "--tokens-file", str(tokens), environ=environ) as served:
        answers = []
        for path in ("objects/a?prefix=gateway-token-1a2b", "download/gateway-token-1a2b/ml2flow", "key-id-of-flts-s3"):
            asked = Request(f"{served.url}/{path}", headers={"Authorization": "Bearer gateway-token-1a2b"})  # noqa: S310
            with pytest.raises(HTTPError) as refused:
                urlopen(asked, timeout=30)  # noqa: S310
            answers.append(f"{refused.value.read().decode()} {refused.value.headers}")
        stage = ("flts-preprocess", "--dataset-name", "x", "--output-dir", "out", "--gateway-url", served.url)
        ended = run(tmp_path, *stage, environ=environ)
    assert ended.code == 2
    assert "FLTS_GATEWAY_TOKEN" in ended.stderr
    assert_clean(ended.stderr, *answers, *served.lines)


SERVER = """
import sys
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from flts.errors import RefusedError
from flts.web import errors
from flts.web.middleware import RequestMiddleware
from flts.web.server import listen, run, serve

def start(argv, environ):
    app = FastAPI()
    errors.install_error_handlers(app, on_outage=lambda: None)

    @app.get("/broken")
    async def broken():
        raise RuntimeError(f"signed with {environ['AWS_SECRET_ACCESS_KEY']}")

    @app.get("/refused")
    async def refused():
        raise RefusedError(f"{environ['MLFLOW_TRACKING_URI']} refuses {environ['MLFLOW_TRACKING_PASSWORD']}")

    observed = RequestMiddleware(app, service="test", registry=CollectorRegistry(), most=9, seconds=9, free=frozenset())
    serve(observed, listen("127.0.0.1", 0))
    raise RuntimeError(f"crashed with {environ['KAFKA_SASL_PASSWORD']}")

run("test", start, [])
"""


def test_a_server_whose_errors_have_secrets_in_their_text(environ: dict[str, str]) -> None:
    answers = []
    with listening([sys.executable, "-c", SERVER], environ | {"MLFLOW_TRACKING_URI": MLFLOW}) as (url, _, lines):
        for path in ("broken", "refused", "wJalrXUtnFEMI/K7MDENG+aws"):
            with pytest.raises(HTTPError) as failed:
                urlopen(f"{url}/{path}", timeout=30)  # noqa: S310
            answers.append(f"{failed.value.read().decode()} {failed.value.headers}")
    said = [json.loads(line) for line in lines if line.startswith("{")]
    assert [line["status"] for line in said] == [500, 502, 404]
    assert "RuntimeError: signed with ***" in said[0]["traceback"]
    assert "RuntimeError: crashed with ***" in "".join(lines)
    termination = Path(environ["FLTS_TERMINATION_LOG"]).read_text()
    assert termination == "RuntimeError: crashed with ***"
    assert_clean(termination, *answers, *lines)


def test_a_worker_that_reaches_no_broker(environ: dict[str, str], tmp_path: Path) -> None:
    variables = environ | {
        **{"USE_KFP": "0", "KAFKA_BOOTSTRAP_SERVERS": NOBODY, "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT"},
        **{"KAFKA_SASL_USERNAME": "me", "GATEWAY_URL": f"file://{tmp_path}/store", "MLFLOW_TRACKING_URI": MLFLOW},
        "KAFKA_SASL_JAAS_CONFIG": 'PlainLoginModule required username="me" password="sasl/pass%word";',
    }
    said = []
    with start(tmp_path, "flts-train-gru", environ=variables) as worker:
        assert worker.stderr
        for line in worker.stderr:
            said.append(line)
            if '"waiting"' in line:
                worker.send_signal(signal.SIGTERM)
    assert any('"waiting"' in line for line in said), said
    assert any("KAFKA_SASL_JAAS_CONFIG is ignored" in line for line in said), said

    for name in ("flts-topics", "flts-status", "flts-dlq"):
        ended = run(tmp_path, name, *(["list"] if name == "flts-dlq" else []), environ=variables)
        assert ended.code == 3, ended.stderr
        said.append(ended.stderr)
    assert_clean(*said)


def test_tags_parameters_and_names_in_the_database_of_mlflow(
    environ: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flts.tracking.records import DatasetSource, LoggedModel

    for name, value in (environ | {"MLFLOW_TRACKING_URI": MLFLOW}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MLFLOW_TRACKING_USERNAME")
    database = tmp_path / "mlflow.db"
    tracking = Tracking(f"sqlite:///{database}")
    run_id = tracking.create_run(
        tracking.experiment("flts"), "run of api-key-of-somebody", {"identifier": "ml2flow", "address": MLFLOW}
    )
    tracking.log(
        run_id,
        params={"gateway_url": f"http://me:{URL_PASSWORD_ENCODED}@{NOBODY}", "salt": SECRETS["AWS_SECRET_ACCESS_KEY"]},
        metrics={},
        series=[],
        dataset=DatasetSource(name="x", sha256="0" * 64, uri=MLFLOW, rows=1),
        model=LoggedModel("m-1", "", ready=False),
    )

    with sqlite3.connect(database) as rows:
        (logged,) = rows.execute("select value from params where key = 'salt'")
    rows.close()
    assert logged == ("***",)
    assert_clean(database.read_bytes())


def test_a_crash_with_a_traceback(environ: dict[str, str], tmp_path: Path) -> None:
    script = (
        "import os\n"
        "from flts.administration.promotions import main\n"
        "import flts.administration.promotions as command\n"
        "def open_store(url): raise RuntimeError(f\"{url} {os.environ['FLTS_S3_SESSION_TOKEN']}\")\n"
        "command.open_store = open_store\n"
        f"main(['list', '--store', 's3://me:{URL_PASSWORD}@{NOBODY}'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | environ, capture_output=True, text=True, check=False
    )
    assert (done.returncode, "Traceback" in done.stderr) == (1, True)
    assert done.stderr.endswith(f"flts-promotions: RuntimeError: s3://***@{NOBODY} ***\n")
    assert_clean(done.stdout, done.stderr)


def test_the_commands_of_an_operator(environ: dict[str, str], tmp_path: Path) -> None:
    store = f"http://me:{URL_PASSWORD_ENCODED}@{NOBODY}"
    for command in (
        ("flts-promotions", "list", "--store", store),
        ("flts-promotions", "list", "--store", "s3://"),
        ("flts-prepare-store", "--store", store),
        ("flts-prepare-store", "--store", "s3://", "--datasets", "wJalrXUtnFEMI/K7MDENG+aws"),
        ("flts-gateway", "--store", store),
        ("flts-gateway", "--store", "s3://", "--port", "file-held-secret"),
        ("flts-inference", "--serve", "--gateway-url", store),
        (str(BIN / "python"), "-m", "flts.tracking", MLFLOW, "api-key-of-somebody"),
    ):
        ended = run(tmp_path, *command, environ=environ | {"FLTS_S3_ENDPOINT_URL": store})
        assert ended.code in (2, 3), (command, ended.stderr)
        assert ended.stderr
        assert_clean(ended.stdout, ended.stderr, Path(environ["FLTS_TERMINATION_LOG"]).read_text())
