"""The one verb, on every engine: results, refusals, replays, conflicts (C1, C3, C4, E3, E5)."""

import asyncio
import threading

import pytest

from orderledger.commands.account_commands import ConstrainAccount, RecordSettlement
from orderledger.commands.handle import Executor
from orderledger.commands.idempotency import reply_of
from orderledger.commands.requests import SYSTEM, Actor, Envelope, Receipt, Source
from orderledger.ledger import streams
from orderledger.ledger.account_events import ConstraintKind
from orderledger.ledger.codec import key_hash
from orderledger.ledger.errors import (
    ConcurrencyConflict,
    IdempotencyConflict,
    InvalidCommand,
    LimitExceeded,
    NotFound,
    OrderLedgerError,
    Reason,
    Rejected,
    Unavailable,
    UnbalancedEntry,
)
from tests.commands.conftest import Opener
from tests.commands.entries import BANK, post, reverse, with_key


def test_a_receipt_tells_where_the_events_are(executor: Executor, open_store: Opener) -> None:
    """Catches a receipt whose positions, versions or ids are not those of the rows."""
    executor.execute(with_key("a", post("e1")))
    receipt = executor.execute(with_key("b", reverse("e1", "r1", 40)))
    assert receipt.streams == {"journal-e1": 2}
    assert receipt.positions == (2,)
    assert not receipt.replayed
    row = open_store().read(1)[0]
    assert row.event_id == receipt.event_ids[0]
    assert row.recorded_at == receipt.recorded_at
    assert row.command_id == receipt.command_id


def test_the_same_key_and_command_give_the_stored_result(
    executor: Executor, open_store: Opener
) -> None:
    """Catches a retry that writes twice, in the same process and after a restart."""
    first = executor.execute(with_key("k", post("e1")))
    again = executor.execute(with_key("k", post("e1")))
    elsewhere = Executor(open_store()).execute(with_key("k", post("e1")))
    for one in (again, elsewhere):
        assert one.replayed
        assert (one.command_id, one.event_ids, one.positions, one.recorded_at, one.streams) == (
            first.command_id,
            first.event_ids,
            first.positions,
            first.recorded_at,
            first.streams,
        )
    assert open_store().head().size == 1


def test_the_same_key_with_another_command_names_the_fields(executor: Executor) -> None:
    """Catches a key that silently covers another intention."""
    executor.execute(with_key("k", post("e1")))
    with pytest.raises(IdempotencyConflict) as other:
        executor.execute(with_key("k", post("e1", 7, "closing")))
    assert other.value.fields == ("description", "postings")
    with pytest.raises(IdempotencyConflict) as kind:
        executor.execute(with_key("k", reverse("e1", "r", 1)))
    assert kind.value.fields == ("command",)


def test_a_refusal_is_recorded_and_replayed_even_when_it_would_now_succeed(
    executor: Executor, open_store: Opener
) -> None:
    """Catches a refused command that comes back to life on a retry."""
    executor.execute(with_key("post", post("e1", 100)))
    with pytest.raises(Rejected) as first:
        executor.execute(with_key("k", reverse("e1", "r1", 150)))
    with pytest.raises(Rejected) as again:
        executor.execute(with_key("k", reverse("e1", "r1", 150)))
    assert (first.value.reason, first.value.message, dict(first.value.facts)) == (
        again.value.reason,
        again.value.message,
        dict(again.value.facts),
    )
    record = open_store().commands([key_hash("main", "k")])[key_hash("main", "k")]
    assert record.refused
    reply = reply_of(record)
    assert reply.streams == {"journal-e1": 1}, "the version that it was decided on"
    assert reply.context is not None
    assert (reply.context.actor, reply.context.key) == (SYSTEM, "k"), "who was refused"
    assert open_store().head().size == 1


