"""How long after a command returned does a read model show it, at 1,000 commands a second?"""

import multiprocessing
import statistics
import threading
import time
from multiprocessing.connection import Connection
from typing import Any

import orderledger
from bench.bench_order_path import order_commands
from bench.databases import durability, event_count, postgres_book, server
from bench.harness import (
    Answer,
    Arm,
    Benchmark,
    Facts,
    Measured,
    Ratio,
    Settings,
    benchmark_name,
    main,
    measured,
)
from orderledger import Book
from orderledger.commands.decision import Command
from orderledger.projections.worker import Worker

MODELS = ("orders",)
PER_SECOND = 1_000
SECONDS = 10.0
LOOK_S = 0.002
P50_MS_MAX, P99_MS_MAX = 30.0, 150.0


def run(settings: Settings) -> Answer:
    """Send commands at a steady pace; a worker in a process of its own follows them."""
    seconds = 0.5 if settings.is_quick else SECONDS
    p50: list[float] = []
    p99: list[float] = []
    sent: list[float] = []
    with server() as databases, databases.fresh_database() as url, postgres_book(url) as book:
        book.read.models.catch_up(MODELS[0])
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        worker = context.Process(target=_work, args=(url, theirs), daemon=True)
        worker.start()
        ours.recv()
        _round(book, 1.0)
        for _ in range(settings.rounds):
            lags, rate = _round(book, seconds)
            p50.append(statistics.median(lags))
            p99.append(statistics.quantiles(lags, n=100)[98])
            sent.append(rate)
        ours.send("stop")
        worker.join(30)
        facts: Facts = {
            "models followed": ", ".join(MODELS),
            "commands per second": f"{statistics.median(sent):,.0f}",
            "look at the checkpoint every (ms)": LOOK_S * 1000,
            "events of ours": event_count(url),
            **durability(url),
        }
    arms = [
        _arm("lag, half of the commands", p50),
        _arm("lag, 99 of 100 commands", p99),
        _arm("limit for half", [P50_MS_MAX] * len(p50)),
        _arm("limit for 99 of 100", [P99_MS_MAX] * len(p50)),
    ]
    ratios = [
        Ratio("p50 / 30 ms", 0, 2, target=1.0, at_least=False),
        Ratio("p99 / 150 ms", 1, 3, target=1.0, at_least=False),
    ]
    return Answer(arms, ratios, facts)


def _arm(name: str, values: list[float]) -> Measured:
    return measured(Arm(name, "ms", lambda _: 0.0), values)


def _work(url: str, pipe: "Connection[Any, Any]") -> None:
    with orderledger.open(url) as book:
        worker = Worker(book.read.models, MODELS)
        threading.Thread(target=lambda: (pipe.recv(), worker.stop()), daemon=True).start()
        pipe.send("ready")
        worker.run()


def _round(book: Book, seconds: float) -> tuple[list[float], float]:
    """Return how many ms each command was shown after it returned, and commands per second."""
    returned: list[tuple[float, int]] = []
    seen: list[tuple[float, int]] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(LOOK_S):
            live = book.read.models.live(MODELS[0])
            seen.append((time.perf_counter(), live.position if live is not None else 0))

    def note(future: Any) -> None:
        receipt = future.result()
        if receipt.positions:
            returned.append((time.perf_counter(), receipt.positions[-1]))

    looker = threading.Thread(target=look, daemon=True)
    looker.start()
    started = time.perf_counter()
    count = 0
    while (now := time.perf_counter() - started) < seconds:
        # Whole orders, step by step: what an order needs is there before it is asked for.
        if count > now * PER_SECOND:
            time.sleep(0.001)
            continue
        for step in zip(*[order_commands() for _ in range(6)], strict=True):
            _together(book, step, note)
            count += len(step)
    taken = time.perf_counter() - started
    time.sleep(0.5)
    stop.set()
    looker.join()
    return _lags(returned, seen), count / taken


def _together(book: Book, step: tuple[Command, ...], note: Any) -> None:
    futures = [book.submit(command) for command in step]
    for future in futures:
        future.add_done_callback(note)
        future.result()


def _lags(returned: list[tuple[float, int]], seen: list[tuple[float, int]]) -> list[float]:
    lags: list[float] = []
    at = 0
    for when, position in sorted(returned, key=lambda one: one[1]):
        while at < len(seen) and seen[at][1] < position:
            at += 1
        if at == len(seen):
            break
        lags.append(max(0.0, (seen[at][0] - when) * 1000))
    return lags


BENCHMARK = Benchmark(benchmark_name(__file__), __doc__ or "", run)

if __name__ == "__main__":
    main(BENCHMARK)
