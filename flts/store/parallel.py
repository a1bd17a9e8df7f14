"""Parallel work on many items, with results in order and few of them in memory."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from functools import partial
from threading import Thread
from typing import TypeVar

Item = TypeVar("Item")
Done = TypeVar("Done")


def map_in_order(work: Callable[[Item], Done], items: Iterable[Item], ahead: int) -> Iterator[Done]:
    """Yield ``work(item)`` for every item, in the items' order.

    Args:
        work: Function to call, in a thread for each item.
        items: Its arguments; each is taken only when a thread is free for it.
        ahead: Maximum number of items that are in progress, or done and not yet taken.
    """
    running: deque[Future[Done]] = deque()
    try:
        for item in items:
            if len(running) == ahead:
                yield running.popleft().result()
            running.append(start(partial(work, item)))
        while running:
            yield running.popleft().result()
    except Exception:
        for one in running:
            one.exception()  # wait, so that no thread still works when the error arrives
        raise


def start(work: Callable[[], Done]) -> "Future[Done]":
    """Call ``work`` in a daemon thread: a process that must end does not wait for a server that hangs."""
    future: Future[Done] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # raised where the result is read
            future.set_exception(error)

    Thread(target=run, daemon=True).start()
    return future