def test_not_found_is_recorded_too(executor: Executor) -> None:
    """Catches a missing entry reported differently on the retry."""
    with pytest.raises(NotFound):
        executor.execute(with_key("k", reverse("e1", "r1", 1)))
    executor.execute(with_key("post", post("e1")))
    with pytest.raises(NotFound):
        executor.execute(with_key("k", reverse("e1", "r1", 1)))


def test_malformed_input_leaves_no_record(executor: Executor, open_store: Opener) -> None:
    """Catches a typing error that burns the caller's key."""
    bad = post("e1")
    unbalanced = type(bad)(
        entry_id="e1", description="x", postings=(bad.postings[0], bad.postings[0])
    )
    with pytest.raises(UnbalancedEntry):
        executor.execute(Envelope(command=unbalanced, key="k"))
    assert not open_store().commands([key_hash("main", "k")])
    assert executor.execute(with_key("k", post("e1"))).streams == {"journal-e1": 1}


def test_a_key_has_a_length(executor: Executor) -> None:
    """Catches an unbounded key in an index."""
    with pytest.raises(LimitExceeded):
        executor.execute(with_key("k" * 256, post("e1")))
    assert executor.execute(with_key("k" * 255, post("e1"))).streams == {"journal-e1": 1}


def test_expected_versions_are_exact(executor: Executor, open_store: Opener) -> None:
    """Catches a lost update where the caller said what it had seen (E3)."""
    executor.execute(with_key("a", post("e1")))
    stale = Envelope(command=reverse("e1", "r1", 1), key="b", expected={"journal-e1": 0})
    with pytest.raises(ConcurrencyConflict) as conflict:
        executor.execute(stale)
    assert (conflict.value.stream, conflict.value.expected, conflict.value.actual) == (
        "journal-e1",
        0,
        1,
    )
    assert not open_store().commands([key_hash("main", "b")])
    right = Envelope(command=reverse("e1", "r1", 1), key="b", expected={"journal-e1": 1})
    assert executor.execute(right).streams == {"journal-e1": 2}
    assert executor.execute(right).replayed, "a stored reply comes before the expectation"


def test_expected_of_another_stream_is_checked_but_not_written(executor: Executor) -> None:
    """Catches a check-only stream that is forgotten (E3)."""
    executor.execute(with_key("a", post("e1")))
    with pytest.raises(ConcurrencyConflict):
        executor.execute(Envelope(command=post("e2"), key="b", expected={"journal-e1": 2}))
    executor.execute(Envelope(command=post("e2"), key="b", expected={"journal-e1": 1}))


