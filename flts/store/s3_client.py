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
    connection_error,
    may_come_from_tls_server,
    response_error,
    setting_problem,
    speaks_tls,
    transient_reason,
)
from flts.store.s3_settings import CA_BUNDLE, check_ca_bundle, first_set, read_settings

T = TypeVar("T")

_CONNECT_SECONDS = 5.0


class S3Client:
    """Client of S3 that repeats requests where that can help; threads may share it.

    Endpoint, region, keys and so on come from ``s3_settings``. The first call connects.
    """

    def __init__(self, retry_policy: RetryPolicy) -> None:
        """Read the settings.

        Raises:
            BadInputError: A setting is wrong.
        """
        self._settings = read_settings()
        self._retry_policy = retry_policy
        self._opening = Lock()
        self.credentials_accepted = False  # after any request that succeeded

    def call(self, action: str, request: Callable[[Any], T]) -> T:
        """Return ``request(client)``, repeated while the service fails.

        Args:
            action: Description for errors, such as ``read bucket/key``.
            request: Uses boto3's client and reads all it needs from the response; may be called several times.

        Raises:
            ObjectNotFoundError: 404.
            PreconditionFailedError: 412, or 409 at every attempt.
            RefusedError: The service refuses the credentials, or the settings are wrong.
            BadInputError: The service refuses the request.
            ServiceUnavailableError: All attempts failed.
        """
        client = self._client
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError
        from urllib3.exceptions import HTTPError

        def attempt() -> T:
            try:
                return request(client)
            except (ClientError, BotoCoreError, HTTPError) as error:
                if not self.credentials_accepted and self._should_be_tls(error):
                    raise SpeaksTlsError from error
                raise

        def outage(error: Exception) -> str:
            reason = transient_reason(error)
            return f"{self._name} cannot be reached: {reason}" if reason else ""

        try:
            response = self._retry_policy.call(attempt, outage)
        except ClientError as error:
            raise response_error(error, action, self._name) from None
        except (BotoCoreError, ResponseParserError, HTTPError, SpeaksTlsError, TruncatedError) as error:
            raise connection_error(error, action, self._name) from None
        self.credentials_accepted = True
        return response

    @property
    def region(self) -> str:
        """The region in which buckets are created."""
        return str(self._client.meta.region_name)

    @property
    def checksums(self) -> bool:
        """True when uploads carry checksums: by default, unless ``AWS_REQUEST_CHECKSUM_CALCULATION`` forbids it."""
        return bool(self._client.meta.config.request_checksum_calculation == "when_supported")

    @property
    def encryption(self) -> dict[str, str]:
        """Encryption fields of every request that creates an object."""
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
            import stamina  # noqa: F401 - to report a missing package here
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
            raise RefusedError(f"the settings for S3 are wrong: {setting_problem(error)}") from None
        if client.meta.endpoint_url.startswith("https:"):
            self._check_certificates(bundle)
        return client

    def _check_certificates(self, aws_bundle: str | None) -> None:
        """Check the file of certificates that is used: botocore would report a missing one as an outage."""
        if variable := first_set(CA_BUNDLE, "AWS_CA_BUNDLE"):
            check_ca_bundle(os.environ[variable], variable)
        elif aws_bundle:
            check_ca_bundle(aws_bundle, "ca_bundle of the AWS files")
        elif variable := first_set("REQUESTS_CA_BUNDLE"):
            check_ca_bundle(os.environ[variable], variable)

    def _should_be_tls(self, error: Exception) -> bool:
        address = urlsplit(self._client.meta.endpoint_url)
        plain = address.scheme == "http" and may_come_from_tls_server(error)
        return plain and speaks_tls(address.hostname or "", address.port or 80)

    @property
    def _name(self) -> str:
        address = urlsplit(self._client.meta.endpoint_url)
        return f"S3 at {address.scheme}://{address.netloc.rpartition('@')[2]}"


@cache
def _loader() -> Any:
    """Loader of botocore's data, shared by all clients: reading them takes most of the time to create a client."""
    from botocore.loaders import create_loader

    return create_loader()
