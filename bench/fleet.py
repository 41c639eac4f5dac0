"""
Writers in processes of their own: started once, told to work for a while in every round.
"""

import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

import psycopg

import orderledger
from bench import plain_sql
from bench.postings import executing, post_entry, random_key

Call = Callable[[], object]
Start = Callable[[Any], Call]
"""Given what identifies its work, opens a connection and returns the call to repeat."""


class Fleet:
    """Processes with one caller each."""

    def __init__(self, pipes: "list[Connection[Any, Any]]") -> None:
        self._pipes = pipes

    def rate(self, seconds: float) -> float:
        """Let all of them work at once; return calls per second in total."""
        # One instant for all, a little ahead, on the clock that processes share.
        start_at = time.monotonic() + 0.05
        for pipe in self._pipes:
            pipe.send((start_at, seconds))
        total = 0.0
        for pipe in self._pipes:
            done, taken = pipe.recv()
            total += done / taken
        return total


@contextmanager
def fleet(start: Start, works: list[Any]) -> Iterator[Fleet]:
    """Start a process per work; ``start`` must be a function of a module."""
    context = multiprocessing.get_context("spawn")
    pipes: list[Connection[Any, Any]] = []
    processes = []
    for work in works:
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(theirs, start, work), daemon=True)
        process.start()
        pipes.append(ours)
        processes.append(process)
    try:
        for pipe in pipes:
            pipe.recv()
        yield Fleet(pipes)
    finally:
        for pipe in pipes:
            pipe.close()
        for process in processes:
            process.join(10)


def _work(pipe: "Connection[Any, Any]", start: Start, work: Any) -> None:
    call = start(work)
    call()
    pipe.send("ready")
    while True:
        try:
            start_at, seconds = pipe.recv()
        except EOFError:
            return
        time.sleep(max(0.0, start_at - time.monotonic()))
        started = time.monotonic()
        done = 0
        while time.monotonic() - started < seconds:
            call()
            done += 1
        pipe.send((done, time.monotonic() - started))


def execute_on(url: str) -> Call:
    """Open the book; the call executes one fresh entry."""
    return executing(orderledger.open(url))


def execute_for_sellers(work: tuple[str, list[str]]) -> Call:
    """Open the book; each call posts to the next of the sellers."""
    url, sellers = work
    book = orderledger.open(url)
    number = 0

    def call() -> None:
        nonlocal number
        number += 1
        book.execute(post_entry(sellers[number % len(sellers)]), key=random_key())

    return call


def insert_plainly(work: tuple[str, str]) -> Call:
    """Connect; the call inserts one fresh event row with plain SQL, in a transaction of its own."""
    url, source = work
    with orderledger.open(source) as book:
        rows = plain_sql.Rows(book)
    connection = psycopg.connect(url, autocommit=True)
    cursor = connection.cursor(binary=True)

    def call() -> None:
        cursor.execute(plain_sql.ONE, rows.fresh(1)[0], prepare=True)

    return call
