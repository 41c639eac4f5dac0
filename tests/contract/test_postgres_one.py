"""The short path of an append on PostgreSQL, orderledger.append_one, beside the general one."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from orderledger.ledger.errors import OrderLedgerError
from orderledger.ledger.ports import Appended, Batch
from orderledger.ledger.stores import postgres
from orderledger.ledger.stores.postgres import PostgresStore
from orderledger.ledger.stores.postgres_batch import is_one
from orderledger.ledger.stores.postgres_connections import Connections
from orderledger.ledger.stores.postgres_schema import migrate
from tests.contract.batches import BALANCED, START, batch, command, event, one
from tests.postgres_server import Databases

pytestmark = pytest.mark.pg

TABLES = {
    "events": "stream, version",
    "log": "position",
    "tiles": "level, index",
    "commands": "key_hash",
    "commands_archive": "key_hash",
    "pending": "id",
}
Step = Callable[[PostgresStore], object]


@pytest.fixture
def twins(pg_server: Databases) -> Iterator[tuple[PostgresStore, PostgresStore]]:
    """Give two stores on databases of their own, whose clocks stand still."""
    with pg_server.fresh_database() as left, pg_server.fresh_database() as right:
        stores: list[PostgresStore] = []
        for url in (left, right):
            migrate(url)
            stores.append(PostgresStore(url, clock=lambda: START))
        yield stores[0], stores[1]
        for store in stores:
            store.close()


def _rows(store: PostgresStore) -> dict[str, list[tuple[Any, ...]]]:
    with psycopg.connect(store.url) as connection:
        return {
            table: connection.execute(
                f"SELECT * FROM orderledger.{table} ORDER BY {order}".encode()
            ).fetchall()
            for table, order in TABLES.items()
        }


def _outcome(step: Step, store: PostgresStore) -> object:
    """Return what a step gives, an error as its type and facts."""
    try:
        return step(store)
    except OrderLedgerError as error:
        facts = getattr(error, "moved", None), getattr(error, "duplicates", None)
        return type(error), facts, getattr(error, "stale_constraints", None)


def _appending(made: Batch) -> Step:
    return lambda store: store.append(made)


def _joining(made: Batch) -> Step:
    def step(store: PostgresStore) -> Appended:
        with psycopg.connect(store.url) as host:
            return store.append(made, connection=host)

    return step


def _beside_a_held_head(made: Batch) -> Step:
    def step(store: PostgresStore) -> Appended:
        with psycopg.connect(store.url) as holder:
            holder.execute("SELECT 1 FROM orderledger.heads FOR NO KEY UPDATE")
            return store.append(made)

    return step


def _constraining(account: str) -> Step:
    made = command(f"constrain {account}")
    return lambda store: store.constrain(account, lambda _, g: batch(made, generation=g))


def _archiving(store: PostgresStore) -> int:
    return store.archive_commands(datetime.now(UTC) + timedelta(days=1))


def _steps() -> list[Step]:
    unbalanced = "posted a:b GBP 1\nposted c:d GBP 1"
    return [
        _appending(one("new", event("s/1", 1, postings=BALANCED))),
        _appending(one("next", event("s/1", 2))),
        _appending(one("from zero", event("z/1", 0))),
        _appending(one("after zero", event("z/1", 1))),
        _appending(one("taken version", event("s/1", 2))),
        _appending(one("new", event("s/2", 1))),
        _appending(one("gap", event("s/1", 4))),
        _appending(one("gap in a new stream", event("s/3", 2))),
        _appending(one("unbalanced", event("s/4", 1, postings=unbalanced))),
        _beside_a_held_head(one("waits", event("s/5", 1))),
        _appending(one("follows at once", event("s/5", 2))),
        _joining(one("joined", event("s/6", 1))),
        _beside_a_held_head(one("waits behind it", event("s/6", 2))),
        _beside_a_held_head(one("waits behind both", event("s/6", 3))),
        _appending(one("takes them along", event("s/7", 1))),
        _constraining("assets:psp:adyen"),
        _appending(batch(command("stale", event("s/8", 1)), generation=0)),
        _appending(batch(command("current", event("s/8", 1)), generation=1)),
        _archiving,
        _appending(one("next", event("s/9", 1))),
        _appending(one("many", *[event("s/10", version) for version in range(1, 245)])),
        *[_appending(one(f"tile {n}", event(f"t/{n}", 1))) for n in range(8)],
    ]


def test_both_paths_write_the_same(
    twins: tuple[PostgresStore, PostgresStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a rule or a column that the path for one event treats otherwise."""
    short, general = twins
    used: list[bool] = []

    def spying(made: Batch) -> bool:
        used.append(is_one(made))
        return used[-1]

    def never(_: Batch) -> bool:
        return False

    for step in _steps():
        monkeypatch.setattr(postgres, "is_one", spying)
        expected = _outcome(step, short)
        monkeypatch.setattr(postgres, "is_one", never)
        assert _outcome(step, general) == expected
        assert _rows(short) == _rows(general)
    assert used.count(True) > 20
    assert len(_rows(short)["tiles"]) == 1
    assert short.pending() == 0


