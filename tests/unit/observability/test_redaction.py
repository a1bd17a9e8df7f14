"""Secrets are hidden in texts, in every form in which they appear, and nothing else is."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flts.observability import events
from flts.observability.redaction import redact, redact_values


@pytest.mark.parametrize(
    "name",
    [
        *("AWS_SECRET_ACCESS_KEY", "FLTS_S3_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN"),
        *("FLTS_GATEWAY_TOKEN", "KAFKA_SASL_PASSWORD", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_FLASK_SERVER_SECRET_KEY"),
        *("SOME_CREDENTIAL", "SSH_PASSPHRASE", "SIGNING_KEY", "DB_PWD", "KAFKA_SASL_JAAS_CONFIG", "SOME_APIKEY"),
    ],
)
def test_the_values_of_variables_with_such_names_are_hidden(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "of/the night+1")

    for form in ("of/the night+1", "of%2Fthe%20night%2B1", "of/the%20night%2B1", "of%2Fthe+night%2B1"):
        assert redact(f"asked with <{form}>") == "asked with <***>"


def test_a_variable_that_changes_or_goes_is_noticed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for secret in ("the-first-of-two", "the-other-of-two"):
        monkeypatch.setenv("FLTS_GATEWAY_TOKEN", secret)
        assert redact(secret) == "***"
    monkeypatch.delenv("FLTS_GATEWAY_TOKEN")
    assert redact("the-other-of-two") == "the-other-of-two"


@pytest.mark.parametrize(
    ("secret", "text", "redacted"),
    [
        ("hunter2", "refused hunter2, (hunter2)", "refused ***, (***)"),
        ("test", "test_rmse of test-2 is in the latest test", "test_rmse of ***-2 is in the latest ***"),
        ("abc", "an abc", "an abc"),  # stars in its place would tell it
        ('a "b" \\c', json.dumps('a "b" \\c'), '"***"'),
        ('a "b" \\c\'', repr('a "b" \\c\''), "'***'"),
        ("of the night\n", "of the night", "***"),
        ("two\nlines of it", "two lines of it", "***"),
    ],
)
def test_short_and_quoted_values(secret: str, text: str, redacted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_SASL_PASSWORD", secret)
    assert redact(text) == redacted


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AWS_ACCESS_KEY_ID", "flts"),
        ("TOKENIZERS_PARALLELISM", "sometimes"),
        ("KEYBOARD", "of a piano"),
        ("PWD", "/some/where"),
        ("KAFKA_SASL_PASSWORD_FILE", "/no/such/file"),
    ],
)
def test_other_values_stay(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    assert redact(f"{name} is {value}") == f"{name} is {value}"


@pytest.mark.parametrize("name", ["KAFKA_SASL_PASSWORD_FILE", "AWS_SHARED_CREDENTIALS_FILE", "KAFKA_SSL_KEY_LOCATION"])
def test_the_content_of_a_file_that_a_variable_names_is_hidden_and_its_path_is_not(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mounted"
    assigned = "[default]\nregion = eu-central-1\naws_secret_access_key = line-one-of-it\n"
    path.write_text(assigned if "CREDENTIALS" in name else "line-one-of-it\n")
    monkeypatch.setenv(name, str(path))

    assert redact(f"{path}: line-one-of-it in eu-central-1") == f"{path}: *** in eu-central-1"


def test_the_files_that_are_looked_for_at_home_count_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".mlflow").mkdir()
    (tmp_path / ".mlflow" / "credentials").write_text("[mlflow]\nmlflow_tracking_password = of-the-home\n")

    monkeypatch.setenv("SOMETHING", "new")  # a change of the environment
    assert redact("of-the-home") == "***"


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("http://me:hunter2@mlflow:5000 refused", "http://***@mlflow:5000 refused"),
        ("s3://a:b@c@d/e and s3://a:b/c@d/e", "s3://***@d/e and s3://***@d/e"),
        ("http://host:8000/download/b/a@b", "http://host:8000/download/b/a@b"),
        ("https://host/x?X-Amz-Signature=ab12&X-Amz-Expires=9", "https://host/x?X-Amz-Signature=***&X-Amz-Expires=9"),
        (
            'PlainLoginModule required username="a" password="b c";',
            'PlainLoginModule required username="a" password=***;',
        ),
        ("{'sasl.password': 'x y', 'port': 9}", "{'sasl.password': ***, 'port': 9}"),
        ("Authorization: Basic bWU6aHVudGVyMg==", "Authorization: Basic ***"),
        ("{'Authorization': b'Bearer abc'}", "{'Authorization': b'Bearer ***'}"),
        ("sent Bearer abc.DEF-123 there", "sent Bearer *** there"),
        ("-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----.", "***."),
        ("the key AKIAIOSFODNN7EXAMPLE is not known", "the key *** is not known"),
        ("FLTS_GATEWAY_TOKEN must be a token: printable ASCII", "FLTS_GATEWAY_TOKEN must be a token: printable ASCII"),
        ("flts-eval:kfp@sha256:abc, epochs=3, tokens_file=x", "flts-eval:kfp@sha256:abc, epochs=3, tokens_file=x"),
        ("token = read(path)", "token = read(path)"),  # a line of code in a traceback
        ("Bearer authentication is needed", "Bearer authentication is needed"),
    ],
)
def test_secrets_are_known_by_what_stands_around_them(text: str, redacted: str) -> None:
    assert redact(text) == redacted
    assert redact(redacted) == redacted


def test_the_password_of_an_address_is_hidden_by_itself_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:p%40ss%2Fw0rd@mlflow:5000")
    assert redact("login of me with p@ss/w0rd or p%40ss%2Fw0rd") == "login of me with *** or ***"


def test_json_values_keep_their_types_and_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLTS_GATEWAY_TOKEN", "squeamish-ossifrage")
    value = {"squeamish-ossifrage": ["squeamish-ossifrage", 1, 2.0, None, True], "a": {"b": "c"}}
    assert redact_values(value) == {"squeamish-ossifrage": ["***", 1, 2.0, None, True], "a": {"b": "c"}}


def test_a_line_of_the_log_stays_json_whatever_the_secret_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_SASL_PASSWORD", 'a":"\\b')
    line = events.format_event({"service": "x"}, "info", "y", 'with a":"\\b', {"n": 1, "t": 'password="z"', "token": 5})
    assert {**json.loads(line), "time": ""} == {
        **{"time": "", "level": "info", "service": "x", "event": "y"},
        **{"message": "with ***", "n": 1, "t": "password=***", "token": 5},
    }


SCRIPTS = {
    "a command": "from flts.observability.exit_codes import run_command\n"
    "def fail(): raise RuntimeError('with squeamish-ossifrage')\n"
    "raise SystemExit(run_command('x', fail))",
    "a thread": "import threading\n"
    "from flts.observability.exit_codes import redact_uncaught\n"
    "redact_uncaught()\n"
    "def fail(): raise RuntimeError('with squeamish-ossifrage')\n"
    "thread = threading.Thread(target=fail); thread.start(); thread.join()",
    "what nobody catches": "from flts.observability.exit_codes import redact_uncaught\n"
    "redact_uncaught()\n"
    "raise RuntimeError('with squeamish-ossifrage')",
    "a library's log": "import logging\n"
    "from flts.observability.exit_codes import redact_uncaught\n"
    "redact_uncaught('x')\n"
    "try: raise RuntimeError('with squeamish-ossifrage')\n"
    "except RuntimeError: logging.getLogger('asyncio').exception('Task exception was never retrieved')",
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_a_traceback_is_shown_without_secrets(script: str) -> None:
    environ = os.environ | {"FLTS_GATEWAY_TOKEN": "squeamish-ossifrage"}
    done = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True, check=False)
    assert "RuntimeError: with ***" in done.stderr
    assert "Traceback" in done.stderr
    assert "ossifrage" not in done.stderr
