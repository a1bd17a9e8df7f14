"""What others wrote: bounded, never through a link, and wrong in one sentence."""

import json
import os

import numpy as np
import pytest

from flts.boundary.untrusted import LARGEST_DOCUMENT, copy_folder, json_object, read_document
from flts.contracts import ClaimCheck, Promotion, TrainedModel
from flts.errors import BadInputError
from flts.models.config import BundleConfig

NAMES = {"a.json": 10, "b.json": 20}
DAMAGED = {
    "empty": b"",
    "not JSON": b"model",
    "not UTF-8": b'{"a": "\xff"}',
    "half a character": b'{"a": "\\ud800"}',
    "a list": b"[1]",
    "a number": b"17",
    "cut off": b'{"a": 1',
    "nested lists": b"[" * 100_000,
    "nested objects": b'{"a":' * 100_000,
    "nested and whole": b'{"a":' * 1000 + b"1" + b"}" * 1000,
    "a number without end": b'{"a": ' + b"1" * 10_000 + b"}",
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_what_is_no_json_object_is_a_sentence(content):
    with pytest.raises(BadInputError, match=r"^here is not a thing: (JSON|a JSON object) is expected"):
        json_object(content, "here", "a thing")


@pytest.mark.parametrize("message", [ClaimCheck, TrainedModel, Promotion, BundleConfig])
@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED)
def test_what_is_no_message_is_a_sentence(message, content):
    with pytest.raises(BadInputError, match=f"^here is not a {message.kind}: (it must be|field '[a-z_]+' is missing)"):
        message.parse(content, source="here")


def test_numbers_are_read_as_python_reads_them():
    generator = np.random.default_rng(0)
    numbers = np.concatenate([np.frombuffer(generator.bytes(8 * 20_000)), generator.normal(size=20_000)])
    text = json.dumps({"numbers": numbers[np.isfinite(numbers)].tolist()})
    assert json_object(text, "here", "a thing") == json.loads(text)


def test_nan_is_a_number_only_where_it_may_be():
    assert json_object('{"a": Infinity}', "here", "a thing", allow_nan=True) == {"a": float("inf")}
    with pytest.raises(BadInputError, match="here is not a thing: JSON is expected"):
        json_object('{"a": NaN}', "here", "a thing")


def test_a_document_may_be_a_link_but_not_large(tmp_path):
    (tmp_path / "document").write_bytes(b"{}")
    (tmp_path / "link").symlink_to("document")
    assert read_document(tmp_path / "link", "thing") == b"{}"
    os.truncate(tmp_path / "document", LARGEST_DOCUMENT + 1)
    with pytest.raises(BadInputError, match=r"link has 16,777,217 bytes: at most 16,777,216 are accepted"):
        read_document(tmp_path / "link", "thing")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("missing", "does not exist: a thing is expected"),
        ("folder", "is a folder, expected a regular file"),
        ("pipe", "is a device, expected a regular file"),
        ("/dev/zero", "is a device, expected a regular file"),
        ("a" * 300, "cannot read .*: file name too long"),
        ("a\0b", r"a\\x00b is not the name of a file"),
    ],
    ids=["missing", "folder", "pipe", "endless", "long", "zero byte"],
)
def test_what_is_no_file_is_a_sentence(tmp_path, name, said):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadInputError, match=said):
        read_document(tmp_path / name, "thing")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "from").mkdir()
    (tmp_path / "to").mkdir()
    (tmp_path / "from" / "a.json").write_text("a")
    return tmp_path / "from"


def test_the_files_of_a_folder_are_copied(folder):
    copy_folder(folder, folder.parent / "to", NAMES, "thing")
    assert [(path.name, path.read_text()) for path in (folder.parent / "to").iterdir()] == [("a.json", "a")]


@pytest.mark.parametrize("wrong", ["name", "size", "link", "dangling link", "folder", "pipe"])
def test_a_folder_with_anything_else_is_not_copied_at_all(folder, wrong):
    path = folder / ("c.json" if wrong == "name" else "b.json")
    if "link" in wrong:
        path.symlink_to("/etc/hostname" if wrong == "link" else "nowhere")
    elif wrong == "folder":
        path.mkdir()
    elif wrong == "pipe":
        os.mkfifo(path)
    else:
        path.write_text("a" * 21)
    with pytest.raises(BadInputError, match=f"/{path.name} "):
        copy_folder(folder, folder.parent / "to", NAMES, "thing")
    assert not list((folder.parent / "to").iterdir())
