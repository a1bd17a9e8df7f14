"""Tokens: what each one opens, and what a tokens file that changes or is damaged does."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from flts.errors import BadInputError
from flts.gateway.access import AccessControl
from flts.web.errors import HttpError

READER, WRITER, ADMIN = "reader-token", "writer-token", "admin-token"


def entry(name: str, token: str, buckets: list[str], access: str) -> dict[str, Any]:
    return {"name": name, "sha256": hashlib.sha256(token.encode()).hexdigest(), "buckets": buckets, "access": access}


ENTRIES = [
    entry("reader", READER, ["inference-logs"], "read"),
    entry("writer", WRITER, ["processed-data", "model-promotion"], "write"),
    entry("admin", ADMIN, ["*"], "write"),
]


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    path = tmp_path / "tokens.json"
    path.write_text(json.dumps(ENTRIES))
    return path


def status(control: AccessControl, authorization: str, bucket: str, access: Any) -> int:
    try:
        control.check(authorization, bucket, access)
    except HttpError as error:
        return error.status
    return 200


def test_without_a_file_everything_is_allowed() -> None:
    control = AccessControl(None, frozenset())
    assert control.check("", "dataset", "write") == ""


def test_buckets_that_are_not_served_are_403_also_without_a_file() -> None:
    control = AccessControl(None, frozenset({"dataset"}))
    assert [status(control, "", bucket, "read") for bucket in ("dataset", "mlflow")] == [200, 403]


def test_a_bucket_that_is_not_served_is_403_for_every_token(tokens: Path) -> None:
    control = AccessControl(tokens, frozenset({"inference-logs"}))
    assert status(control, f"Bearer {ADMIN}", "inference-logs", "write") == 200
    assert status(control, f"Bearer {ADMIN}", "mlflow", "read") == 403


@pytest.mark.parametrize(
    ("token", "bucket", "access", "expected"),
    [
        (READER, "inference-logs", "read", 200),
        (READER, "inference-logs", "write", 403),
        (READER, "dataset", "read", 403),
        (WRITER, "processed-data", "write", 200),
        (WRITER, "model-promotion", "read", 200),
        (WRITER, "inference-logs", "read", 403),
        (ADMIN, "anything", "write", 200),
    ],
)
def test_a_token_opens_its_buckets(tokens: Path, token: str, bucket: str, access: str, expected: int) -> None:
    assert status(AccessControl(tokens, frozenset()), f"Bearer {token}", bucket, access) == expected


def test_the_name_of_the_token_is_returned_for_the_log(tokens: Path) -> None:
    control = AccessControl(tokens, frozenset())
    assert control.check(f"bearer  {READER} ", "inference-logs", "read") == "reader"


@pytest.mark.parametrize(
    ("authorization", "sentence"),
    [
        ("", "a bearer token is needed: Authorization: Bearer .."),
        ("Bearer", "a bearer token is needed: Authorization: Bearer .."),
        ("Bearer wrong", "this token is not known"),
        (f"Basic {READER}", "this token is not known"),
        (READER, "a bearer token is needed: Authorization: Bearer .."),
        (f"Bearer {ENTRIES[0]['sha256']}", "this token is not known"),
        ("Bearer \udcff", "this token is not known"),
    ],
)
def test_without_a_known_token_it_is_401(tokens: Path, authorization: str, sentence: str) -> None:
    with pytest.raises(HttpError) as error:
        AccessControl(tokens, frozenset()).check(authorization, "inference-logs", "read")
    assert (error.value.status, str(error.value)) == (401, sentence)
    assert error.value.headers == {"WWW-Authenticate": "Bearer"}


def test_the_sentence_of_a_403_does_not_tell_whether_the_bucket_exists(tokens: Path) -> None:
    control = AccessControl(tokens, frozenset({"dataset"}))
    for bucket in ("dataset", "no-such-bucket"):
        with pytest.raises(HttpError, match=f"this token may not read in bucket '{bucket}'"):
            control.check(f"Bearer {READER}", bucket, "read")


def replace(path: Path, text: str) -> None:
    """Replace a file as a mounted secret is: by another file of that name."""
    other = path.with_name("other")
    other.write_text(text)
    os.replace(other, path)


def test_a_file_that_changes_counts_at_once(tokens: Path) -> None:
    control = AccessControl(tokens, frozenset())
    replace(tokens, json.dumps(ENTRIES[1:]))
    assert status(control, f"Bearer {READER}", "inference-logs", "read") == 401
    assert status(control, f"Bearer {WRITER}", "processed-data", "read") == 200


@pytest.mark.parametrize("damage", ["[", "", None])
def test_a_damaged_file_leaves_the_previous_tokens(
    tokens: Path, capsys: pytest.CaptureFixture[str], damage: str | None
) -> None:
    control = AccessControl(tokens, frozenset())
    if damage is None:
        tokens.unlink()
    else:
        replace(tokens, damage)
    for _ in range(3):
        assert status(control, f"Bearer {READER}", "inference-logs", "read") == 200
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("; the previous tokens stay valid")
    replace(tokens, json.dumps(ENTRIES[1:]))
    assert status(control, f"Bearer {READER}", "inference-logs", "read") == 401


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("[", "its content is not as described in docs/gateway.md"),
        ("{}", "its content is not as described in docs/gateway.md"),
        (json.dumps([ENTRIES[0] | {"sha256": READER}]), "0.sha256 is not as described"),
        (json.dumps([ENTRIES[0] | {"access": "all"}]), "0.access is not as described"),
        (json.dumps([ENTRIES[0] | {"buckets": []}]), "0.buckets is not as described"),
        (json.dumps([ENTRIES[0] | {"token": READER}]), "0.token is not as described"),
        (json.dumps([{"name": "x"}]), "0.sha256 is not as described"),
    ],
)
def test_a_wrong_file_is_refused_without_its_values(tokens: Path, content: str, sentence: str) -> None:
    tokens.write_text(content)
    with pytest.raises(BadInputError, match="is not a list of tokens: ") as error:
        AccessControl(tokens, frozenset())
    assert sentence in str(error.value)
    assert READER not in str(error.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"cannot read the tokens file .*: no such file"):
        AccessControl(tmp_path / "none.json", frozenset())
