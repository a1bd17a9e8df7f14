"""The servers under steady load, and a gateway whose store goes away meanwhile."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import httpx
import pytest

from benchmarks.soak import soak
from scripts.services import S3
from tests.support import faults
from tests.support.gateway import gateway
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("load")]


def test_a_minute_of_load_loses_nothing_and_memory_stays_flat(tmp_path: Path) -> None:
    soaked = soak(60, tmp_path)
    assert soaked.lost == 0, soaked.problems
    assert {request.name for request in soaked.requests} == {"/predict", "/predict with data", "/healthz", "/download"}
    assert sum(request.count for request in soaked.requests) > 300
    assert soaked.swaps >= 3
    assert soaked.flat, {server: soaked.growth(server) for server in soaked.memory}


def test_a_store_that_is_away_under_load_is_said_and_used_again(s3: S3) -> None:
    away, ended = Event(), Event()
    answers: Counter[tuple[int, bool]] = Counter()
    rounds: Counter[int] = Counter()  # of each client

    def ask(url: str, number: int) -> None:
        with httpx.Client(base_url=url, timeout=60) as client:
            while not ended.is_set():
                sent = client.post(f"/upload/outage/{number}", content=b"content")
                got = client.get(f"/download/outage/{number}")
                for answer in (sent, got):
                    answers[answer.status_code, answer.headers.get("retry-after") == "1"] += 1
                rounds[number] += 1
                ended.wait(0.02)

    def more_rounds(count: int) -> None:
        before = rounds.copy()
        wait_until(lambda: all(rounds[number] >= before[number] + count for number in range(8)), timeout=240)

    with (
        faults.proxy(s3.endpoint, lambda _method, _path: "reset" if away.is_set() else None) as proxy,
        gateway("s3://", environ=s3.environ | {"AWS_ENDPOINT_URL_S3": proxy.url}) as running,
        ThreadPoolExecutor(8) as clients,
    ):
        asking = [clients.submit(ask, running.url, number) for number in range(8)]
        try:
            more_rounds(5)
            assert set(answers) == {(200, False)}
            away.set()
            more_rounds(2)
            away.clear()
            wait_until(lambda: httpx.get(f"{running.url}/ready", timeout=60).status_code == 200)
            more_rounds(2)  # whoever was asking when it came back has been answered
            during = answers.copy()
            more_rounds(5)
        finally:
            ended.set()
        for one in asking:
            one.result()
        after = answers - during
        assert during[503, True] >= 8
        assert set(during) == {(200, False), (503, True)}
        assert set(after) == {(200, False)}
        assert running.process.poll() is None
        assert "Traceback" not in "".join(running.lines)
