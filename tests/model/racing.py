"""
Two threads on one database, each with a store of its own, that execute one command at once.

What came of it must be what one of the two serial orders gives, played on a book in memory.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from orderledger.commands.decision import Command
from orderledger.ledger.errors import OrderLedgerError, Rejected
from orderledger.ledger.ports import EventStore
from orderledger.ledger.stores.postgres import PostgresStore
from orderledger.ledger.stores.postgres_schema import migrate
from orderledger.ledger.stores.sqlite import SqliteStore
from orderledger.replay.verify import verify
from tests.model.shop import Shop, balances_of

Prepare = Callable[[Shop, str], None]
Pair = Callable[[str], tuple[Command, Command]]
ORDERS: Final = ((0, 1), (1, 0))


class Race(Struct, frozen=True):
    """
    What is there before, two commands, and whether exactly one of them may succeed.

    The name that both are given is that of the order, the payment and all else that they make.
    """

    prepare: Prepare
    pair: Pair
    is_exclusive: bool = False


Facts = Callable[[Shop, str], Any]
"""What must not depend on which engine wrote it, nor on ids drawn while writing."""
Check = Callable[[Shop, str], None]


def _outcome(shop: Shop, command: Command) -> str:
    """Return "" or the reason of the refusal; anything else is raised."""
    try:
        shop.run(command)
    except Rejected as refusal:
        return refusal.reason.value
    return ""


def _race(shops: Sequence[Shop], commands: Sequence[Command]) -> list[str]:
    """Execute one command in each shop at the same time."""
    barrier = threading.Barrier(len(commands))
    outcomes: list[str] = [""] * len(commands)

    def run(index: int) -> None:
        barrier.wait(10)
        try:
            outcomes[index] = _outcome(shops[index], commands[index])
        except OrderLedgerError as error:
            outcomes[index] = repr(error)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(commands))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return outcomes


def _serially(race: Race, name: str, order: Sequence[int], facts: Facts) -> Any:
    shop = Shop()
    race.prepare(shop, name)
    commands = race.pair(name)
    outcomes = [""] * len(commands)
    for index in order:
        outcomes[index] = _outcome(shop, commands[index])
    return outcomes, facts(shop, name)


def play(
    stores: Sequence[EventStore],
    races: Mapping[str, Race],
    rounds: int,
    *,
    facts: Facts,
    check: Check,
) -> None:
    """Run every race ``rounds`` times on two stores of one database, then verify the book."""
    shops = [Shop(store) for store in stores]
    for kind, race in races.items():
        # The serial orders do not depend on the round but for the name.
        for number in range(rounds):
            name = f"{kind}-{number}"
            race.prepare(shops[number % 2], name)
            outcomes = _race(shops if number % 3 else shops[::-1], race.pair(name))
            serial = [_serially(race, name, order, facts) for order in ORDERS]
            found = facts(shops[0], name)
            agreeing = [one for one in serial if one[0] == outcomes and one[1] == found]
            assert agreeing, (name, outcomes, [one[0] for one in serial])
            assert facts(shops[1], name) == found
            if race.is_exclusive:
                assert sorted(bool(refusal) for refusal in outcomes) == [False, True]
            check(shops[0], name)
    assert not any(_residues(stores[0]).values())
    assert list(verify(stores[0])) == []


def _residues(store: EventStore) -> dict[tuple[str, str], int]:
    sums: dict[tuple[str, str], int] = {}
    for (layer, _, currency), minor in balances_of(store).items():
        sums[(layer, currency)] = sums.get((layer, currency), 0) + minor
    return sums


@contextmanager
def sqlite_pair(path: Path) -> Iterator[list[EventStore]]:
    """Give two stores, with connections of their own, on one file."""
    stores: list[EventStore] = [SqliteStore(str(path / "pairs.db"), "main") for _ in range(2)]
    yield stores
    for store in stores:
        store.close()


@contextmanager
def postgres_pair(url: str) -> Iterator[list[EventStore]]:
    """Give two stores, with pools of their own, on one database."""
    migrate(url)
    stores: list[EventStore] = [PostgresStore(url, "main") for _ in range(2)]
    yield stores
    for store in stores:
        store.close()