def test_only_a_batch_of_one_event_is_short() -> None:
    """Catches a batch whose checks or further events the short path would drop."""
    assert is_one(one("k", event("s/1", 1)))
    assert not is_one(one("k", event("s/1", 1), checks={"s/2": 1}))
    assert not is_one(one("k", event("s/1", 1), event("s/1", 2)))
    assert not is_one(one("k"))
    assert not is_one(batch())
    two = batch(command("a", event("s/1", 1)), command("b"))
    assert not is_one(two)


def test_an_append_survives_deallocated_statements(
    twins: tuple[PostgresStore, PostgresStore],
) -> None:
    """Catches a connection that cannot append any more after psycopg's DEALLOCATE ALL."""
    store, _ = twins
    store.append(one("a", event("s/1", 1)))
    connections: Connections = vars(store)["_connections"]
    with connections.session() as session:
        session.cursor.execute("DEALLOCATE ALL")
    assert store.append(one("b", event("s/1", 2))).first_position == 2
    assert store.append(one("c", event("s/1", 3), event("s/1", 4))).first_position == 3


def _balances(url: str, postings: str) -> bool:
    try:
        with psycopg.connect(url) as connection:
            query = "SELECT orderledger.entry_balances(%s)"
            return connection.execute(query, (postings,)).fetchone() == (True,)
    except psycopg.errors.DataError:
        return False


@pytest.mark.parametrize(
    "postings",
    [
        "posted a:b GBP 007\nposted c:d GBP -007",
        "posted a:b GBP +5\nposted c:d GBP -5",
        "posted a:b GBP 5\nposted c:d GBP --5",
        "posted a:b GBP 5\nposted c:d USD -5",
        "posted a:b GBP 5\nheld c:d GBP -5",
        "other a:b GBP 5\nother c:d GBP -5",
        "posted a:b GBP 5\nposted c:d GBP 5",
        "posted  GBP 5\nposted c:d GBP -5",
        "posted a:b GBP 5\nposted  GBP -5",
        "posted a:b  5\nposted c:d  -5",
        "posted a:b GBP 5 posted c:d GBP -5",
        f"posted a:b GBP {10**30}\nposted c:d GBP {-(10**30)}",
        "posted a:b GBP 5\nposted c:d GBP -5\n",
        "posted a:b GBP 1.0\nposted c:d GBP -1.0",
        "posted a:b GBP 1e2\nposted c:d GBP -1e2",
        "posted\na:b GBP 5\nposted c:d GBP -5",
        "posted a:b\nGBP 5\nposted c:d\nGBP -5",
        "posted a:b GBP 5\nposted\nc:d GBP -5",
        "posted a:b GBP -0\nposted c:d GBP 0",
        "posted a:b GBP 5-5\nposted c:d GBP -5-5",
        "posted a:b GBP -\nposted c:d GBP ",
        "posted a:b GBP 5\nposted c:d GBP -5 ",
        "posted a:b GBP 5\nposted c:d GBP -5 -5",
        "posted a:b GBP 5\nposted c:d GBP -5\nposted",
        "posted a:b GBP 5\nposted c:d GBP -4\nposted e:f GBP 1",
        "posted a:b GBP 0",
        "posted",
        "\n",
    ],
)
def test_two_legs_that_do_not_balance_are_refused(
    twins: tuple[PostgresStore, PostgresStore], postings: str
) -> None:
    """Catches an entry that only the quick look at two opposite legs lets pass."""
    assert not _balances(twins[0].url, postings)


@pytest.mark.parametrize("minor", ["1", "-1", "0", "12325", "9" * 30, "-" + "9" * 30])
def test_two_opposite_legs_balance(twins: tuple[PostgresStore, PostgresStore], minor: str) -> None:
    """Catches an entry of two legs that the quick look refuses."""
    opposite = str(-int(minor))
    for layer in ("posted", "held"):
        text = f"{layer} a:b GBP {minor}\n{layer} c:d GBP {opposite}"
        assert _balances(twins[0].url, text)


@pytest.mark.parametrize(
    "postings",
    [
        "",
        "posted a:b GBP 0\nposted c:d GBP 0",
        "posted a:b GBP 5\nposted c:d GBP -2\nposted e:f GBP -3",
        "posted a:b GBP 5\nposted c:d GBP -5\nposted a:b EUR -7\nposted c:d EUR 7",
        "posted a:b GBP 5\nposted c:d GBP -5\nheld a:b GBP 7\nheld c:d GBP -7",
        "posted a:bü GBP -5\nposted c:d日本 GBP 5",
    ],
)
def test_balanced_entries_pass(twins: tuple[PostgresStore, PostgresStore], postings: str) -> None:
    """Catches an entry that is summed and refused though each run of its legs is zero."""
    assert _balances(twins[0].url, postings)
