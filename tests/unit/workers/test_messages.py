"""How records become messages: what is refused, and what is filled in for producers of older versions."""

import json
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flts.boundary.files import sha256_file
from flts.contracts import ClaimCheck, Performance, Promotion, TrainedModel
from flts.errors import BadInputError
from flts.stages.preprocessing.objects import TEST_FILE
from flts.store.file import FileStore
from flts.workers.messages import LARGEST_BYTES, ReceivedMessage, claim_check, fields_of, parse
from tests.support.serving import TEST_ROWS, Place, make_place

M = TypeVar("M")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    return make_place(tmp_path_factory.mktemp("place"))


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where temporary files go."""
    folder = tmp_path_factory.mktemp("scratch")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(folder))
        yield folder


def received(value: bytes | None) -> ReceivedMessage:
    return ReceivedMessage("inference-data", 1, 5, None, None, value)


def document(fields: Any) -> ReceivedMessage:
    return received(json.dumps(fields).encode())


def full(place: Place) -> dict[str, Any]:
    """A claim check as preprocess sends it."""
    path = place.data()
    return {
        "v": 1,
        "bucket": "processed-data",
        "object": f"{place.config_hash}/{TEST_FILE}",
        "object_key": f"{place.config_hash}/{TEST_FILE}",
        "operation": "post: test data",
        "size": path.stat().st_size,
        "identifier": "sent",
        "config_hash": place.config_hash,
        "sha256": sha256_file(path),
        "rows": TEST_ROWS,
    }


def attempted(do: Callable[[], M]) -> M | str:
    """What came of it, or the sentence that refused it."""
    try:
        return do()
    except BadInputError as error:
        return str(error)


@pytest.mark.parametrize("fields", [{}, {"v": 1, "a": 2}, {"v": 1.0}])
def test_an_object_of_this_version_or_of_none_is_taken(fields):
    assert fields_of(document(fields)) == fields


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "is not a message of FLTS: JSON is expected, not nested deeply"),
        (b"", "is not a message of FLTS: JSON is expected, not nested deeply"),
        (b"\xff", "is not a message of FLTS: JSON is expected, not nested deeply"),
        (b"[" * 1000, "is not a message of FLTS: JSON is expected, not nested deeply"),
        (b"[1]", "is not a message of FLTS: a JSON object is expected"),
        (b'{"v": 2}', "has version 2, this worker knows version 1"),
        (b'{"v": "1"}', "has version 1, this worker knows version 1"),
        (b'{"v": true}', "has version True, this worker knows version 1"),
        (b'{"v": null}', "has version None, this worker knows version 1"),
        (b'{"a": "' + b"x" * LARGEST_BYTES + b'"}',
         f"has {LARGEST_BYTES + 9} bytes, at most {LARGEST_BYTES} are expected"),
    ],
    ids=["no value", "empty", "no text", "deep", "list", "later", "text", "flag", "null", "large"],
)  # fmt: skip
def test_what_is_no_message_is_refused_in_a_sentence_that_names_it(value, said):
    assert attempted(lambda: fields_of(received(value))) == f"message 1:5 of inference-data {said}"


def test_the_largest_message_is_taken():
    value = b'{"a": "' + b"x" * (LARGEST_BYTES - 9) + b'"}'
    assert len(value) == LARGEST_BYTES
    assert fields_of(received(value))["a"]


@given(st.binary(max_size=100) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_whatever_comes_is_an_object_or_refused_in_one_line(value):
    came = attempted(lambda: fields_of(received(value)))
    assert isinstance(came, dict) or (came.startswith("message 1:5 of inference-data ") and came.isprintable())


@given(st.sampled_from([ClaimCheck, TrainedModel, Promotion, Performance]), st.data())
def test_an_object_is_a_message_or_refused_in_one_line(kind, data):
    names = st.sampled_from(sorted(kind.model_fields)) | st.text(max_size=5)
    fields = data.draw(st.dictionaries(names, VALUES, max_size=len(kind.model_fields)))
    came = attempted(lambda: parse(kind, document(fields)))
    assert isinstance(came, kind) or came.isprintable()


def test_a_claim_check_of_today_is_taken_as_it_is(place):
    claim = claim_check(document(full(place)), place.store, "not asked")
    assert claim.model_dump() == full(place)


@pytest.mark.parametrize("empty", [False, True], ids=["missing", "empty"])
@pytest.mark.parametrize("lacking", [["size"], ["sha256"], ["config_hash"], ["rows"],
                                     ["size", "sha256", "config_hash", "rows"]], ids=",".join)  # fmt: skip
def test_what_older_producers_left_out_is_filled_in_from_the_object(place, scratch, lacking, empty):
    fields = full(place)
    for name in lacking:
        del fields[name]
        if empty:
            fields[name] = "" if name in {"sha256", "config_hash"} else None
    assert claim_check(document(fields), place.store, "").model_dump() == full(place)
    assert list(scratch.iterdir()) == []


def test_the_older_fixed_keys_are_described_as_well(place):
    told = {"bucket": "processed-data", "object_key": TEST_FILE}
    claim = claim_check(document(told), place.store, "mine")
    assert (claim.object, claim.identifier, claim.config_hash) == (TEST_FILE, "mine", place.config_hash)
    assert (claim.sha256, claim.rows) == (full(place)["sha256"], TEST_ROWS)


@pytest.mark.parametrize(("said", "taken"), [("sent", "sent"), ("", "mine"), (None, "mine")])
def test_the_workers_identifier_is_for_messages_without_one(place, scratch, said, taken):
    claim = claim_check(document(full(place) | {"identifier": said}), place.store, "mine")
    assert claim.identifier == taken


def test_unknown_fields_are_kept(place):
    assert claim_check(document(full(place) | {"more": [1]}), place.store, "").model_extra == {"more": [1]}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "message 1:5 of inference-data is not a claim check: field 'bucket' is missing"),
        ({"bucket": "b"}, "message 1:5 of inference-data is not a claim check: field 'object' is missing"),
        ({"bucket": "b", "object": ["x"]},
         "message 1:5 of inference-data is not a claim check: field 'object' is missing"),
        ({"bucket": "processed-data", "object": "gone"}, "there is no object processed-data/gone in "),
        ({"bucket": "../x", "object": "gone"}, "'../x'"),
        ({"bucket": "processed-data", "object": "../../secret"}, "'../../secret'"),
    ],
)  # fmt: skip
def test_a_claim_on_nothing_is_refused(place, scratch, fields, said):
    with pytest.raises(BadInputError, match=re.escape(said)):
        claim_check(document(fields), place.store, "")
    assert list(scratch.iterdir()) == []


def copied(place: Place, folder: Path, changes: dict[bytes, bytes], *, foreign: bool = False) -> FileStore:
    """A store with the processed data, whose metadata say something else, or nothing as a foreign file's."""
    table = pq.read_table(place.data())
    path = folder / "copy.parquet"
    pq.write_table(table.replace_schema_metadata({} if foreign else {**table.schema.metadata, **changes}), path)
    store = FileStore(folder / "store")
    store.upload("theirs", "copy.parquet", path)
    path.unlink()
    return store


def test_foreign_data_are_called_by_their_sha256(place, scratch, tmp_path):
    store = copied(place, tmp_path, {}, foreign=True)
    claim = claim_check(document({"bucket": "theirs", "object": "copy.parquet"}), store, "")
    assert claim.config_hash == claim.sha256 == sha256_file(tmp_path / "store" / "theirs" / "copy.parquet")


def test_data_that_nobody_says_the_config_hash_of_are_refused(place, scratch, tmp_path):
    store = copied(place, tmp_path, {b"config_hash": b""})
    with pytest.raises(BadInputError, match=r"^theirs/copy.parquet has no config_hash, and neither has the message"):
        claim_check(document({"bucket": "theirs", "object": "copy.parquet"}), store, "")


@given(st.data())
def test_a_damaged_claim_check_is_taken_or_refused_in_one_line(place, scratch, data):
    fields = full(place)
    for name in data.draw(st.lists(st.sampled_from(sorted(fields)), unique=True, max_size=3)):
        fields[name] = data.draw(VALUES)
    came = attempted(lambda: claim_check(document(fields), place.store, "mine"))
    assert came.isprintable() if isinstance(came, str) else came.bucket == fields["bucket"]
