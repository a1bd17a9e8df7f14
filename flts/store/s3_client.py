"""boto3's S3 client with one layer of retries."""

import os
from collections.abc import Callable
from functools import cache, cached_property
from threading import Lock
from typing import Any, TypeVar
from urllib.parse import urlsplit

from flts.boundary.retries import RetryPolicy
from flts.errors import BadInputError, RefusedError
from flts.store.s3_errors import (
    SpeaksTlsError,
    TruncatedError,
    is_that_of_a_tls_server,
    passing,
    refused,
    speaks_tls,
    unreachable,
    wrong_setting,
)
from flts.store.s3_settings import CA_BUNDLE, check_ca_bundle, in_force, read_settings

T = TypeVar("T")

_CONNECT_SECONDS = 5.0


class S3Client:
    """Calls S3, again where that can help; safe to use from several threads.

    Endpoint, region, keys and the like come from ``s3_settings``. Connecting waits for the first call.
    """

    def __init__(self, retry_policy: RetryPolicy) -> None:
        """Read the settings.

        Raises:
            BadInputError: One of them is wrong.
        """
        self._settings = read_settings()
        self._retry_policy = retry_policy
        self._opening = Lock()
        self.answered = False  # whether any request was: the service knows the keys then

    def call(self, doing: str, ask: Callable[[Any], T]) -> T:
        """Return ``ask(client)``, asking several times while the service fails.

        Args:
            doing: What this is, for errors: ``read bucket/key``.
            ask: Uses boto3's client, and reads whatever it needs of the answer; may be called several times.

        Raises:
            ObjectNotFoundError: 404.
            PreconditionFailedError: 412, or 409 to the last.
            RefusedError: The service refuses the credentials, or the settings are wrong.
            BadInputError: The service refuses what is asked for.
            ServiceUnavailableError: All attempts failed.
        """
        client = self._client
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError
        from urllib3.exceptions import HTTPError

        def ask_once() -> T:
            try:
                return ask(client)
            except (ClientError, BotoCoreError, HTTPError) as error:
                if not self.answered and self._should_be_tls(error):
                    raise SpeaksTlsError from error
                raise

        def away(error: Exception) -> str:
            reason = passing(error)
            return f"{self._name} cannot be reached: {reason}" if reason else ""

        try:
            answer = self._retry_policy.call(ask_once, away)
        except ClientError as error:
            raise refused(error, doing, self._name) from None
        except (BotoCoreError, ResponseParserError, HTTPError, SpeaksTlsError, TruncatedError) as error:
            raise unreachable(error, doing, self._name) from None
        self.answered = True
        return answer

    @property
    def region(self) -> str:
        """The region that buckets are made in."""
        return str(self._client.meta.region_name)

    @property
    def checksums(self) -> bool:
        """Whether uploads carry checksums, as ``AWS_REQUEST_CHECKSUM_CALCULATION`` says (they do by default)."""
        return bool(self._client.meta.config.request_checksum_calculation == "when_supported")

    @property
    def encryption(self) -> dict[str, str]:
        """What every request that begins an object carries."""
        return self._settings.encryption

    @property
    def _client(self) -> Any:
        with self._opening:
            return self._opened

    @cached_property
    def _opened(self) -> Any:
        try:
            import boto3
            import botocore.session
            import stamina  # noqa: F401 - so that what is missing is said once, here
            from botocore.config import Config
            from botocore.exceptions import BotoCoreError
        except ModuleNotFoundError as error:
            raise BadInputError(
                f"gateway_url s3:// needs the package {error.name}, which is not installed: install flts[s3]"
            ) from None
        timeout = self._settings.timeout
        config = Config(
            connect_timeout=min(_CONNECT_SECONDS, timeout),
            read_timeout=timeout,
            retries={"total_max_attempts": 1, "mode": "standard"},
            tcp_keepalive=True,
            max_pool_connections=64,
        )
        try:
            session = botocore.session.Session()
            session.register_component("data_loader", _loader())
            client = boto3.session.Session(botocore_session=session).client(
                "s3", config=config, **self._settings.client_arguments
            )
            bundle = session.get_config_variable("ca_bundle")
        except (BotoCoreError, ValueError) as error:
            raise RefusedError(f"the settings for S3 are wrong: {wrong_setting(error)}") from None
        if client.meta.endpoint_url.startswith("https:"):
            self._check_certificates(bundle)
        return client

    def _check_certificates(self, of_aws: str | None) -> None:
        """Look at the file of certificates that counts, as botocore would take a missing one for an outage."""
        if variable := in_force(CA_BUNDLE, "AWS_CA_BUNDLE"):
            check_ca_bundle(os.environ[variable], variable)
        elif of_aws:
            check_ca_bundle(of_aws, "ca_bundle of the AWS files")
        elif variable := in_force("REQUESTS_CA_BUNDLE"):
            check_ca_bundle(os.environ[variable], variable)

    def _should_be_tls(self, error: Exception) -> bool:
        address = urlsplit(self._client.meta.endpoint_url)
        plain = address.scheme == "http" and is_that_of_a_tls_server(error)
        return plain and speaks_tls(address.hostname or "", address.port or 80)

    @property
    def _name(self) -> str:
        address = urlsplit(self._client.meta.endpoint_url)
        return f"S3 at {address.scheme}://{address.netloc.rpartition('@')[2]}"


@cache
def _loader() -> Any:
    """Botocore's own data, which take most of a client's making, read once for all clients."""
    from botocore.loaders import create_loader

    return create_loader()
