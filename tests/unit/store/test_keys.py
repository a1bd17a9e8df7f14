"""Names of buckets and keys that every store accepts."""

import pytest

from flts.errors import BadInputError
from flts.store.keys import check_bucket, check_key


@pytest.mark.parametrize("name", ["abc", "a-b.c", "0" * 63, "processed-data", "1.2"])
def test_buckets_within_the_rules(name: str) -> None:
    check_bucket(name)


@pytest.mark.parametrize(
    "name", ["", "ab", "0" * 64, "Upper", "under_score", "a..b", "-abc", "abc-", ".abc", "abc.", "a/b", "ü-ü", "abc\n"]
)
def test_buckets_outside_the_rules(name: str) -> None:
    with pytest.raises(BadInputError, match="is not 3 to 63 lower-case letters, digits, dots and hyphens"):
        check_bucket(name)


@pytest.mark.parametrize("key", ["a", "a/b.json", "run 1/ü.csv", "a" * 1024, "..a/b..", "%2e%2e/x"])
def test_keys_within_the_rules(key: str) -> None:
    check_key(key)


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("", "has an empty, '.' or '..' part"),
        ("/a", "has an empty, '.' or '..' part"),
        ("a/", "has an empty, '.' or '..' part"),
        ("a//b", "has an empty, '.' or '..' part"),
        ("./a", "has an empty, '.' or '..' part"),
        ("a/../b", "has an empty, '.' or '..' part"),
        ("a\\b", "has a control character or a backslash"),
        ("a\nb", "has a control character or a backslash"),
        ("a\x00", "has a control character or a backslash"),
        ("a\x7f", "has a control character or a backslash"),
        ("ü" * 513, "is longer than 1024 bytes"),
    ],
)
def test_keys_outside_the_rules(key: str, sentence: str) -> None:
    with pytest.raises(BadInputError, match=sentence):
        check_key(key)
