"""What every store of work does: once, in order, by one at a time, and never without a trace."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from orderledger.ledger.ports import EventStore
from orderledger.ledger.stores.works import work_of
from orderledger.ledger.work_ports import (
    Heartbeat,
    Lane,
    NewWork,
    Outcome,
    ReactorCheckpoint,
    Work,
    WorkStatus,
    WorkStore,
)
from tests.contract.engines import SqlEngine

NOW = datetime(2026, 3, 1, 12, 0, 0, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.fixture
def work(store: EventStore) -> Iterator[WorkStore]:
    """The work of an empty book on every engine."""
    opened = work_of(store)
    yield opened
    opened.close()


def new(
    key: str, *streams: str, lane: Lane = Lane.OUTBOX, due_at: datetime = NOW, payload: str = "{}"
) -> NewWork:
    return NewWork(
        lane=lane,
        key=key,
        kind="command",
        payload=payload,
        due_at=due_at,
        created_at=NOW,
        streams=streams,
    )


def take(
    work: WorkStore,
    owner: str = "me",
    *,
    lane: Lane = Lane.OUTBOX,
    now: datetime = NOW,
    limit: int = 10,
) -> list[Work]:
    return list(work.lease(lane, owner, now, now + 30 * SECOND, limit=limit))


def done(at: datetime = NOW) -> Outcome:
    return Outcome(status=WorkStatus.DONE, at=at, result='{"a": 1}')


def test_work_is_written_once(work: WorkStore) -> None:
    """Catches a second effect of one event, or one lane's key that hides another's."""
    assert work.put([new("a"), new("b", payload='{"x": "é"}')]) == 2
    assert work.put([new("a", payload='{"other": 1}')]) == 0
    assert work.put([new("a"), new("c"), new("a", lane=Lane.QUEUE)]) == 2
    found = work.list_work(Lane.OUTBOX, [WorkStatus.WAITING])
    assert [one.key for one in found] == ["a", "b", "c"]
    assert [one.payload for one in found] == ["{}", '{"x": "é"}', "{}"]
    assert [one.number for one in found] == sorted(one.number for one in found)
    assert work.find(Lane.TIMER, "a") is None
    assert work.list_work(Lane.OUTBOX, [WorkStatus.WAITING], after=found[0].number, limit=1) == [
        found[1]
    ]


def test_a_lease_is_one_owners_until_it_runs_out(work: WorkStore) -> None:
    """Catches work that two do at once, or that a dead worker keeps for ever."""
    work.put([new("a"), new("later", due_at=NOW + 60 * SECOND)])
    (mine,) = take(work, "me")
    assert (mine.owner, mine.attempts, mine.leased_until) == ("me", 1, NOW + 30 * SECOND)
    assert take(work, "you", now=NOW + 29 * SECOND) == []
    assert work.renew(mine, NOW + 40 * SECOND)
    assert take(work, "you", now=NOW + 39 * SECOND) == []
    (yours,) = take(work, "you", now=NOW + 40 * SECOND)
    assert (yours.key, yours.attempts) == ("a", 2)
    assert not work.renew(mine, NOW + 90 * SECOND)
    assert not work.conclude(mine, done())
    assert work.conclude(yours, done())
    assert not work.conclude(yours, done())
    found = work.find(Lane.OUTBOX, "a")
    assert found is not None
    assert (found.status, found.owner, found.result) == (WorkStatus.DONE, "", '{"a": 1}')
    assert found.finished_at == NOW
    assert [one.key for one in take(work, "me", now=NOW + 60 * SECOND)] == ["later"]


def test_what_names_a_common_stream_waits_for_the_earlier(work: WorkStore) -> None:
    """Catches a capture that overtakes its authorisation, or a stream that stays blocked."""
    work.put(
        [
            new("1", "payment-p"),
            new("2", "order-o", "payment-p"),
            new("3", "order-o"),
            new("4", "order-x"),
            new("5", "payment-p", lane=Lane.QUEUE),
        ]
    )
    first = take(work)
    assert [one.key for one in first] == ["1", "4"]
    assert [one.key for one in take(work, lane=Lane.QUEUE)] == ["5"]
    again = Outcome(status=WorkStatus.WAITING, at=NOW, due_at=NOW + SECOND, error="not now")
    assert work.conclude(first[0], again)
    assert take(work) == []
    (first_again,) = take(work, now=NOW + SECOND)
    assert (first_again.key, first_again.error, first_again.attempts) == ("1", "not now", 2)
    dead = Outcome(status=WorkStatus.DEAD, at=NOW, error="never")
    assert work.conclude(first_again, dead)
    (second,) = take(work)
    assert second.key == "2"
    assert work.conclude(second, done())
    assert [one.key for one in take(work)] == ["3"]


def test_dead_work_is_redriven_or_discarded(work: WorkStore) -> None:
    """Catches a dead letter that is lost, tried again by itself, or given up without a trace."""
    work.put([new("a", "order-o"), new("b"), new("c", "order-o")])
    for one in take(work):
        status = WorkStatus.DEAD if one.key == "a" else WorkStatus.REFUSED
        outcome = Outcome(status=status, at=NOW, error="no", is_refusal=one.key == "b")
        assert work.conclude(one, outcome)
    (third,) = take(work)
    assert third.key == "c"
    assert work.conclude(third, done())
    depth = work.depth(Lane.OUTBOX, NOW)
    assert (depth.waiting, depth.dead, depth.refused) == (0, 1, 1)
    assert take(work, now=NOW + timedelta(days=9)) == []
    assert not work.redrive(Lane.OUTBOX, "c", NOW)
    assert not work.discard(Lane.OUTBOX, "c", "no", NOW)
    assert work.redrive(Lane.OUTBOX, "a", NOW)
    assert work.redrive(Lane.OUTBOX, "b", NOW)
    assert not work.redrive(Lane.OUTBOX, "b", NOW)
    work.put([new("d", "order-o")])
    taken = take(work)
    assert [(one.key, one.attempts, one.refusals) for one in taken] == [("a", 1, 0), ("b", 1, 1)]
    for one in taken:
        assert work.conclude(one, Outcome(status=WorkStatus.DEAD, at=NOW, error="still no"))
    assert work.discard(Lane.OUTBOX, "a", "the shop is closed", NOW)
    assert not work.redrive(Lane.OUTBOX, "a", NOW)
    found = work.find(Lane.OUTBOX, "a")
    assert found is not None
    assert (found.status, found.error) == (WorkStatus.DISCARDED, "still no")
    assert "the shop is closed" in found.result
    assert [one.key for one in take(work)] == ["d"]


def test_the_depth_of_a_lane(work: WorkStore) -> None:
    """Catches a status that hides what is overdue, taken by a dead worker, or not due yet."""
    assert work.depth(Lane.TIMER, NOW).oldest_due_at is None
    early = NOW - 60 * SECOND
    work.put([new("a", lane=Lane.TIMER, due_at=early), new("b", lane=Lane.TIMER)])
    work.put([new("c", lane=Lane.TIMER, due_at=NOW + SECOND), new("x")])
    depth = work.depth(Lane.TIMER, NOW)
    assert (depth.waiting, depth.due, depth.oldest_due_at) == (3, 2, early)
    take(work, lane=Lane.TIMER, limit=1)
    depth = work.depth(Lane.TIMER, NOW)
    assert (depth.waiting, depth.due, depth.leased, depth.oldest_due_at) == (3, 1, 1, NOW)
    depth = work.depth(Lane.TIMER, NOW + 30 * SECOND)
    assert (depth.due, depth.leased, depth.expired) == (3, 0, 1)


def checkpoint(position: int, leaf: bytes = b"l") -> ReactorCheckpoint:
    return ReactorCheckpoint(
        reactor="r", position=position, leaf_hash=leaf, started_at_position=2, moved_at=NOW
    )


def test_effects_and_checkpoint_are_one(work: WorkStore) -> None:
    """Catches an effect without its checkpoint (done twice), or the reverse (never done)."""
    begun = work.start_reactor(checkpoint(2))
    assert work.start_reactor(checkpoint(9)) == begun == checkpoint(2)
    assert work.advance_reactor(begun, checkpoint(5), [new("a"), new("b")])
    assert not work.advance_reactor(begun, checkpoint(6), [new("c")])
    assert work.find(Lane.OUTBOX, "c") is None
    assert not work.advance_reactor(checkpoint(5, b"other"), checkpoint(6), [new("c")])
    assert work.advance_reactor(checkpoint(5), checkpoint(7), [new("a"), new("d")])
    assert work.reactors() == {"r": checkpoint(7)}
    keys = [one.key for one in work.list_work(Lane.OUTBOX, [WorkStatus.WAITING])]
    assert keys == ["a", "b", "d"]


def test_heartbeats_keep_the_latest(work: WorkStore) -> None:
    """Catches a status that shows a worker that died long ago as alive, or two of one part."""
    work.beat(Heartbeat(part="queue", owner="a", seen_at=NOW))
    work.beat(Heartbeat(part="outbox", owner="a", seen_at=NOW, problem="down"))
    work.beat(Heartbeat(part="queue", owner="b", seen_at=NOW + SECOND))
    assert work.heartbeats() == [
        Heartbeat(part="outbox", owner="a", seen_at=NOW, problem="down"),
        Heartbeat(part="queue", owner="b", seen_at=NOW + SECOND),
    ]


def test_many_workers_take_each_piece_once(work: WorkStore) -> None:
    """Catches two workers that take the same work, or that wait for each other's locks."""
    work.put([new(f"k{number}", f"order-{number % 20}") for number in range(120)])

    def run(owner: str) -> list[str]:
        mine: list[str] = []
        while True:
            taken = take(work, owner, limit=7)
            for one in taken:
                assert work.conclude(one, done())
                mine.append(one.key)
            if not taken and not work.depth(Lane.OUTBOX, NOW).waiting:
                return mine

    with ThreadPoolExecutor(4) as pool:
        shares = list(pool.map(run, ["a", "b", "c", "d"]))
    keys = [key for share in shares for key in share]
    assert sorted(keys) == sorted(f"k{number}" for number in range(120))
    finished = work.list_work(Lane.OUTBOX, [WorkStatus.DONE])
    assert {one.attempts for one in finished} == {1}


