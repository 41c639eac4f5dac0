"""Appending: what is written is what was given, or nothing is."""

from datetime import timedelta
from uuid import UUID

import pytest

from orderledger.ledger.codec import key_hash
from orderledger.ledger.errors import (
    IntegrityViolation,
    InvalidInput,
    StorageError,
    UnbalancedEntry,
)
from orderledger.ledger.ports import AppendConflict, EventStore, LoadedEvent
from tests.contract.batches import (
    BALANCED,
    START,
    batch,
    command,
    event,
    everything,
    fill,
    one,
    settle,
)
from tests.contract.engines import Engine


def test_stores_every_column(store: EventStore) -> None:
    """A column that is swapped, cut or converted on its way to the database and back."""
    new = event("order/1", 1, postings=BALANCED, payload='{"text":"Zoë, 東京 \\u0001 🎉"}')
    append = command("k1", new)
    store.append(batch(append))
    (stored,) = everything(store)
    assert (stored.position, stored.event_id, stored.stream) == (1, new.event_id, "order/1")
    assert (stored.version, stored.topic, stored.payload) == (1, new.topic, new.payload)
    assert (stored.occurred_at, stored.appended_at) == (new.occurred_at, START)
    assert (stored.command_id, stored.context) == (append.command_id, append.context)
    assert stored.postings == BALANCED
    (loaded,) = store.load({"order/1": 0})
    assert loaded == LoadedEvent.of(stored)


def test_reports_where_the_batch_went(store: EventStore) -> None:
    """A receipt whose position or time is that of another event."""
    fill(store, "order/0", range(1, 4))
    appended = store.append(
        batch(
            command("k1", event("order/1", 1), event("order/2", 1)),
            command("k2", event("order/1", 2)),
        )
    )
    events = everything(store)
    assert appended.first_position == 4
    assert appended.recorded_at == events[3].recorded_at
    assert [(one.stream, one.version) for one in events[3:]] == [
        ("order/1", 1),
        ("order/2", 1),
        ("order/1", 2),
    ]
    times = [one.recorded_at for one in events[3:]]
    assert [(time - times[0]).total_seconds() for time in times if time and times[0]] == [
        0,
        0.000001,
        0.000002,
    ]


@pytest.mark.parametrize(
    ("version", "actual"), [(1, 3), (3, 3), (5, 3), (9, 3)], ids=["first", "taken", "gap", "far"]
)
def test_refuses_another_version(store: EventStore, version: int, actual: int) -> None:
    """A lost update, or a stream with a hole."""
    fill(store, "order/1", range(1, 4))
    with pytest.raises(AppendConflict) as caught:
        store.append(one("k", event("order/2", 1), event("order/1", version)))
    assert caught.value.moved == {"order/1": actual}
    assert caught.value.duplicates == frozenset()
    assert len(everything(store)) == 3
    assert store.commands([key_hash("main", "k")]) == {}


def test_refuses_a_new_stream_that_starts_late(store: EventStore) -> None:
    """A stream without its first event."""
    with pytest.raises(AppendConflict) as caught:
        store.append(one("k", event("order/1", 2)))
    assert caught.value.moved == {"order/1": 0}
    store.append(one("k", event("order/1", 1)))


def test_a_stream_may_start_at_version_zero(store: EventStore) -> None:
    """An adapter for aggregates whose first version is 0 cannot write."""
    store.append(one("a", event("aggregate/1", 0)))
    store.append(one("b", event("aggregate/1", 1), event("aggregate/1", 2)))
    with pytest.raises(AppendConflict) as caught:
        store.append(one("c", event("aggregate/1", 0)))
    assert caught.value.moved == {"aggregate/1": 2}
    assert [found.version for found in store.load({"aggregate/1": -1})] == [0, 1, 2]


def test_two_commands_of_a_batch_want_one_version(store: EventStore) -> None:
    """A group commit in which the second of two racing callers overwrites the first."""
    with pytest.raises(AppendConflict) as caught:
        store.append(batch(command("a", event("s/1", 1)), command("b", event("s/1", 1))))
    assert caught.value.moved == {"s/1": 0}
    assert everything(store) == []


