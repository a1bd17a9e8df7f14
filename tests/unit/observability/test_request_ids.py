"""Ids that join the logs of several services."""

import subprocess
import sys

import pytest

from flts.observability import request_ids

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_what_was_given_is_carried_on():
    headers = request_ids.make_headers("mine.1", TRACE)
    assert headers == {"X-Request-ID": "mine.1", "traceparent": TRACE}
    assert request_ids.ids(headers) == {"request_id": "mine.1", "trace_id": "0af7651916cd43dd8448eb211c80319c"}


@pytest.mark.parametrize("given", ["", "a b", "a\nb", "x" * 129, "ü"])
def test_what_is_no_id_is_replaced(given: str):
    assert request_ids.make_headers(given, "00-no-trace", default="own") == {"X-Request-ID": "own"}
    first, second = request_ids.make_headers(given), request_ids.make_headers(given)
    assert first != second


def test_a_process_has_the_ids_of_its_environment_or_one_of_its_own():
    code = "from flts.observability import request_ids as r; print(r.ids(), r.ids())"
    environ = {"FLTS_REQUEST_ID": "run-7", "TRACEPARENT": TRACE}
    given = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    ids = {"request_id": "run-7", "trace_id": "0af7651916cd43dd8448eb211c80319c"}
    assert given.stdout == f"{ids} {ids}\n"
    first, second = subprocess.run(
        [sys.executable, "-c", code], env={}, capture_output=True, text=True, check=True
    ).stdout.split("} ")
    assert first + "}" == second.strip()
