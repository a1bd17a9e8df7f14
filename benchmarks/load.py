"""Load on a server, from a process of its own: `python -m benchmarks.load URL CLIENTS SECONDS RATE < bodies`.

Each line of stdin is a body for ``POST /predict``; the clients take them in turns, each on a connection that it keeps.
With a rate above zero they send so many requests a second together, else each sends the next as soon as it has its
answer. Prints what it saw as JSON.
"""

import asyncio
import itertools
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Seen:
    """Results of clients: responses per second, latencies in ms, and responses other than 200."""

    per_second: float
    p50_ms: float
    p99_ms: float
    answers: int
    failed: int


async def _client(host: str, port: int, bodies: Iterator[bytes], until: float, pause: float, seen: list[float]) -> int:
    reader, writer = await asyncio.open_connection(host, port)
    failed, due = 0, time.perf_counter()
    while time.perf_counter() < until:
        if pause:
            due += pause
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
        body = next(bodies)
        begun = time.perf_counter()
        writer.write(b"POST /predict HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n")
        writer.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        await reader.readexactly(int(head.partition(b"content-length:")[2].split()[0]))
        seen.append(time.perf_counter() - begun)
        failed += head.split()[1] != b"200"
    writer.close()
    return failed


async def put(url: str, bodies: list[bytes], clients: int, seconds: float, rate: float) -> Seen:
    """Send requests for some seconds."""
    address, turns, seen = urlsplit(url), itertools.cycle(bodies), list[float]()
    begun = time.perf_counter()
    pause = clients / rate if rate else 0.0
    at_once = (
        _client(str(address.hostname), address.port or 80, turns, begun + seconds, pause, seen) for _ in range(clients)
    )
    failed = sum(await asyncio.gather(*at_once))
    elapsed = time.perf_counter() - begun
    ordered = sorted(seen)
    p50, p99 = (1e3 * ordered[int(share * len(ordered))] for share in (0.5, 0.99))
    return Seen(len(seen) / elapsed, p50, p99, len(seen), failed)


if __name__ == "__main__":
    _, url, clients, seconds, rate = sys.argv
    lines = sys.stdin.buffer.read().splitlines()
    print(json.dumps(asdict(asyncio.run(put(url, lines, int(clients), float(seconds), float(rate))))))
