"""What libraries say of a service that is out of reach, in plain words."""

import pytest

from flts.diagnostics.services import outage_reason


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("HTTPConnectionPool(host='127.0.0.1', port=9): Max retries exceeded with url: /api (Caused by "
         "NewConnectionError('<urllib3.connection object>: [Errno 111] Connection refused'))", "nothing listens there"),
        ("EndpointConnectionError Could not connect: getaddrinfo failed", "its name is not known here"),
        ("ReadTimeoutError Read timed out. (read timeout=30)", "it does not answer in time"),
        ("ConnectTimeoutError Connect timeout on endpoint URL", "it does not answer in time"),
        ("API request to endpoint /x failed with error code 503 != 200", "it answers with HTTP status 503"),
        ("502 Server Error: Bad Gateway for url: http://x", "it answers with HTTP status 502"),
        ("('Connection aborted.', ConnectionResetError(104, 'Connection reset by peer'))", "its answers break off"),
        ("SSLError [SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate", "its certificate is not trusted"),
        ("SSLError hostname 'localhost' doesn't match '127.0.0.1'", "its certificate is for another name"),
        ("CERTIFICATE_VERIFY_FAILED: certificate has expired", "its certificate has expired"),
        ("SSLError [SSL: WRONG_VERSION_NUMBER] wrong version number",
         "it does not speak TLS there: http:// is meant, not https://"),
        ("something else", "it does not answer as it should"),
    ],
)  # fmt: skip
def test_a_reason_is_a_plain_sentence(text: str, words: str):
    assert outage_reason(text) == words
