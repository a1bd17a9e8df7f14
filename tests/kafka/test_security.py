"""Kafka by TLS: who is trusted, whose credentials are taken or refused, and that no secret is told.

The packaged broker has no TLS, and keeps no users, so that no credentials are right: there TLS is put in front of it.
Right ones are for Apache Kafka.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from tests.support import brokers, kafka, tls
from tests.support.acls import add_user

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("kafka_workers"),
    pytest.mark.timeout(900),
    pytest.mark.own_broker("its listeners are made for the tests"),
]
USER, PASSWORD = "flts", "the-right-password"
MECHANISMS = ("SCRAM-SHA-256", "SCRAM-SHA-512")


@dataclass
class Secured:
    """A broker behind TLS, and the certificate to trust.

    Attributes:
        servers: Where it asks for credentials.
        entry: The variables that let a command in, where it need not show credentials of any kind.
        plain_servers: Where it asks for nothing, if it is Apache Kafka.
    """

    servers: str
    entry: dict[str, str]
    certificate: Path
    other_certificate: Path
    plain_servers: str = ""


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("secured")
    (certificate, key), other = tls.certificate(folder, "broker"), tls.certificate(folder, "other")[0]
    with apache(folder, certificate, key) if brokers.COMMAND else packaged(folder, certificate, key) as names:
        guarded, entry, plain = names
        yield Secured(guarded, entry | {"KAFKA_SSL_CA_LOCATION": str(certificate)}, certificate, other, plain)


@contextmanager
def packaged(folder: Path, *pair: Path) -> Iterator[tuple[str, dict[str, str], str]]:
    """Run two packaged brokers behind TLS: one asks for credentials, one lets everybody in."""
    with ExitStack() as stack:
        guarded, free = brokers.Tansu(folder), brokers.Tansu(folder)
        addresses = [stack.enter_context(tls.in_front_of(each.servers, *pair)) for each in (guarded, free)]
        for broker in (guarded, free):
            stack.callback(broker.kill)
        guarded.start("--authentication", advertised=addresses[0])
        free.start(advertised=addresses[1])
        yield addresses[0], {"KAFKA_BOOTSTRAP_SERVERS": addresses[1], "KAFKA_SECURITY_PROTOCOL": "SSL"}, ""


@contextmanager
def apache(folder: Path, certificate: Path, key: Path) -> Iterator[tuple[str, dict[str, str], str]]:
    """Run an Apache Kafka whose listener for users speaks TLS; it knows one user by both mechanisms."""
    store = folder / "keystore.pem"
    store.write_bytes(key.read_bytes() + certificate.read_bytes())
    settings = (
        "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_SSL,CONTROLLER:PLAINTEXT",
        "ssl.keystore.type=PEM",
        f"ssl.keystore.location={store}",
        "sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512",
        "listener.name.sasl_plaintext.scram-sha-256.sasl.jaas.config="
        r"org.apache.kafka.common.security.scram.ScramLoginModule\u0020required;",
    )
    with brokers.started(folder / "apache", user=f"{USER}:{PASSWORD}", settings=settings) as broker:
        add_user(brokers.await_answer(broker.servers), USER, PASSWORD, "SCRAM-SHA-256")
        entry = {"KAFKA_BOOTSTRAP_SERVERS": broker.guarded_servers} | credentials("SCRAM-SHA-512")
        yield broker.guarded_servers, entry, broker.servers


def credentials(mechanism: str, password: str = PASSWORD) -> dict[str, str]:
    """The variables of a user who shows a password."""
    return {
        "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "KAFKA_SASL_MECHANISM": mechanism,
        "KAFKA_SASL_USERNAME": USER,
        "KAFKA_SASL_PASSWORD": password,
    }


def at(secured: Secured, tmp_path: Path, **changes: str) -> kafka.Place:
    """A place whose commands are let in, but for the changes."""
    common = {"PATH": os.environ["PATH"], "USE_KFP": "0", "GATEWAY_URL": f"file://{tmp_path}/store"}
    return kafka.Place(tmp_path, "", common | secured.entry | changes, "")


def run(command: str, tmp_path: Path, secured: Secured, **changes: str) -> "subprocess.CompletedProcess[str]":
    """Run a command that is let in, but for the changes."""
    return at(secured, tmp_path, **changes).run(command)


def test_a_broker_whose_certificate_is_known_is_trusted(secured: Secured, tmp_path: Path) -> None:
    ended = run("flts-topics", tmp_path, secured, FLTS_TOPIC_PREFIX="trusted-")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "training-data: made" in ended.stdout


@pytest.mark.parametrize("command", ["flts-topics", "flts-eval"])
def test_a_broker_whom_nobody_vouches_for_is_not_trusted(secured: Secured, tmp_path: Path, command: str) -> None:
    ended = run(command, tmp_path, secured, KAFKA_SSL_CA_LOCATION=str(secured.other_certificate))
    assert ended.returncode == 2
    where = secured.entry["KAFKA_BOOTSTRAP_SERVERS"]
    assert ended.stderr.startswith(f"{command}: Kafka at {where} cannot be trusted: ")
    assert ended.stderr.endswith("KAFKA_SSL_CA_LOCATION names the authorities to trust\n")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["flts-topics", "flts-eval"])
def test_a_certificate_of_another_host_is_told_as_that(secured: Secured, tmp_path: Path, command: str) -> None:
    pair = tls.certificate(tmp_path, "elsewhere", "127.0.0.2")
    with tls.in_front_of(secured.servers, *pair) as servers:
        changes = {"KAFKA_BOOTSTRAP_SERVERS": servers, "KAFKA_SSL_CA_LOCATION": str(pair[0])}
        ended = run(command, tmp_path, secured, **changes)
    assert ended.returncode == 2
    assert "its certificate is not for the name 127.0.0.1" in ended.stderr
    assert "KAFKA_SSL_CA_LOCATION" not in ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["flts-topics", "flts-status", "flts-preprocess", "flts-eval"])
@pytest.mark.parametrize("broken", ["CA", "KEY"])
def test_files_that_hold_no_certificate_or_another_key_are_one_sentence(
    secured: Secured, tmp_path: Path, command: str, broken: str
) -> None:
    certificate, key = tls.certificate(tmp_path, "client", password="the-right-one")  # noqa: S106
    (tmp_path / "garbage.pem").write_text("no certificate at all\n")
    changes = {
        "CA": {"KAFKA_SSL_CA_LOCATION": str(tmp_path / "garbage.pem")},
        "KEY": {
            "KAFKA_SSL_CERTIFICATE_LOCATION": str(certificate),
            "KAFKA_SSL_KEY_LOCATION": str(key),
            "KAFKA_SSL_KEY_PASSWORD": "not-the-right-one",
        },
    }[broken]
    request = {"DATASET_NAME": "any", "IDENTIFIER": "any"} if command == "flts-preprocess" else {}
    ended = run(command, tmp_path, secured, **changes, **request)
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"{command}: environment variable KAFKA_SSL_{broken}_LOCATION holds no ")
    assert ended.stderr.count("\n") == 1
    assert "not-the-right-one" not in ended.stderr


@pytest.mark.parametrize("command", ["flts-topics", "flts-eval"])
@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("where", ["file", "variable"])
def test_refused_credentials_are_one_sentence_without_them(
    secured: Secured, tmp_path: Path, command: str, mechanism: str, where: str
) -> None:
    shown = credentials(mechanism, "not-the-password")
    if where == "file":
        (tmp_path / "password").write_text(shown.pop("KAFKA_SASL_PASSWORD") + "\n")
        shown |= {"KAFKA_SASL_PASSWORD_FILE": str(tmp_path / "password"), "KAFKA_SASL_PASSWORD": ""}
    ended = run(command, tmp_path, secured, KAFKA_BOOTSTRAP_SERVERS=secured.servers, **shown)
    assert ended.returncode == 2
    assert ended.stderr == f"{command}: Kafka at {secured.servers} refused the credentials\n"
    assert "not-the-password" not in ended.stdout + ended.stderr


def test_credentials_cannot_be_left_out(secured: Secured, tmp_path: Path) -> None:
    ended = run("flts-topics", tmp_path, secured, KAFKA_SECURITY_PROTOCOL="SASL_SSL", KAFKA_SASL_USERNAME="")
    assert (ended.returncode, ended.stderr) == (
        2,
        "flts-topics: environment variable KAFKA_SASL_USERNAME is required for SASL_SSL\n",
    )


@pytest.mark.apache_kafka("the packaged broker keeps no users")
@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("where", ["file", "variable"])
def test_right_credentials_let_a_worker_work(secured: Secured, tmp_path: Path, mechanism: str, where: str) -> None:
    shown = credentials(mechanism)
    if where == "file":
        (tmp_path / "password").write_text(shown.pop("KAFKA_SASL_PASSWORD") + "\n")
        shown |= {"KAFKA_SASL_PASSWORD_FILE": str(tmp_path / "password"), "KAFKA_SASL_PASSWORD": ""}
    prefix = f"right-{mechanism}-{where}-".lower()
    place = at(secured, tmp_path, FLTS_TOPIC_PREFIX=prefix, KAFKA_SESSION_TIMEOUT_MS=kafka.SESSION_TIMEOUT_MS, **shown)
    place.servers, place.prefix = secured.plain_servers, prefix
    assert place.run("flts-topics").returncode == 0
    worker = place.start("eval", MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path}/mlflow.db")
    place.send("model-training", json.dumps({"v": 3}).encode())

    place.until(lambda: place.messages("DLQ-model-training"))
    assert kafka.waiting(place) == 0

    assert worker.terminate() == 0
    assert PASSWORD not in worker.log.read_text()


@pytest.mark.parametrize("command", ["flts-topics", "flts-eval"])
def test_a_certificate_for_another_name_is_told_as_that(secured: Secured, tmp_path: Path, command: str) -> None:
    address = f"localhost:{secured.entry['KAFKA_BOOTSTRAP_SERVERS'].rpartition(':')[2]}"
    ended = run(command, tmp_path, secured, KAFKA_BOOTSTRAP_SERVERS=address)
    assert ended.returncode == 2
    assert ended.stderr == (
        f"{command}: Kafka at {address} cannot be trusted: its certificate is not for the name "
        "localhost, under which it was contacted\n"
    )


@pytest.mark.parametrize("command", ["flts-topics", "flts-preprocess", "flts-eval"])
@pytest.mark.parametrize("wrong", ["authority", "password"])
def test_files_of_keys_that_are_wrong_are_one_sentence(
    secured: Secured, tmp_path: Path, command: str, wrong: str
) -> None:
    certificate, key_file = tls.certificate(tmp_path, "client")
    garbage = tmp_path / "garbage"
    garbage.write_text("garbage")
    key = serialization.load_pem_private_key(key_file.read_bytes(), None)
    locked = serialization.BestAvailableEncryption(b"right")
    key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked))
    changes, said = {
        "authority": ({"KAFKA_SSL_CA_LOCATION": str(garbage)}, "KAFKA_SSL_CA_LOCATION holds no certificate"),
        "password": (
            {
                "KAFKA_SSL_CERTIFICATE_LOCATION": str(certificate),
                "KAFKA_SSL_KEY_LOCATION": str(key_file),
                "KAFKA_SSL_KEY_PASSWORD": "not-the-password",
            },
            "KAFKA_SSL_KEY_LOCATION holds no key that KAFKA_SSL_KEY_PASSWORD opens",
        ),
    }[wrong]
    ended = run(command, tmp_path, secured, **changes, DATASET_NAME="x", IDENTIFIER="x")
    assert ended.returncode == 2
    last = ended.stderr.splitlines()[-1]
    assert f"environment variable {said}" in last
    assert "Traceback" not in ended.stderr
    assert "not-the-password" not in ended.stderr
