"""Work on many parts at once and take the results in order, with few of them in memory."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from functools import partial
from threading import Thread
from typing import TypeVar

Job = TypeVar("Job")
Done = TypeVar("Done")


def in_order(work: Callable[[Job], Done], jobs: Iterable[Job], ahead: int) -> Iterator[Done]:
    """Yield ``work(job)`` of every job, in the order of the jobs.

    Args:
        work: What to do, in a thread of its own.
        jobs: Its arguments; the next one is taken only when there is a thread for it.
        ahead: How many may be worked on, or wait to be taken, at once.
    """
    running: deque[Future[Done]] = deque()
    try:
        for job in jobs:
            if len(running) == ahead:
                yield running.popleft().result()
            running.append(start(partial(work, job)))
        while running:
            yield running.popleft().result()
    except Exception:
        for one in running:
            one.exception()  # so that nobody works on it any more when the error arrives
        raise


def start(work: Callable[[], Done]) -> "Future[Done]":
    """Work in a daemon thread: a process that is told to end does not wait for a server that hangs."""
    future: Future[Done] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # raised again where the result is taken
            future.set_exception(error)

    Thread(target=run, daemon=True).start()
    return future
