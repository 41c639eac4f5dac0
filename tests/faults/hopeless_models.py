"""
Read models whose projector does not come back, and a program that follows one of them.

``hopeless_models URL MODEL LIMIT`` follows until it is ended; its lease runs out at once.
"""

import re
import sys

import orderledger
from orderledger.projections.models import Recorded, Rows
from orderledger.projections.watchdog import Watchdog
from orderledger.projections.worker import Worker
from tests.projections.toy_models import Totals

STREAM = "journal-e30"


class Looping(Totals):
    """Never comes to an end with one event."""

    name = "looping"

    def project(self, recorded: Recorded, rows: Rows) -> None:
        while recorded.stream == STREAM:
            pass
        super().project(recorded, rows)


class Gripping(Totals):
    """Never comes to an end with one event, and lets no other thread run meanwhile."""

    name = "gripping"

    def project(self, recorded: Recorded, rows: Rows) -> None:
        if recorded.stream == STREAM:
            re.match(r"(a+)+$", "a" * 60 + "b")
        super().project(recorded, rows)


class Greedy(Totals):
    """Uses up the memory with one event."""

    name = "greedy"

    def project(self, recorded: Recorded, rows: Rows) -> None:
        taken: list[bytes] = []
        while recorded.stream == STREAM:
            taken.append(bytes(1 << 20))
        super().project(recorded, rows)


MODELS = (Looping(), Gripping(), Greedy())


def main(url: str, name: str, limit_s: float) -> None:
    (model,) = [one for one in MODELS if one.name == name]
    with orderledger.open(url, models=[model]) as book:
        worker = Worker(book.read.models, [name], lease_s=0.0)
        with Watchdog(worker, limit_s):
            worker.run()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
