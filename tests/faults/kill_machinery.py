"""
A program that starts workers and kills them, over and over: ``kill_machinery URL DIR ROUNDS SEED``.

Each round forks a worker that reacts, dispatches, executes what is queued and fires deadlines, and
ends it with SIGKILL somewhere in between. The provider is a directory: an operation that it did is
a file, named by its key. The last line of this program is how many workers were killed at work.
"""

import os
import random
import select
import signal
import sys
import time
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import msgspec

import orderledger
from orderledger.book import Book
from orderledger.commands.lanes import RULES
from orderledger.commands.process_orders import Confirmation
from orderledger.commands.process_payments import PaymentOperations
from orderledger.ledger import provider_ports as p
from orderledger.ledger.payment_operations import Outcome
from orderledger.machinery import Wiring

LEASE = timedelta(milliseconds=120)


class DirectoryGateway:
    """A provider whose operations outlive the workers that ask for them; only authorises."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def authorise(self, request: p.AuthoriseRequest) -> p.GatewayResult:
        name = sha256(request.idempotency_key.encode()).hexdigest()[:16]
        with (self._directory / "requests").open("a") as log:
            log.write(f"{name}\n")
        (self._directory / name).touch()
        return p.GatewayResult(outcome=Outcome.SUCCEEDED, provider_ref=name)


def wired(url: str, directory: Path) -> Book:
    """Open the book with its provider; leases are short, so that a dead worker's are taken over."""
    rules = {lane: msgspec.structs.replace(one, lease=LEASE) for lane, one in RULES.items()}
    ports = p.Ports(payment_gateway=cast(p.PaymentGateway, DirectoryGateway(directory)))
    reactors = (PaymentOperations(), Confirmation())
    return orderledger.open(url).wire(Wiring(ports=ports, reactors=reactors, rules=rules))


class Ticking:
    """The work of a book, with a byte into a pipe before and after each call."""

    def __init__(self, target: object, pipe: int) -> None:
        self._target = target
        self._pipe = pipe

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            os.write(self._pipe, b".")
            answer = found(*args, **kwargs)
            os.write(self._pipe, b".")
            return answer

        return call


def work_until_killed(url: str, directory: Path, pipe: int) -> None:
    book = wired(url, directory)
    ticking = Ticking(book.machinery.work, pipe)
    book.machinery.__dict__["_work"] = lambda: ticking
    while True:
        if not book.machinery.settle():
            time.sleep(0.002)


def one_round(url: str, directory: Path, chance: random.Random) -> None:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            work_until_killed(url, directory, writer)
        finally:
            os._exit(70)
    os.close(writer)
    # By its steps, not by time: a busy machine must not make every kill fall before the first.
    for _ in range(chance.randrange(12, 80)):
        if not select.select([reader], [], [], 10)[0]:
            break
        os.read(reader, 1)
    time.sleep(chance.random() * 0.003)
    os.kill(child, signal.SIGKILL)
    os.close(reader)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        raise SystemExit(f"the worker ended by itself, status {status}")


def main(url: str, directory: str, rounds: int, seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(rounds):
        one_round(url, Path(directory), chance)
    print(rounds)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
