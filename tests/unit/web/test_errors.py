"""What an app answers to an error that nobody expected: a sentence, and the log has the rest."""

import asyncio
import json

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from flts.observability import events
from flts.web import errors
from flts.web.middleware import RequestMiddleware


def test_a_bug_is_answered_with_a_sentence_and_logged_with_its_traceback(capsys: pytest.CaptureFixture[str]):
    app = FastAPI()
    errors.install_error_handlers(app, on_outage=lambda: None)

    @app.get("/broken")
    async def broken() -> None:
        raise ZeroDivisionError("of a test")

    observed = RequestMiddleware(app, service="test", registry=CollectorRegistry(), most=1, seconds=5, free=frozenset())

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(observed, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get("/broken", headers={"X-Request-ID": "mine"})

    answer = asyncio.run(ask())
    events.flush()
    assert (answer.status_code, answer.headers["x-request-id"]) == (500, "mine")
    assert "X-Request-ID" in answer.json()["detail"]
    (line,) = map(json.loads, capsys.readouterr().err.splitlines())
    assert (line["status"], line["level"], line["request_id"]) == (500, "error", "mine")
    assert "ZeroDivisionError: of a test" in line["traceback"]