def test_reports_taken_keys_exactly(store: EventStore) -> None:
    """A group commit that cannot tell which caller lost, and drops all of them or none."""
    store.append(batch(command("a", event("s/1", 1)), command("b", event("s/2", 1))))
    with pytest.raises(AppendConflict) as caught:
        store.append(
            batch(
                command("c", event("s/3", 1)),
                command("b", event("s/4", 1)),
                command("d", event("s/5", 1)),
                command("a"),
            )
        )
    assert caught.value.duplicates == {key_hash("main", "a"), key_hash("main", "b")}
    assert caught.value.moved == {}
    assert len(everything(store)) == 2
    assert store.commands([key_hash("main", "c"), key_hash("main", "d")]) == {}


def test_reports_moved_streams_and_taken_keys_together(store: EventStore) -> None:
    """A retry that takes a round trip per kind of conflict, or never learns of one."""
    store.append(one("a", event("s/1", 1)))
    with pytest.raises(AppendConflict) as caught:
        store.append(batch(command("a", event("s/2", 1)), command("b", event("s/1", 1))))
    assert caught.value.duplicates == {key_hash("main", "a")}
    assert caught.value.moved == {"s/1": 1}


def test_one_key_twice_in_a_batch(store: EventStore) -> None:
    """Concurrent duplicates in one group commit, both executed."""
    with pytest.raises(AppendConflict) as caught:
        store.append(batch(command("a", event("s/1", 1)), command("a", event("s/2", 1))))
    assert caught.value.duplicates == {key_hash("main", "a")}
    assert everything(store) == []


def test_records_the_command(store: EventStore) -> None:
    """A replay that answers something else than the first execution did."""
    done = command("done", event("s/1", 1))
    refused = command("refused", refused=True)
    store.append(batch(done, refused))
    found = store.commands([done.key_hash, refused.key_hash, key_hash("main", "unknown")])
    assert set(found) == {done.key_hash, refused.key_hash}
    for append in (done, refused):
        record = found[append.key_hash]
        assert (record.key, record.command_id) == (append.key, append.command_id)
        assert (record.fingerprint, record.command) == (append.fingerprint, "Note")
        assert (record.refused, record.reply) == (append.refused, append.reply)
        assert record.appended_at == START
        assert record.appended_at.utcoffset() == timedelta(0)
        assert store.command(append.command_id) == record
    assert store.command(UUID(int=7)) is None
    assert len(everything(store)) == 1


def test_tells_every_refusal_once(engine: Engine) -> None:
    """An audit that leaves out a refusal behind the first page, or one that was archived."""
    store = engine.open()
    engine.open("other").append(batch(command("elsewhere", book="other", refused=True)))
    assert list(store.refusals()) == []
    made = [command(f"k{number}", refused=number % 2 == 0) for number in range(2_402)]
    store.append(batch(*made[:900]))
    store.archive_commands(START + timedelta(days=1), limit=600)
    store.append(batch(*made[900:]))
    wanted = {append.key for append in made if append.refused}
    found = list(store.refusals())
    assert len(found) == len(wanted) == 1_201
    assert {one.key for one in found} == wanted
    assert all(one.refused for one in found)
    archived = store.commands([made[0].key_hash])[made[0].key_hash]
    assert store.command(made[0].command_id) == archived


def test_a_refusal_alone_writes_no_event(store: EventStore) -> None:
    """A refused command that takes a position, or is not remembered."""
    appended = store.append(batch(command("no", refused=True)))
    assert (appended.first_position, appended.recorded_at) == (None, None)
    assert store.head().size == 0
    assert store.commands([key_hash("main", "no")])[key_hash("main", "no")].refused
    with pytest.raises(AppendConflict):
        store.append(batch(command("no", refused=True)))


