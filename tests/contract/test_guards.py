"""What the database refuses when our code is bypassed."""

import pytest

from orderledger.ledger.ports import EventStore
from tests.contract.batches import BALANCED, event, everything, fill, one
from tests.contract.engines import SqlEngine

A, B = "posted assets:bank:x", "posted liabilities:escrow:o"

UNBALANCED = {
    "one leg": f"{A} EUR 0",
    "not zero": f"{A} EUR 5\n{B} EUR -4",
    "one unit at 10^24": f"{A} EUR {10**24}\n{B} EUR -{10**24 - 1}",
    "low limbs cancel": f"{A} EUR {10**15}\n{B} EUR 0",
    "currencies": f"{A} EUR 5\n{B} USD -5",
    "layers": f"{A} EUR 5\nheld liabilities:escrow:o EUR -5",
    "second currency": f"{A} EUR 5\n{B} EUR -5\n{A} USD 1\n{B} USD -2",
    "points": f"{A} PTSAB 5\n{B} PTSBB -5",
    "unknown layer": "hold assets:bank:x EUR 5\nhold liabilities:escrow:o EUR -5",
    "no currency": f"{A} 5\n{B} -5",
    "fraction": f"{A} EUR 5.0\n{B} EUR -5.0",
    "exponent": f"{A} EUR 1e2\n{B} EUR -100",
    "plus sign": f"{A} EUR +5\n{B} EUR -5",
    "two minus signs": f"{A} EUR --5\n{B} EUR 5",
    "no amount": f"{A} EUR \n{B} EUR 0",
    "31 digits": f"{A} EUR {10**30}\n{B} EUR -{10**30}",
    "two spaces": f"{A}  EUR 5\n{B} EUR -5",
    "trailing newline": f"{A} EUR 5\n{B} EUR -5\n",
    "leading newline": f"\n{A} EUR 5\n{B} EUR -5",
    "carriage return": f"{A} EUR 5\r\n{B} EUR -5",
    "tab": f"{A}\tEUR 5\n{B} EUR -5",
    "injected line": f'{A} EUR 5\n{B} EUR -4\n{A} EUR 0","{B} EUR -1',
    "text": "hello",
    "blank": " ",
}

BALANCED_ENTRIES = {
    "two legs": BALANCED,
    "10^24": f"{A} EUR {10**24}\n{B} EUR -{10**24}",
    "30 digits": f"{A} EUR {10**30 - 1}\n{B} EUR -{10**30 - 1}",
    "limbs": f"{A} EUR {10**15}\n{B} EUR -{10**15 - 1}\n{B} EUR -1",
    "carry": f"{A} EUR {6 * 10**14}\n{A} EUR {6 * 10**14}\n{B} EUR -{12 * 10**14}",
    "layers": f"{A} EUR 5\n{B} EUR -5\nheld assets:psp:a EUR -7\nheld liabilities:escrow:o EUR 7",
    "points": f"{A} PTSAB 5\n{B} PTSAB -5\n{A} PTS 1\n{B} PTS -1",
    "roots": "posted expenses:a EUR 1\nposted income:b EUR 1\nposted equity:c EUR -2",
    "many legs": "\n".join([f"{A} EUR {10**29}", f"{B} EUR -{10**29}"] * 500),
}


def insert(sql_engine: SqlEngine, postings: str) -> None:
    """Insert version + 1 of the only stream with raw SQL."""
    new_id = "gen_random_uuid()" if sql_engine.name == "postgres" else "randomblob(16)"
    columns = "topic, occurred_at, appended_at, command_id, context"
    sql_engine.execute(
        f"INSERT INTO {sql_engine.prefix}events"
        f" (book_id, event_id, stream, version, {columns}, postings, payload)"
        f" SELECT book_id, {new_id}, stream, version + 1, {columns}, %s, payload"
        f" FROM {sql_engine.prefix}events ORDER BY version DESC LIMIT 1",
        (postings,),
    )


@pytest.fixture
def filled(sql_engine: SqlEngine) -> EventStore:
    store = sql_engine.open()
    fill(store, "s/1", range(1, 301), per_append=300)
    return store


def test_refuses_unbalanced_postings(sql_engine: SqlEngine) -> None:
    """Money from nothing, written by a script, a bug or a newer process."""
    store = sql_engine.open()
    store.append(one("k", event("s/1", 1, postings=BALANCED)))
    accepted = []
    for case, postings in UNBALANCED.items():
        try:
            insert(sql_engine, postings)
            accepted.append(case)
        except sql_engine.error:
            pass
    assert accepted == []
    for postings in BALANCED_ENTRIES.values():
        insert(sql_engine, postings)
    assert len(store.load({"s/1": 0})) == 1 + len(BALANCED_ENTRIES)


COLUMNS = [
    "book_id",
    "event_id",
    "stream",
    "version",
    "topic",
    "occurred_at",
    "appended_at",
    "command_id",
    "context",
    "postings",
    "payload",
]


@pytest.mark.parametrize("column", COLUMNS)
def test_refuses_to_update_any_column(sql_engine: SqlEngine, column: str) -> None:
    """A correction in place, by whoever owns the tables."""
    store = sql_engine.open()
    fill(store, "s/1", range(1, 3))
    with pytest.raises(sql_engine.error):
        sql_engine.execute(f"UPDATE {sql_engine.prefix}events SET {column} = {column}")


@pytest.mark.parametrize("table", ["events", "log", "tiles"])
def test_refuses_to_delete(sql_engine: SqlEngine, filled: EventStore, table: str) -> None:
    """History that becomes shorter."""
    before = everything(filled)
    name = f"{sql_engine.prefix}{table}"
    statements = [f"DELETE FROM {name}", f"DELETE FROM {name} WHERE book_id = 1"]
    if sql_engine.name == "postgres":
        statements += [f"TRUNCATE {name}", f"TRUNCATE {name} CASCADE"]
    for statement in statements:
        with pytest.raises(sql_engine.error):
            sql_engine.execute(statement)
    assert everything(filled) == before
    assert len(filled.tiles(1)) == 1


@pytest.mark.parametrize(
    "update",
    [
        "log SET position = position + 1000",
        "log SET recorded_at = recorded_at",
        "log SET leaf_hash = leaf_hash",
        "tiles SET root = root",
    ],
)
def test_refuses_to_update_the_log(sql_engine: SqlEngine, filled: EventStore, update: str) -> None:
    """A log whose order or hashes are set to suit."""
    before = filled.leaf_hashes(0, 1000)
    with pytest.raises(sql_engine.error):
        sql_engine.execute(f"UPDATE {sql_engine.prefix}{update}")
    assert filled.leaf_hashes(0, 1000) == before
