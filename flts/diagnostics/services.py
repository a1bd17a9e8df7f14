"""Outages of services in plain words: the error texts of libraries name their own classes and addresses."""

import re

BROKEN_OFF = "its answers break off"
# Errors that waiting does not fix.
_PERMANENT = (
    (r"Hostname mismatch|IP address mismatch|doesn't match", "its certificate is for another name"),
    (r"certificate has expired", "its certificate has expired"),
    (r"CERTIFICATE_VERIFY_FAILED", "its certificate is not trusted"),
    (
        r"WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE|record layer failure",
        "it does not speak TLS there: http:// is meant, not https://",
    ),
    (r"SpeaksTls", "it speaks TLS there: https:// is meant, not http://"),
)
# The first match counts.
_REASONS = (
    *_PERMANENT,
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
        BROKEN_OFF,
    ),
)


def outage_reason(text: str) -> str:
    """Return the reason in a library's error text, as the end of a sentence about the service."""
    for pattern, words in _REASONS:
        if found := re.search(pattern, text, re.IGNORECASE):
            return words.format(found.groupdict().get("status"))
    return "it does not answer as it should"


def is_permanent(text: str) -> bool:
    """Tell whether an error lasts until somebody fixes a certificate or an address."""
    return any(re.search(pattern, text, re.IGNORECASE) for pattern, _ in _PERMANENT)
