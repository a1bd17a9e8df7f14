"""Why a service is out of reach, in plain words: what libraries say of it names their own classes and addresses."""

import re

# The first that fits counts.
_REASONS = (
    (r"CERTIFICATE_VERIFY_FAILED", "its certificate is not trusted"),
    (r"WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE|record layer failure", "it speaks no TLS: http://, not https://"),
    (r"Connection ?refused|Errno 111", "nothing listens there"),
    (r"Name or service not known|NameResolution|Failed to resolve|getaddrinfo", "its name is not known here"),
    (r"No route to host|Network is unreachable|Errno 1(01|13)", "there is no network to it"),
    (
        r"(?:error code|status code|status|code:|HTTP/\d\.\d|too many) (?P<status>[45]\d\d)",
        "it answers with HTTP status {}",
    ),
    (r"\b(?P<status>[45]\d\d) (?:Server|Client) Error", "it answers with HTTP status {}"),
    (r"[Tt]ime(d )?out", "it does not answer in time"),
    (
        r"Connection (was )?(reset|aborted|broken|closed)|IncompleteRead|ended prematurely|Errno 104",
        "its answers break off",
    ),
)


def why(text: str) -> str:
    """Return the reason that a library's error text gives, as the end of a sentence about the service."""
    for pattern, words in _REASONS:
        if found := re.search(pattern, text):
            return words.format(found.groupdict().get("status"))
    return "it does not answer as it should"