def test_concurrent_duplicates_execute_once(executor: Executor, open_store: Opener) -> None:
    """Catches a double execution between two callers of one key (E5)."""
    results: list[Receipt] = []

    def call() -> None:
        results.append(executor.execute(with_key("same", post("e1"))))

    threads = [threading.Thread(target=call) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({receipt.event_ids for receipt in results}) == 1
    assert sum(not receipt.replayed for receipt in results) == 1
    assert open_store().head().size == 1


def test_two_processes_worth_of_executors_share_one_stream(
    executor: Executor, open_store: Opener
) -> None:
    """Catches a stale cache that decides twice on the same money (hard case 10)."""
    other = Executor(open_store())
    executor.execute(with_key("post", post("e1", 100)))
    outcomes: list[str] = []

    def refund(one: Executor, name: str) -> None:
        try:
            one.execute(with_key(name, reverse("e1", name, 60)))
            outcomes.append("done")
        except Rejected as refusal:
            outcomes.append(refusal.reason.value)

    threads = [
        threading.Thread(target=refund, args=(one, f"r{index}"))
        for index, one in enumerate((executor, other) * 4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count("done") == 1
    assert set(outcomes) == {"done", Reason.ALREADY_REVERSED.value}


def test_execute_many_returns_results_and_errors_in_order(executor: Executor) -> None:
    """Catches one bad command that takes its neighbours down."""
    results = executor.execute_many(
        [
            with_key("1", post("e1")),
            with_key("2", reverse("nothing", "r", 1)),
            with_key("3", reverse("e1", "r", 30)),
            with_key("1", post("e1")),
        ]
    )
    assert isinstance(results[0], Receipt)
    assert isinstance(results[1], NotFound)
    assert isinstance(results[2], Receipt)
    assert results[2].streams == {"journal-e1": 2}
    assert isinstance(results[3], Receipt)
    assert results[3].replayed
    assert results[3].event_ids == results[0].event_ids
    assert executor.execute_many([]) == []


def test_an_atomic_group_is_written_whole_or_not_at_all(
    executor: Executor, open_store: Opener
) -> None:
    """Catches half a group on the book (E4)."""
    with pytest.raises(Rejected) as refusal:
        executor.execute_atomic(
            [with_key("1", post("e1", 10)), with_key("2", reverse("e1", "r", 11))]
        )
    assert refusal.value.facts["index"] == 1
    with pytest.raises(InvalidCommand) as malformed:
        executor.execute_atomic([with_key("1", post("e1")), with_key("2", post("no id!"))])
    assert malformed.value.facts["index"] == 1
    assert open_store().head().size == 0
    assert not open_store().commands([key_hash("main", "1"), key_hash("main", "2")])
    group = [with_key("1", post("e1", 10)), with_key("2", reverse("e1", "r", 10))]
    receipts = executor.execute_atomic(group)
    assert [receipt.positions for receipt in receipts] == [(1,), (2,)]
    assert [one.replayed for one in executor.execute_atomic(group)] == [True, True]
    assert open_store().head().size == 2


def test_a_rehearsal_tells_the_outcome_and_writes_nothing(
    executor: Executor, open_store: Opener
) -> None:
    """Catches a dry run that leaves a trace or misjudges a later command."""
    outcomes = executor.rehearse(
        [
            with_key("1", post("e1", 10)),
            with_key("2", reverse("e1", "r", 4)),
            with_key("3", reverse("e1", "s", 7)),
        ]
    )
    assert [type(outcome) for outcome in outcomes] == [Receipt, Receipt, Rejected]
    assert open_store().head().size == 0
    assert not open_store().commands([key_hash("main", "3")])


def test_futures_and_asyncio_give_the_same_receipts(executor: Executor) -> None:
    """Catches a future that never resolves or resolves with another's result."""
    futures = [executor.submit(with_key(f"f{i}", post(f"f{i}"))) for i in range(50)]
    assert [f.result(30).streams for f in futures] == [{f"journal-f{i}": 1} for i in range(50)]

    async def both() -> list[Receipt | BaseException]:
        return list(
            await asyncio.gather(
                executor.execute_async(with_key("a", post("a"))),
                executor.execute_async(with_key("b", reverse("none", "r", 1))),
                return_exceptions=True,
            )
        )

    good, bad = asyncio.run(both())
    assert isinstance(good, Receipt)
    assert isinstance(bad, NotFound)


def test_the_envelope_stands_in_every_row(executor: Executor, open_store: Opener) -> None:
    """Catches an actor or key that an auditor cannot find with the event (E7)."""
    executor.execute(
        Envelope(
            command=post("e1"),
            key="k",
            actor=Actor("staff", "7", on_behalf_of="buyer-3"),
            correlation_id="checkout-9",
            causation_id="c",
            source=Source.GATEWAY,
            provider_event_id="evt_1",
        )
    )
    context = open_store().read(0)[0].context
    assert context == (
        '{"actor":{"type":"staff","id":"7","on_behalf_of":"buyer-3"},"key":"k",'
        '"source":"gateway","correlation_id":"checkout-9","causation_id":"c",'
        '"provider_event_id":"evt_1"}'
    )


def test_commands_without_a_key_always_run(executor: Executor, open_store: Opener) -> None:
    """Catches two keyless commands taken for one."""
    executor.execute(Envelope(command=post("e1", 100)))
    for name in ("r1", "r2"):
        executor.execute(Envelope(command=reverse("e1", name, 10)))
    assert open_store().head().size == 3


def test_a_constrained_account_is_kept_within_its_limit(
    executor: Executor, open_store: Opener
) -> None:
    """Catches an overdraft by concurrent entries, from two processes, after a late constraint."""
    other = Executor(open_store())
    other.execute(with_key("warm", post("warm", 1)))
    executor.execute(with_key("e1", post("e1", 99)))
    limit = ConstrainAccount(account=BANK, kind=ConstraintKind.NO_CREDIT_BALANCE)
    executor.execute(Envelope(command=limit, key="limit"))
    assert executor.execute(Envelope(command=limit, key="limit")).replayed
    results: list[Receipt | OrderLedgerError] = []

    def withdraw(one: Executor, index: int) -> None:
        try:
            results.append(one.execute(with_key(f"w{index}", post(f"w{index}", -30))))
        except OrderLedgerError as error:
            results.append(error)

    threads = [
        threading.Thread(target=withdraw, args=(one, index))
        for index, one in enumerate((executor, other) * 4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused = [one for one in results if isinstance(one, Rejected)]
    assert sum(isinstance(one, Receipt) for one in results) == 3
    assert {one.reason for one in refused} == {Reason.INSUFFICIENT_FUNDS}
    assert len(refused) == 5
    account = other.state(streams.account(BANK)).state
    assert account.balance("GBP") == 10


def test_constraining_cannot_share_a_transaction(executor: Executor) -> None:
    """Catches a constraint set from a balance that an open batch is changing."""
    limit = ConstrainAccount(account=BANK, kind=ConstraintKind.NO_CREDIT_BALANCE)
    (refused,) = executor.execute_many([Envelope(command=limit, key="limit")])
    assert isinstance(refused, InvalidCommand)
    with pytest.raises(InvalidCommand):
        executor.submit(Envelope(command=limit, key="limit"))


def test_a_closed_executor_refuses(executor: Executor) -> None:
    """Catches a command that is queued and never run."""
    executor.close()
    with pytest.raises(Unavailable):
        executor.execute(with_key("k", post("e1")))


def test_an_observation_breaks_a_constraint_with_an_anomaly_instead_of_a_refusal(
    executor: Executor, open_store: Opener
) -> None:
    """Catches money that moved at the provider and is missing from the book."""
    executor.execute(with_key("e1", post("e1", 50)))
    limit = ConstrainAccount(account="assets:psp:adyen", kind=ConstraintKind.NO_CREDIT_BALANCE)
    executor.execute(Envelope(command=limit, key="limit"))
    settled = RecordSettlement(
        entry_id="s1", provider="adyen", bank="main", gross=100, fee=3, currency="GBP"
    )
    receipt = executor.execute(Envelope(command=settled, key="s1"))
    assert receipt.streams == {"journal-s1": 2, "account-assets:psp:adyen": 2}
    topics = [row.topic for row in open_store().read(2)]
    assert topics == ["journal.entry_posted.v1", "anomaly.raised.v2", "account.moved.v1"]
    account = executor.state(streams.account("assets:psp:adyen")).state
    assert account.balance("GBP") == -100


def test_a_cancelled_wait_harms_neither_the_command_nor_its_neighbours(executor: Executor) -> None:
    """Catches a task that is cancelled while its command is queued, and fails a whole batch."""

    async def run() -> list[Receipt]:
        tasks = [
            asyncio.ensure_future(executor.execute_async(with_key(f"k{i}", post(f"e{i}"))))
            for i in range(40)
        ]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        return list(await asyncio.gather(*tasks[1::2]))

    assert [receipt.streams for receipt in asyncio.run(run())] == [
        {f"journal-e{i}": 1} for i in range(1, 40, 2)
    ]
    future = executor.submit(with_key("f", post("f")))
    assert not future.cancel()
    assert future.result(30).streams == {"journal-f": 1}
