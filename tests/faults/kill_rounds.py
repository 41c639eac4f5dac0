"""
A program that starts writers and kills them, over and over: ``kill_rounds URL ROUNDS SEED``.

Each round forks a writer with four threads, lets it run for a random while and ends it with
SIGKILL. The writer tells through a pipe what it is about to try and what was acknowledged; the last
line of this program is the JSON of both over all rounds. It opens no database itself, so that a
forked writer shares nothing with the next one.
"""

import json
import os
import random
import select
import signal
import sys
import threading
import time

import orderledger.commands.decide_accounts  # noqa: F401  # registers the deciders used here
from orderledger.commands.handle import Executor
from orderledger.config import locate
from orderledger.databases import open_store
from tests.commands.entries import post, reverse, with_key

THREADS = 4


def write_until_killed(url: str, round_number: int, pipe: int) -> None:
    """Execute commands in four threads, for ever."""
    executor = Executor(open_store(locate(url)))

    def run(thread: int) -> None:
        for number in range(10**6):
            name = f"{round_number}-{thread}-{number}"
            os.write(pipe, f"try {name}\n".encode())
            if number % 3 == 2:
                group = [with_key(f"{name}a", post(name)), with_key(name, reverse(name, "r", 40))]
                executor.execute_atomic(group)
            else:
                executor.execute(with_key(name, post(name)))
            os.write(pipe, f"ack {name}\n".encode())

    threads = [threading.Thread(target=run, args=(thread,)) for thread in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def one_round(url: str, round_number: int, chance: random.Random) -> list[str]:
    """Run one writer until it is killed; return the lines it wrote."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            write_until_killed(url, round_number, writer)
        finally:
            os._exit(70)
    os.close(writer)
    # The first line shows that the writer is up; then the kill falls anywhere in its work.
    select.select([reader], [], [], 30)
    time.sleep(chance.random() * 0.04)
    os.kill(child, signal.SIGKILL)
    with os.fdopen(reader) as lines:
        text = lines.read()
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        raise SystemExit(f"round {round_number}: the writer ended by itself, status {status}")
    return text.splitlines()


def main(url: str, rounds: int, seed: int) -> None:
    chance = random.Random(seed)
    tried: list[str] = []
    acknowledged: list[str] = []
    # Rounds are numbered apart for each seed, so that names never repeat on one book.
    for round_number in range(seed * rounds, (seed + 1) * rounds):
        for line in one_round(url, round_number, chance):
            word, name = line.split(" ")
            (tried if word == "try" else acknowledged).append(name)
    print(json.dumps({"tried": tried, "acknowledged": acknowledged}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
