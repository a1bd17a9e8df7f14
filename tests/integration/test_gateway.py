"""The gateway as its clients meet it: the contract, ranges and conditions, who may do what, and bad manners."""

import hashlib
import json
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from scripts.services import S3
from tests.support.commands import BIN
from tests.support.gateway import Gateway, gateway
from tests.support.services import free_ports
from tests.support.waiting import wait_until

MIB = 1 << 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("objects")


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[Gateway]:
    options = ("--max-upload-mib", "8", "--max-requests", "8")
    with gateway(f"file://{folder}", *options) as running:
        yield running


@pytest.fixture
def client(served: Gateway) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, timeout=30) as opened:
        yield opened


def test_health_uploads_and_downloads_are_as_clients_know_them(client: httpx.Client):
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/ready").status_code == 200
    stored = client.post("/upload/new-bucket/a/b c.csv", content=b"time,down\n")
    assert stored.status_code == 200
    assert stored.json() == {
        "status": "success",
        "bucket": "new-bucket",
        "object_name": "a/b c.csv",
        "size_bytes": 10,
    }
    assert client.get("/download/new-bucket/a/b c.csv").content == b"time,down\n"
    missing = client.get("/download/new-bucket/absent")
    assert missing.status_code == 404
    assert "absent" in missing.json()["detail"]
    empty = client.post("/upload/new-bucket/empty", content=b"")
    assert (empty.status_code, client.get("/download/new-bucket/empty").status_code) == (400, 404)


def test_what_was_written_has_an_etag_that_conditions_go_by(client: httpx.Client):
    first = client.post("/upload/etags/key", content=b"one", headers={"If-None-Match": "*"})
    etag = first.headers["etag"]
    assert client.head("/download/etags/key").headers["etag"] == etag
    assert client.post("/upload/etags/key", content=b"two", headers={"If-None-Match": "*"}).status_code == 412
    assert client.post("/upload/etags/key", content=b"two", headers={"If-Match": '"other"'}).status_code == 412
    assert client.get("/download/etags/key").content == b"one"
    second = client.post("/upload/etags/key", content=b"two", headers={"If-Match": etag})
    assert second.status_code == 200
    assert client.get("/download/etags/key", headers={"If-None-Match": second.headers["etag"]}).status_code == 304
    assert client.get("/download/etags/key", headers={"If-None-Match": etag}).content == b"two"
    assert client.get("/download/etags/key", headers={"If-Match": etag}).status_code == 412
    assert client.post("/upload/etags/key", content=b"x", headers={"If-None-Match": etag}).status_code == 400


