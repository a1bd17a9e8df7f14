"""Kafka's errors, in sentences for the person who can fix them."""

import re
import socket
import ssl
import time
from contextlib import suppress

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from flts.errors import BadInputError, FltsError, RefusedError, ServiceUnavailableError
from flts.workers.settings import KafkaSettings

Client = AdminClient | Consumer | Producer

NOT_AUTHORIZED = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
}
UNKNOWN_TOPIC = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC}
TOO_LARGE = {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG_SIZE, KafkaError.RECORD_LIST_TOO_LARGE}
_CREDENTIALS = {KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED}
_AWAY = {KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._RESOLVE, KafkaError._TIMED_OUT}
_BROKER = re.compile(r"(?:\w+://)?([^\s/]+:\d+)/")
_SECONDS_BETWEEN_PROBES = 10.0
# OpenSSL's codes for a valid certificate of another host.
_OTHER_NAME = {62, 64}
_FILES = {
    "ssl.ca.location": "KAFKA_SSL_CA_LOCATION holds no certificate",
    "ssl.certificate.location": "KAFKA_SSL_CERTIFICATE_LOCATION holds no certificate",
    "ssl.key.location": "KAFKA_SSL_KEY_LOCATION holds no key that KAFKA_SSL_KEY_PASSWORD opens",
}


class TooLargeError(BadInputError):
    """A message that is too large for the client or the broker."""


class ConnectionErrors:
    """Collects the errors of a client's connections; the client gets it as ``error_cb``."""

    def __init__(self, settings: KafkaSettings) -> None:
        """Prepare for a client with these settings."""
        self._settings = settings
        self._where = settings.where
        self._unreachable: set[str] = set()
        self._next_probe = 0.0
        self._sentence = ""
        self.refused = ""
        self.fatal: KafkaError | None = None
        self.away = False

    def __call__(self, error: KafkaError) -> None:
        """Record an error that the client reports."""
        if error.fatal():
            self.fatal = error
        if error.code() in _CREDENTIALS:
            self.refused = f"{self._where} refused the credentials"
        elif error.code() == KafkaError._SSL:
            self.refused = f"{self._where} cannot be trusted: {self._certificate_problem(error)}"
        elif error.code() in _AWAY:
            self._unreachable.add(_broker(error))

    def problem(self, client: Client) -> str:
        """Return a sentence about the current problem, empty if there is none; ``away``: no broker answers."""
        if self.refused:
            refused, self.refused = self.refused, ""
            return refused
        if (self._unreachable or self.away) and time.monotonic() >= self._next_probe:
            self._sentence = self._probe(client)
            self._next_probe = time.monotonic() + _SECONDS_BETWEEN_PROBES
        elif not self._unreachable:
            self._sentence = ""
        return self._sentence

    def _probe(self, client: Client) -> str:
        """Find out whether some brokers do not answer, or none does."""
        try:
            client.list_topics(timeout=1)
        except KafkaException:
            self.away = True
            return f"{self._where} cannot be reached"
        names = [] if self.away else sorted(self._unreachable - {""})
        self.away, self._unreachable = False, set()
        return f"{' and '.join(names)} of {self._where} cannot be reached, others can" if names else ""

    def error(self) -> BadInputError | ServiceUnavailableError:
        """Return the error for a request that got no answer."""
        if self.refused:
            return RefusedError(self.refused)
        return ServiceUnavailableError(f"{self._where} cannot be reached")

    def _certificate_problem(self, error: KafkaError) -> str:
        """Return why a certificate is not trusted; the library does not tell the reasons apart."""
        host, _, port = _broker(error).rpartition(":")
        context = ssl.create_default_context(cafile=self._settings.kafka_ssl_ca_location or None)
        with suppress(OSError):
            try:
                with socket.create_connection((host, int(port)), timeout=2) as plain:
                    context.wrap_socket(plain, server_hostname=host.strip("[]")).close()
            except ssl.SSLCertVerificationError as problem:
                if problem.verify_code in _OTHER_NAME:
                    return f"its certificate is not for the name {host}, under which it was contacted"
                return f"{problem.verify_message}; KAFKA_SSL_CA_LOCATION names the authorities to trust"
        return plain_text(error)


def request_error(what: str, error: KafkaError, permission: object) -> FltsError:
    """Return the error for a refused request; ``what`` failed, and needs the ``permission``."""
    if error.code() in NOT_AUTHORIZED:
        return RefusedError(f"{what}: the permission to {permission} is missing")
    if error.retriable() or error.code() in _AWAY:
        return ServiceUnavailableError(f"{what}: {plain_text(error)}")
    return BadInputError(f"{what}: {plain_text(error)}")


def wrong_settings(error: KafkaError) -> BadInputError:
    """Return the error for settings that the library refuses."""
    text = plain_text(error)
    for option, sentence in _FILES.items():
        if f"{option} failed" in text:
            return BadInputError(f"environment variable {sentence}: {text.rpartition('::')[2] or text}")
    return BadInputError(f"the settings for Kafka are wrong: {text}")


def plain_text(error: KafkaError) -> str:
    """Return the text of an error, without addresses and the library's prefixes."""
    text = " ".join(error.str().split()).rstrip(".")
    return text.rsplit(": ", 1)[-1] if error.code() == KafkaError._SSL else text


def _broker(error: KafkaError) -> str:
    """Return the address of the broker that an error is about, empty if it names none."""
    found = _BROKER.search(error.str())
    return found[1] if found else ""
