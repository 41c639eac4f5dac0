"""
Callers: threads that call for a while, futures in flight, one caller's latencies.
"""

import asyncio
import statistics
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any

Call = Callable[[], object]


def threads_rate(call: Call, count: int, seconds: float) -> float:
    """Return calls per second of ``count`` threads that call again and again."""
    start = threading.Barrier(count + 1)
    stop = threading.Event()
    counts = [0] * count
    errors: list[BaseException] = []

    def work(index: int) -> None:
        done = 0
        start.wait()
        try:
            while not stop.is_set():
                call()
                done += 1
        except Exception as error:  # noqa: BLE001  # raised below, in the caller's thread
            errors.append(error)
            stop.set()
        counts[index] = done

    threads = [threading.Thread(target=work, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    start.wait()
    started = time.perf_counter()
    stop.wait(seconds)
    stop.set()
    for thread in threads:
        thread.join()
    # The last calls finish after the bell: they are counted, and so is their time.
    taken = time.perf_counter() - started
    if errors:
        raise errors[0]
    return sum(counts) / taken


def futures_rate(submit: Callable[[], "Future[Any]"], in_flight: int, seconds: float) -> float:
    """Return completions per second with always ``in_flight`` futures under way."""
    started = time.perf_counter()
    deadline = started + seconds
    waiting = deque([submit() for _ in range(in_flight)])
    done = 0
    while waiting:
        waiting.popleft().result()
        done += 1
        if time.perf_counter() < deadline:
            waiting.append(submit())
    return done / (time.perf_counter() - started)


def asyncio_rate(call: Callable[[], Awaitable[Any]], callers: int, seconds: float) -> float:
    """Return calls per second of ``callers`` tasks in one event loop."""

    async def run() -> float:
        deadline = time.perf_counter() + seconds

        async def work() -> int:
            done = 0
            while time.perf_counter() < deadline:
                await call()
                done += 1
            return done

        started = time.perf_counter()
        counts = await asyncio.gather(*(work() for _ in range(callers)))
        return sum(counts) / (time.perf_counter() - started)

    return asyncio.run(run())


def median_ms(call: Call, seconds: float) -> float:
    """Return the median milliseconds of one caller's calls."""
    taken: list[float] = []
    deadline = time.perf_counter() + seconds
    while True:
        started = time.perf_counter()
        call()
        ended = time.perf_counter()
        taken.append(ended - started)
        if ended >= deadline:
            return statistics.median(taken) * 1000
