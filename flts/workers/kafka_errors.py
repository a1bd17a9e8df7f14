"""What Kafka's errors mean, in words for the person who can mend them."""

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

NO_RIGHT = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
}
NO_TOPIC = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC}
TOO_LARGE = {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG_SIZE, KafkaError.RECORD_LIST_TOO_LARGE}
_CREDENTIALS = {KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED}
_AWAY = {KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._RESOLVE, KafkaError._TIMED_OUT}
_BROKER = re.compile(r"(?:\w+://)?([^\s/]+:\d+)/")
_SECONDS_BETWEEN_LOOKS = 10.0
# Of OpenSSL: the certificate is a good one, of another host.
_OTHER_NAME = {62, 64}
_FILES = {
    "ssl.ca.location": "KAFKA_SSL_CA_LOCATION holds no certificate",
    "ssl.certificate.location": "KAFKA_SSL_CERTIFICATE_LOCATION holds no certificate",
    "ssl.key.location": "KAFKA_SSL_KEY_LOCATION holds no key that KAFKA_SSL_KEY_PASSWORD opens",
}


class TooLargeError(BadInputError):
    """A message that the client or the broker does not take for its size."""


class ConnectionErrors:
    """Remembers what a client said went wrong with its connections; given to it as ``error_cb``."""

    def __init__(self, settings: KafkaSettings) -> None:
        """Watch a client of these settings."""
        self._settings = settings
        self._where = settings.where
        self._silent: set[str] = set()
        self._next_look = 0.0
        self._said = ""
        self.refused = ""
        self.fatal: KafkaError | None = None
        self.away = False

    def __call__(self, error: KafkaError) -> None:
        """Take an error that a client reports."""
        if error.fatal():
            self.fatal = error
        if error.code() in _CREDENTIALS:
            self.refused = f"{self._where} refused the credentials"
        elif error.code() == KafkaError._SSL:
            self.refused = f"{self._where} cannot be trusted: {self._distrust(error)}"
        elif error.code() in _AWAY:
            self._silent.add(_broker(error))

    def trouble(self, client: Client) -> str:
        """Return a sentence about what goes wrong, nothing where all is well; ``away`` tells that no broker answers."""
        if self.refused:
            refused, self.refused = self.refused, ""
            return refused
        if (self._silent or self.away) and time.monotonic() >= self._next_look:
            self._said = self._look(client)
            self._next_look = time.monotonic() + _SECONDS_BETWEEN_LOOKS
        elif not self._silent:
            self._said = ""
        return self._said

    def _look(self, client: Client) -> str:
        """Ask whether one broker alone does not answer, or none does."""
        try:
            client.list_topics(timeout=1)
        except KafkaException:
            self.away = True
            return f"{self._where} cannot be reached"
        names = [] if self.away else sorted(self._silent - {""})
        self.away, self._silent = False, set()
        return f"{' and '.join(names)} of {self._where} cannot be reached, others can" if names else ""

    def unreachable(self) -> BadInputError | ServiceUnavailableError:
        """Return the error for a command that got no answer."""
        if self.refused:
            return RefusedError(self.refused)
        return ServiceUnavailableError(f"{self._where} cannot be reached")

    def _distrust(self, error: KafkaError) -> str:
        """Return why a certificate is not trusted; the library says the same of every reason."""
        host, _, port = _broker(error).rpartition(":")
        context = ssl.create_default_context(cafile=self._settings.kafka_ssl_ca_location or None)
        with suppress(OSError):
            try:
                with socket.create_connection((host, int(port)), timeout=2) as plain:
                    context.wrap_socket(plain, server_hostname=host.strip("[]")).close()
            except ssl.SSLCertVerificationError as problem:
                if problem.verify_code in _OTHER_NAME:
                    return f"its certificate is for another name than {host}, by which it is asked"
                return f"{problem.verify_message}; KAFKA_SSL_CA_LOCATION names the certificates of who vouches for it"
        return plain_text(error)


def refusal(what: str, error: KafkaError, right: object) -> FltsError:
    """Return the error for a request that the broker refused: ``what`` failed, for which it takes the ``right``."""
    if error.code() in NO_RIGHT:
        return RefusedError(f"{what}: the right is missing to {right}")
    if error.retriable() or error.code() in _AWAY:
        return ServiceUnavailableError(f"{what}: {plain_text(error)}")
    return BadInputError(f"{what}: {plain_text(error)}")


def wrong_settings(error: KafkaError) -> BadInputError:
    """Return the error for settings that the library does not take."""
    text = plain_text(error)
    for option, sentence in _FILES.items():
        if f"{option} failed" in text:
            return BadInputError(f"environment variable {sentence}: {text.rpartition('::')[2] or text}")
    return BadInputError(f"the settings for Kafka are wrong: {text}")


def plain_text(error: KafkaError) -> str:
    """Return what an error says, without addresses and the library's own words before it."""
    text = " ".join(error.str().split()).rstrip(".")
    return text.rsplit(": ", 1)[-1] if error.code() == KafkaError._SSL else text


def _broker(error: KafkaError) -> str:
    """Return the address of the broker that an error is about, nothing where it says none."""
    found = _BROKER.search(error.str())
    return found[1] if found else ""