def test_books_do_not_see_each_other(sql_engine: SqlEngine) -> None:
    """Catches work of one book that is done in another."""
    mine, yours = work_of(sql_engine.open("a")), work_of(sql_engine.open("b"))
    mine.put([new("k", "order-o")])
    yours.put([new("k", "order-o"), new("later", "order-o")])
    assert [one.key for one in take(mine)] == ["k"]
    assert [one.key for one in take(yours)] == ["k"]
    assert mine.depth(Lane.OUTBOX, NOW).waiting == 1
    assert mine.reactors() == {}
    mine.close()
    yours.close()


@pytest.mark.parametrize("column", ["key", "payload", "origin", "kind", "created_at", "lane"])
def test_what_is_to_be_done_never_changes(sql_engine: SqlEngine, column: str) -> None:
    """Catches an outbox that can be rewritten, so that an effect no longer traces to its event."""
    work = work_of(sql_engine.open())
    work.put([new("k")])
    value = "queue" if column == "lane" else "2026-01-01T00:00:00.000000+00:00"
    with pytest.raises(sql_engine.error, match="never"):
        sql_engine.execute(f"UPDATE {sql_engine.prefix}work SET {column} = %s", [value])
    with pytest.raises(sql_engine.error, match="never"):
        sql_engine.execute(f"DELETE FROM {sql_engine.prefix}work")
    work.close()
