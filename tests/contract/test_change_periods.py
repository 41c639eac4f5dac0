"""Changing until when the books are closed while nobody writes."""

import threading
from datetime import UTC, datetime, timedelta

import msgspec
import psycopg
import pytest

from orderledger.ledger.ports import (
    AppendConflict,
    Batch,
    CutRequest,
    EarlyEntry,
    EventStore,
    LedgerCut,
    NewEvent,
)
from orderledger.ledger.stores.postgres import PostgresStore
from orderledger.ledger.stores.postgres_schema import migrate
from tests.contract.batches import (
    batch,
    command,
    event,
    everything,
    expected_leaf,
    one,
    settle,
)
from tests.contract.engines import Engine

END = datetime(2026, 4, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
TILL = "posted assets:bank:till EUR {0}\nposted equity:opening EUR -{0}"


def at(instant: datetime, name: str, postings: str) -> NewEvent:
    return msgspec.structs.replace(event(f"s/{name}", 1, postings=postings), occurred_at=instant)


def closed(
    store: EventStore, request: CutRequest, *, until: datetime | None = END, key: str = "close"
) -> LedgerCut:
    """Close the books and return what was seen at it."""
    seen: list[LedgerCut] = []

    def build(cut: LedgerCut) -> tuple[Batch, datetime | None]:
        seen.append(cut)
        return batch(command(key, event(f"periods/{key}", 1), book=store.book)), until

    appended = store.change_periods(request, build)
    assert appended.first_position == seen[-1].position + 1
    return seen[-1]


def test_the_sums_are_of_every_entry_before_the_instant(store: EventStore) -> None:
    """Catches an amount that is rounded, a boundary that is shifted, a layer that is mixed in."""
    entries = [
        at(END - _MICROSECOND, "1", TILL.format(10**24)),
        at(END, "2", TILL.format(7)),
        at(END - timedelta(days=900), "3", TILL.format(10**24 + 1)),
        at(END - timedelta(hours=1), "4", TILL.format(3).replace("posted", "held")),
        at(END - timedelta(hours=1), "5", TILL.format(4).replace("EUR", "JPY")),
        at(END - timedelta(hours=1), "6", TILL.format(4).replace("till", "till2")),
        at(
            END - timedelta(hours=1),
            "7",
            TILL.format(-4).replace("till", "till2").replace("--", ""),
        ),
    ]
    for number, new in enumerate(entries):
        store.append(one(f"k{number}", new))
    store.append(one("k", event("s/none", 1)))
    cut = closed(store, CutRequest(before=END))
    assert cut == LedgerCut(
        position=8,
        sums={
            ("assets:bank:till", "EUR", "posted"): 2 * 10**24 + 1,
            ("equity:opening", "EUR", "posted"): -(2 * 10**24 + 1),
            ("assets:bank:till", "EUR", "held"): 3,
            ("equity:opening", "EUR", "held"): -3,
            ("assets:bank:till", "JPY", "posted"): 4,
            ("equity:opening", "JPY", "posted"): -4,
        },
    )
    assert closed(store, CutRequest(), key="again") == LedgerCut(position=9, sums={})


def test_the_first_entry_before_an_instant(store: EventStore) -> None:
    """Catches a first period that leaves entries before it, or counts facts without money."""
    store.append(one("k0", at(END - timedelta(days=9), "0", "")))
    store.append(one("k1", at(END, "1", TILL.format(1))))
    assert closed(store, CutRequest(none_before=END)).early is None
    store.append(one("k2", at(END - _MICROSECOND, "2", TILL.format(1))))
    store.append(one("k3", at(END - timedelta(days=9), "3", TILL.format(1))))
    found = closed(store, CutRequest(before=END, none_before=END), key="again").early
    assert found == EarlyEntry(4, "s/2", END - _MICROSECOND)


def test_it_raises_the_generation_and_keeps_the_accounts(store: EventStore) -> None:
    """Catches a writer that goes on under what it has read before the close."""
    store.constrain("assets:bank:till", lambda _, g: one("constrain", event("account/1", 1)))
    before = store.constraints()
    assert before.closed_until is None
    closed(store, CutRequest(before=END))
    after = store.constraints()
    assert (after.generation, after.accounts) == (before.generation + 1, before.accounts)
    assert after.closed_until == END
    with pytest.raises(AppendConflict) as caught:
        store.append(batch(command("late", event("s/1", 1)), generation=before.generation))
    assert caught.value.stale_constraints
    store.constrain("assets:bank:other", lambda _, g: one("c2", event("account/2", 1)))
    assert store.constraints().closed_until == END
    closed(store, CutRequest(), until=None, key="reopen")
    assert store.constraints().closed_until is None
    assert store.constraints().generation == before.generation + 3


def test_a_refused_change_changes_nothing(store: EventStore) -> None:
    """Catches books that are closed although the command was refused or failed."""

    def fail(cut: LedgerCut) -> tuple[Batch, datetime | None]:
        raise LookupError("the decider refused")

    with pytest.raises(LookupError):
        store.change_periods(CutRequest(before=END), fail)
    refused = batch(command("refused", refused=True))
    store.change_periods(CutRequest(before=END), lambda _: (refused, END))
    store.append(one("k", event("s/1", 1)))
    for taken in (one("c", event("s/1", 1)), one("k", event("s/1", 2))):
        with pytest.raises(AppendConflict):
            store.change_periods(CutRequest(before=END), lambda _, new=taken: (new, END))  # type: ignore[misc]  # bound default
    assert store.constraints().generation == 0
    assert store.constraints().closed_until is None
    assert len(everything(store)) == 1


def test_books_close_apart(engine: Engine) -> None:
    """Catches sums, or a close, of another book in the same database."""
    main, other = engine.open(), engine.open("other")
    main.append(one("k", at(END - _MICROSECOND, "1", TILL.format(5))))
    other.append(batch(command("k", at(END - _MICROSECOND, "1", TILL.format(9)), book="other")))
    assert closed(main, CutRequest(before=END)).sums[("assets:bank:till", "EUR", "posted")] == 5
    assert other.constraints().closed_until is None
    cut = closed(other, CutRequest(before=END), until=END - _MICROSECOND)
    assert cut == LedgerCut(
        1,
        {("assets:bank:till", "EUR", "posted"): 9, ("equity:opening", "EUR", "posted"): -9},
    )
    assert main.constraints().closed_until == END


def test_an_event_may_have_a_context_of_its_own(store: EventStore) -> None:
    """Catches a context that is stored of one event and hashed of another, or spreads to all."""
    own = msgspec.structs.replace(event("s/1", 1), context='{"own":1}')
    store.append(batch(command("k1", own)))
    store.append(
        batch(
            command(
                "k2",
                event("s/2", 1),
                msgspec.structs.replace(own, stream="s/3", event_id=event("x", 1).event_id),
            )
        )
    )
    rows = everything(store)
    assert [row.context for row in rows] == ['{"own":1}', '{"actor":"tester"}', '{"own":1}']
    leaves = store.leaf_hashes(0, 3)
    assert [expected_leaf("main", row) for row in rows] == list(leaves)


@pytest.fixture
def postgres(pg_url: str) -> PostgresStore:
    migrate(pg_url)
    return PostgresStore(pg_url)


@pytest.mark.pg
def test_an_event_that_waits_far_behind_gets_its_position_before(
    postgres: PostgresStore, pg_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Catches an entry that is in the sums and whose position comes after the close.

    An append looks only at the last few thousand ids of what waits; an event of a long transaction
    has an old one.
    """
    with psycopg.connect(pg_url) as host:
        postgres.append(one("k", at(END - _MICROSECOND, "1", TILL.format(5))), connection=host)
        host.execute("SELECT setval('orderledger.pending_id', 10000000)")
    # As if it had committed just after the waiting events were placed, before the lock.
    monkeypatch.setattr(postgres, "sequence", lambda: 0)
    cut = closed(postgres, CutRequest(before=END))
    assert cut.position == 1
    assert cut.sums[("assets:bank:till", "EUR", "posted")] == 5
    assert [row.stream for row in postgres.read(0)] == ["s/1", "periods/close"]
    postgres.close()


@pytest.mark.pg
def test_a_change_waits_for_a_hosts_transaction(postgres: PostgresStore, pg_url: str) -> None:
    """Catches an entry that was appended before the close, commits after it, and is not in it."""
    found: list[LedgerCut] = []
    with psycopg.connect(pg_url) as host:
        postgres.append(one("k", at(END - _MICROSECOND, "1", TILL.format(5))), connection=host)
        closer = threading.Thread(
            target=lambda: found.append(closed(postgres, CutRequest(before=END)))
        )
        closer.start()
        # Longer than one try for the lock.
        closer.join(1)
        assert closer.is_alive()
        host.commit()
        closer.join(30)
    assert found[0].sums[("assets:bank:till", "EUR", "posted")] == 5
    settle(postgres)
    assert [row.stream for row in postgres.read(0)] == ["s/1", "periods/close"]
    postgres.close()