@pytest.mark.parametrize(
    ("header", "status", "content", "range_"),
    [
        ("bytes=0-0", 206, b"0", "bytes 0-0/10"),
        ("bytes=3-5", 206, b"345", "bytes 3-5/10"),
        ("bytes=7-", 206, b"789", "bytes 7-9/10"),
        ("bytes=-2", 206, b"89", "bytes 8-9/10"),
        ("bytes=5-500", 206, b"56789", "bytes 5-9/10"),
        ("bytes=-500", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=10-", 416, None, "bytes */10"),
        ("bytes=-0", 416, None, "bytes */10"),
        ("bytes=5-3", 200, b"0123456789", None),
        ("bytes=0-1,4-5", 200, b"0123456789", None),
        ("rows=0-1", 200, b"0123456789", None),
        ("bytes=-", 200, b"0123456789", None),
        ("bytes=a-b", 200, b"0123456789", None),
    ],
)
def test_ranges(client: httpx.Client, header: str, status: int, content: bytes | None, range_: str | None):
    client.post("/upload/ranges/digits", content=b"0123456789")
    answer = client.get("/download/ranges/digits", headers={"Range": header})
    assert answer.status_code == status
    assert answer.headers.get("content-range") == range_
    if content is not None:
        assert answer.content == content


def test_a_range_of_another_version_is_the_whole(client: httpx.Client):
    etag = client.post("/upload/ranges/versions", content=b"0123456789").headers["etag"]
    asked = {"Range": "bytes=0-1", "If-Range": etag}
    assert client.get("/download/ranges/versions", headers=asked).status_code == 206
    assert client.get("/download/ranges/versions", headers=asked | {"If-Range": '"older"'}).status_code == 200


def test_lists_come_in_pages_by_key(client: httpx.Client):
    for number in range(7):
        client.post(f"/upload/lists/run-{number % 2}/{number}", content=b"x")
    first = client.get("/objects/lists", params={"prefix": "run-0/", "limit": 3}).json()
    assert [item["object"] for item in first["objects"]] == ["run-0/0", "run-0/2", "run-0/4"]
    rest = client.get("/objects/lists", params={"prefix": "run-0/", "limit": 3, "after": first["next"]}).json()
    assert [item["object"] for item in rest["objects"]] == ["run-0/6"]
    assert rest["next"] is None
    assert client.get("/objects/absent-bucket").json()["objects"] == []
    assert client.get("/objects/lists", params={"after": "!"}).status_code == 400
    assert client.get("/objects/lists", params={"limit": 0}).status_code == 400


def test_every_request_has_an_id_in_answer_and_log_and_the_log_no_query(served: Gateway, client: httpx.Client):
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    answer = client.get(
        "/download/logs/absent?secret=1", headers={"X-Request-ID": "mine.1", "traceparent": trace, "Cookie": "secret=1"}
    )
    assert answer.headers["x-request-id"] == "mine.1"
    assert re.fullmatch("[0-9a-f]{32}", client.get("/healthz", headers={"X-Request-ID": "a b"}).headers["x-request-id"])
    (line,) = wait_until(lambda: [line for line in served.requests() if line["request_id"] == "mine.1"])
    assert (line["status"], line["route"], line["bucket"]) == (404, "/download/{bucket}/{object:path}", "logs")
    assert line["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    assert "secret" not in json.dumps(line)


def test_metrics_count_requests_by_route(client: httpx.Client):
    client.get("/download/metrics/absent")
    text = client.get("/metrics").text
    route = 'route="/download/{bucket}/{object:path}"'
    assert re.search(
        rf'flts_http_requests_total{{method="GET",{re.escape(route)},service="gateway",status="404"}}', text
    )
    assert 'flts_http_request_seconds_bucket{le="0.1"' in text
    assert "flts_store_errors_total" in text


@pytest.mark.parametrize("chunked", [False, True])
def test_objects_past_the_limit_are_refused_and_leave_nothing(client: httpx.Client, folder: Path, chunked: bool):
    body = (bytes(MIB) for _ in range(9))
    headers = {} if chunked else {"Content-Length": str(9 * MIB)}
    answer = client.post("/upload/limits/large", content=body, headers=headers)
    assert answer.status_code == 413
    assert "8 MiB" in answer.json()["detail"]
    assert client.get("/download/limits/large").status_code == 404
    assert list((folder / ".tmp").iterdir()) == []
    assert client.post("/upload/limits/fits", content=bytes(8 * MIB)).status_code == 200


def begin_upload(port: int, key: str, announced: int, sent: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    head = f"POST /upload/manners/{key} HTTP/1.1\r\nHost: h\r\nContent-Length: {announced}\r\n\r\n"
    connection.sendall(head.encode() + sent)
    return connection


def test_an_upload_that_breaks_off_leaves_nothing_and_frees_its_slot(
    served: Gateway, client: httpx.Client, folder: Path
):
    for number in range(20):  # more than there are slots
        begin_upload(served.port, f"broken-{number}", 4 * MIB, bytes(2 * MIB)).close()
    wait_until(lambda: client.get("/download/manners/broken-19").status_code == 404)
    wait_until(lambda: not list((folder / ".tmp").iterdir()))
    assert client.get("/objects/manners").json()["objects"] == []


def test_a_sender_that_stands_still_is_left(tmp_path: Path):
    with (
        gateway(f"file://{tmp_path}", "--idle-seconds", "0.5") as running,
        begin_upload(running.port, "still", 4 * MIB, b"some") as connection,
    ):
        assert connection.recv(65536).split()[1] == b"408"


def test_slow_readers_and_senders_hold_nobody_up_and_past_the_slots_one_comes_again(
    served: Gateway, client: httpx.Client
):
    client.post("/upload/manners/large", content=bytes(8 * MIB))
    slow = [begin_upload(served.port, f"slow-{n}", 100, b"some") for n in range(7)]
    try:
        wait_until(lambda: busy(client) == 7)
        assert client.get("/objects/manners").status_code == 200
        assert busy(client) == 7  # none of them had to end for it
        slow.append(begin_upload(served.port, "slow-7", 100, b"some"))
        wait_until(lambda: busy(client) == 8)
        refused = client.get("/objects/manners")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert client.get("/ready").status_code == 200  # probes are answered in any case
    finally:
        for connection in slow:
            connection.close()
    wait_until(lambda: busy(client) == 0)


def test_a_reader_that_goes_away_frees_its_slot_at_once(served: Gateway, client: httpx.Client):
    client.post("/upload/manners/large", content=bytes(8 * MIB))
    for _ in range(10):
        with socket.create_connection(("127.0.0.1", served.port)) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(b"GET /download/manners/large HTTP/1.1\r\nHost: h\r\n\r\n")
            connection.recv(100)
    wait_until(lambda: busy(client) == 0, timeout=20)  # the gateway waits for 30 s for readers that stand still


def busy(client: httpx.Client) -> int:
    found = re.search(r'flts_http_requests_in_flight{service="gateway"} (\d+)', client.get("/metrics").text)
    assert found
    return int(found[1])


@pytest.mark.slow
@pytest.mark.parametrize("store", ["file", "s3"])
def test_two_hundred_megabytes_each_way_take_little_memory(store: str, tmp_path: Path, s3: S3):
    url = "s3://" if store == "s3" else f"file://{tmp_path}"
    with gateway(url, environ=s3.environ) as running, httpx.Client(base_url=running.url, timeout=60) as client:
        peak = 0

        def chunks() -> Iterator[bytes]:
            nonlocal peak
            for number in range(200):
                yield bytes([number % 256]) * MIB
                peak = max(peak, running.resident())

        assert client.post("/upload/large/object", content=chunks()).json()["size_bytes"] == 200 * MIB
        received = 0
        with client.stream("GET", "/download/large/object") as answer:
            for chunk in answer.iter_bytes(MIB):
                received += len(chunk)
                peak = max(peak, running.resident())
        assert received == 200 * MIB
        assert peak < 150 * MIB


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, Path]]:
    folder = tmp_path_factory.mktemp("guarded")
    entries = [
        {"name": "reader", "sha256": digest("r-token"), "buckets": ["shared"], "access": "read"},
        {"name": "writer", "sha256": digest("w-token"), "buckets": ["shared", "own"], "access": "write"},
        {"name": "everything", "sha256": digest("e-token"), "buckets": ["*"], "access": "write"},
    ]
    (folder / "tokens.json").write_text(json.dumps(entries))
    options = ("--tokens-file", str(folder / "tokens.json"), "--host", "0.0.0.0", "--buckets", "shared,own,other")  # noqa: S104
    with gateway(f"file://{folder}/store", *options) as running:
        yield running, folder


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


@pytest.mark.parametrize(
    ("token", "method", "path", "status"),
    [
        ("", "GET", "/download/shared/a", 401),
        ("", "POST", "/upload/shared/a", 401),
        ("", "GET", "/objects/shared", 401),
        ("", "DELETE", "/objects/shared/a", 401),
        ("", "GET", "/healthz", 200),
        ("", "GET", "/ready", 200),
        ("wrong", "GET", "/download/shared/a", 401),
        ("w-toke", "GET", "/download/shared/a", 401),
        ("w-token1", "GET", "/download/shared/a", 401),
        ("r-token", "GET", "/download/shared/a", 404),
        ("r-token", "GET", "/objects/shared", 200),
        ("r-token", "POST", "/upload/shared/a", 403),
        ("r-token", "DELETE", "/objects/shared/a", 403),
        ("r-token", "POST", "/copy/shared/a?source=b", 403),
        ("r-token", "GET", "/download/own/a", 403),
        ("r-token", "GET", "/objects/own", 403),
        ("r-token", "GET", "/objects/absent", 403),
        ("w-token", "POST", "/upload/own/a", 200),
        ("w-token", "POST", "/upload/other/a", 403),
        ("e-token", "POST", "/upload/other/a", 200),
        ("e-token", "POST", "/upload/unserved/a", 403),
        ("e-token", "GET", "/objects/unserved", 403),
    ],
)
def test_tokens_open_their_buckets_and_nothing_else(guarded, token: str, method: str, path: str, status: int):
    running, _ = guarded
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    content = b"x" if method == "POST" else None
    answer = httpx.request(method, f"{running.url}{path}", headers=headers, content=content)
    assert answer.status_code == status
    if status == 401:
        assert answer.headers["www-authenticate"] == "Bearer"


def test_no_token_is_ever_in_the_log(guarded):
    running, _ = guarded
    for token in ("w-token", "some-other-token"):
        httpx.get(f"{running.url}/objects/shared", headers={"Authorization": f"Bearer {token}"})
    wait_until(lambda: any(line.get("token") == "writer" for line in running.requests()))
    said = "".join(running.lines)
    assert "w-token" not in said
    assert "some-other-token" not in said


def test_a_tokens_file_that_changes_counts_and_one_that_is_damaged_does_not(guarded):
    running, folder = guarded
    kept = (folder / "tokens.json").read_text()
    entries = json.loads(kept)

    def status(token: str) -> int:
        return httpx.get(f"{running.url}/objects/own", headers={"Authorization": f"Bearer {token}"}).status_code

    fresh = {"name": "fresh", "sha256": digest("f-token"), "buckets": ["own"], "access": "read"}
    (folder / "tokens.json").write_text(json.dumps([*entries, fresh]))
    assert status("f-token") == 200
    (folder / "tokens.json").write_text("[{")
    assert status("f-token") == 200
    (folder / "tokens.json").write_text(kept)
    assert status("f-token") == 401


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ((), "--store is required"),
        (("--store", "http://other:8000"), "--store must be s3:// or file:///dir"),
        (("--store", "nowhere"), "not an object store address"),
        (("--store", "file:///tmp/x", "--host", "0.0.0.0"), "--host 0.0.0.0 is open to other machines"),  # noqa: S104
        (("--store", "file:///tmp/x", "--port", "99999"), "--port must be at most 65535"),
        (("--store", "file:///tmp/x", "--prot", "1"), "--prot is not an option; did you mean --port?"),
        (("--store", "file:///tmp/x", "--tokens-file", "/absent"), "cannot read the tokens file /absent"),
        (("--store", "file:///tmp/x", "--buckets", "UP"), "bucket 'UP'"),
        (("--store", "file:///tmp/x", "--host", "no.such.host.invalid", "--auth", "off"), "cannot listen on"),
    ],
)
def test_settings_that_cannot_be_end_it_with_2_and_one_sentence(options, sentence: str):
    ended = subprocess.run([BIN / "flts-gateway", *options], capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith("flts-gateway: ")
    assert sentence in line


def test_a_port_that_is_taken_is_said_in_one_sentence():
    (port,) = free_ports(1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        command = [BIN / "flts-gateway", "--store", "file:///tmp/x", "--port", str(port)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 2
    assert f"cannot listen on 127.0.0.1 port {port}" in ended.stderr


def test_a_tokens_file_does_not_end_up_in_an_error(tmp_path: Path):
    (tmp_path / "tokens.json").write_text(json.dumps([{"name": "x", "sha256": "my-secret", "buckets": ["*"]}]))
    command = [BIN / "flts-gateway", "--store", "file:///tmp/x", "--tokens-file", tmp_path / "tokens.json"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 2
    assert "my-secret" not in ended.stderr


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return False
    return True


def test_sigterm_lets_what_runs_finish_and_ends_with_0(tmp_path: Path):
    with gateway(f"file://{tmp_path}") as running:
        with begin_upload(running.port, "late", 8, b"some") as connection:
            at_work = 'flts_http_requests_in_flight{service="gateway"} 1.0'
            wait_until(lambda: at_work in httpx.get(f"{running.url}/metrics", timeout=60).text, 60)
            running.process.send_signal(signal.SIGTERM)
            wait_until(lambda: not _listens(running.port), 60)
            connection.sendall(b"more")
            assert connection.recv(65536).split()[1] == b"200"
        assert running.process.wait(timeout=120) == 0
    assert (tmp_path / "manners" / "late").read_bytes() == b"somemore"


@pytest.mark.slow
def test_a_store_that_is_away_is_said_with_503():
    (port,) = free_ports(1)
    away = {"AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port}", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    with gateway("s3://", environ=away) as running:
        ready = httpx.get(f"{running.url}/ready", timeout=60)
        assert ready.status_code == 503
        assert ready.headers["retry-after"] == "1"
        answer = httpx.get(f"{running.url}/download/data/key", timeout=60)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert "Traceback" not in "".join(running.lines)
