"""Kafka by TLS: who is trusted, whose credentials are refused, and that no secret is told.

The test broker keeps no users, so that no credentials are right.
"""

import datetime
import ipaddress
import os
import socket
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from scripts.services import HOST
from tests.support import kafka

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("kafka_workers"), pytest.mark.timeout(120)]


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """Make a certificate for this machine that vouches for itself; returns it and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / f"{name}.pem", folder / f"{name}.key"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


@dataclass
class Secured:
    """Two brokers behind TLS: one lets everybody in, one asks for credentials; and the certificate to trust."""

    open_servers: str
    guarded_servers: str
    certificate: Path
    other_certificate: Path


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("secured")
    paths, other = certificate(folder, "broker"), certificate(folder, "other")[0]
    brokers = kafka.Broker(folder), kafka.Broker(folder)
    with tls_in_front(brokers[0].servers, *paths) as first, tls_in_front(brokers[1].servers, *paths) as second:
        brokers[0].start(advertised=first)
        brokers[1].start("--authentication", advertised=second)
        yield Secured(first, second, paths[0], other)
        for broker in brokers:
            broker.kill()


@contextmanager
def tls_in_front(address: str, certificate_file: Path, key_file: Path) -> Iterator[str]:
    """Answer TLS on a port of its own, and pass what comes in it to an address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate_file, key_file)
    host, _, port = address.partition(":")

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with (
                suppress(OSError),
                socket.create_connection((host, int(port))) as inside,
                context.wrap_socket(self.request, server_side=True) as outside,
            ):
                back = threading.Thread(target=_pass_on, args=(inside, outside), daemon=True)
                back.start()
                _pass_on(outside, inside)
                back.join()

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """Nothing: who does not trust the certificate ends the connection."""

    with Server((HOST, 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"{HOST}:{server.server_address[1]}"
        server.shutdown()


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for each in (source, sink):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


def run(command: str, tmp_path: Path, secured: Secured, **changes: str) -> "subprocess.CompletedProcess[str]":
    """Run a command against the broker that lets everybody in, with right settings but for the changes."""
    environ = {
        "PATH": os.environ["PATH"],
        "USE_KFP": "0",
        "GATEWAY_URL": f"file://{tmp_path}/store",
        "KAFKA_BOOTSTRAP_SERVERS": secured.open_servers,
        "KAFKA_SECURITY_PROTOCOL": "SSL",
        "KAFKA_SSL_CA_LOCATION": str(secured.certificate),
    }
    return kafka.Place(tmp_path, "", environ | changes, "").run(command)


def test_a_broker_whose_certificate_is_known_is_trusted(secured: Secured, tmp_path: Path) -> None:
    ended = run("flts-topics", tmp_path, secured)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "training-data: made" in ended.stdout


@pytest.mark.parametrize("command", ["flts-topics", "flts-eval"])
def test_a_broker_whom_nobody_vouches_for_is_not_trusted(secured: Secured, tmp_path: Path, command: str) -> None:
    ended = run(command, tmp_path, secured, KAFKA_SSL_CA_LOCATION=str(secured.other_certificate))
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"{command}: Kafka at {secured.open_servers} cannot be trusted: ")
    assert ended.stderr.endswith("KAFKA_SSL_CA_LOCATION names the certificates of who vouches for it\n")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["flts-topics", "flts-eval"])
@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512"])
@pytest.mark.parametrize("where", ["file", "variable"])
def test_refused_credentials_are_one_sentence_without_them(
    secured: Secured, tmp_path: Path, command: str, mechanism: str, where: str
) -> None:
    (tmp_path / "password").write_text("not-the-password\n")
    password = (
        {"KAFKA_SASL_PASSWORD_FILE": str(tmp_path / "password")}
        if where == "file"
        else {"KAFKA_SASL_PASSWORD": "not-the-password"}
    )
    ended = run(
        command,
        tmp_path,
        secured,
        KAFKA_BOOTSTRAP_SERVERS=secured.guarded_servers,
        KAFKA_SECURITY_PROTOCOL="SASL_SSL",
        KAFKA_SASL_MECHANISM=mechanism,
        KAFKA_SASL_USERNAME="flts",
        **password,
    )
    assert ended.returncode == 2
    assert ended.stderr == (
        f"{command}: Kafka at {secured.guarded_servers} refused the credentials, or what they may do\n"
    )
    assert "not-the-password" not in ended.stdout + ended.stderr


def test_credentials_cannot_be_left_out(secured: Secured, tmp_path: Path) -> None:
    ended = run("flts-topics", tmp_path, secured, KAFKA_SECURITY_PROTOCOL="SASL_SSL")
    assert (ended.returncode, ended.stderr) == (
        2,
        "flts-topics: environment variable KAFKA_SASL_USERNAME is required for SASL_SSL\n",
    )