def test_checks_streams_it_does_not_write(store: EventStore) -> None:
    """A decision on a stream that has changed, or has come to exist, since it was read."""
    store.append(one("a", event("policy/1", 1)))
    store.append(one("b", event("s/1", 1), checks={"policy/1": 1, "policy/2": 0}))
    with pytest.raises(AppendConflict) as caught:
        store.append(one("c", event("s/1", 2), checks={"policy/1": 0, "policy/2": 4}))
    assert caught.value.moved == {"policy/1": 1, "policy/2": 0}
    store.append(one("d", checks={"s/1": 1}))
    with pytest.raises(AppendConflict):
        store.append(one("e", checks={"s/1": 2}))
    assert len(store.load({"s/1": 0})) == 1


def test_checks_the_constraint_generation(store: EventStore) -> None:
    """A debit decided before its account was constrained, written after."""
    store.append(batch(command("a", event("s/1", 1)), generation=0))
    with pytest.raises(AppendConflict) as caught:
        store.append(batch(command("b", event("s/1", 2)), generation=1))
    assert caught.value.stale_constraints
    assert caught.value.moved == {}
    assert len(everything(store)) == 1


def test_amounts_are_exact_at_ten_to_the_24(store: EventStore) -> None:
    """An amount beyond 64 bits that is rounded, cut or summed inexactly."""
    big = 10**24
    text = (
        f"posted assets:bank:x EUR {big + 1}\n"
        f"posted equity:opening EUR -{big}\n"
        "posted income:fx_gain EUR -1"
    )
    store.append(one("a", event("s/1", 1, postings=text)))
    assert everything(store)[0].postings == text
    wrong = text.replace("EUR -1", "EUR -2")
    with pytest.raises((UnbalancedEntry, StorageError, IntegrityViolation)):
        store.append(one("b", event("s/1", 2, postings=wrong)))
    assert len(everything(store)) == 1


def test_unbalanced_postings_are_refused_whole(store: EventStore) -> None:
    """Half a batch that stays when one of its entries is refused."""
    bad = "posted assets:bank:x EUR 5\nposted equity:opening EUR -4"
    with pytest.raises((UnbalancedEntry, StorageError, IntegrityViolation)):
        store.append(
            batch(
                command("a", event("s/1", 1, postings=BALANCED)),
                command("b", event("s/2", 1, postings=bad)),
            )
        )
    assert everything(store) == []
    assert store.commands([key_hash("main", "a")]) == {}
    store.append(one("a", event("s/1", 1, postings=BALANCED)))


def test_an_event_id_is_used_once(store: EventStore) -> None:
    """Two events that one id stands for."""
    first = event("s/1", 1)
    store.append(one("a", first))
    again = event("s/2", 1)
    again = type(again)(first.event_id, "s/2", 1, again.topic, again.occurred_at, again.payload, "")
    with pytest.raises(StorageError):
        store.append(one("b", again))
    assert len(everything(store)) == 1


def test_books_are_independent(engine: Engine) -> None:
    """One tenant's stream, key, position or head that leaks into another's."""
    north, south = engine.open("north"), engine.open("south")
    fill(north, "order/1", range(1, 4))
    fill(south, "order/1", range(1, 3))
    for store, count in ((north, 3), (south, 2)):
        events = everything(store)
        assert [one.position for one in events] == list(range(1, count + 1))
        assert store.head().size == count
        assert len(store.leaf_hashes(0, 10)) == count
        assert [one.version for one in store.load({"order/1": 0})] == list(range(1, count + 1))
    assert north.leaf_hashes(0, 10)[:2] != south.leaf_hashes(0, 10)
    south.append(one("shared key", event("order/2", 1)))
    north.append(one("shared key", event("order/2", 1)))
    assert engine.open("empty").streams("") == []


def test_a_connection_of_another_kind_is_refused(store: EventStore) -> None:
    """An append that silently commits on its own instead of with the host."""
    with pytest.raises(InvalidInput):
        store.append(one("a", event("s/1", 1)), connection=object())
    settle(store)
    assert store.head().size == 0
