"""
Two executors on one database, racing with commands that contend (invariant 44).

Each round starts a fresh order, lets two threads with a store each execute one command at the same
time, and checks that the outcomes and the states are those of one of the two serial orders, played
on a book in memory.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from orderledger.commands import model as m
from orderledger.commands.decision import Command
from orderledger.ledger.errors import OrderLedgerError, Rejected
from orderledger.ledger.order_content import ItemUpdate
from orderledger.ledger.order_events import MovedLine, RefundSource
from orderledger.ledger.payment_operations import OperationStatus
from orderledger.ledger.ports import EventStore
from orderledger.ledger.stores.postgres import PostgresStore
from orderledger.ledger.stores.postgres_schema import migrate
from orderledger.ledger.stores.sqlite import SqliteStore
from orderledger.replay.verify import verify
from tests.model.shop import Shop, balances_of, item

Prepare = Callable[[Shop, str], None]
Pair = Callable[[str], tuple[Command, Command]]


def _authorised(shop: Shop, name: str) -> None:
    """Give order ``name`` two units at 50.00, confirmed, and payment ``name`` authorised."""
    shop.place(item("a", "50", quantity=2), order_id=name)
    shop.initiate(10_000, name, order_id=name)
    shop.run(m.Authorise(payment_id=name, op_id="auth", amount=10_000, currency="USD"))
    shop.succeed("auth", name)


def _captured(shop: Shop, name: str) -> None:
    _authorised(shop, name)
    shop.run(m.Capture(payment_id=name, op_id="cap", amount=10_000, currency="USD"))
    shop.succeed("cap", name)


def _granted(shop: Shop, name: str) -> None:
    """Besides, two grants of 60.00 would be too much; 60.00 and 40.00 are allocated."""
    _captured(shop, name)
    shop.grant("r1", 6_000, order_id=name)
    shop.run(m.AllocateRefund(order_id=name, refund_id="r1"))


def _proposed(shop: Shop, name: str) -> None:
    _captured(shop, name)
    actions = (ItemUpdate("a", 1),)
    shop.run(m.ProposeOrderChange(order_id=name, change_id="ch", base_version=1, actions=actions))


def _packed(shop: Shop, name: str) -> None:
    _captured(shop, name)
    shop.run(
        m.CreateFulfilment(
            fulfilment_id=name, order_id=name, lines=(MovedLine("a", 2),), location="here"
        )
    )


def _capture(name: str, op_id: str, amount: int = 6_000) -> m.Capture:
    return m.Capture(payment_id=name, op_id=op_id, amount=amount, currency="USD")


def _cancel(name: str) -> m.CancelOrder:
    return m.CancelOrder(order_id=name, reason="x", by="ann")


def _refund(name: str, op_id: str) -> m.RequestRefund:
    return m.RequestRefund(
        payment_id=name, op_id=op_id, amount=6_000, currency="USD", refund_id="r1"
    )


def _grant(name: str, refund_id: str) -> m.GrantRefund:
    return m.GrantRefund(
        order_id=name,
        refund_id=refund_id,
        reason="x",
        source=RefundSource.RETURN,
        adjustment=6_000,
    )


def _cancel_line(name: str) -> m.CancelLine:
    return m.CancelLine(order_id=name, line_id="a", quantity=1, refund_id="line")


PAIRS: Final[dict[str, tuple[Prepare, Pair, bool]]] = {
    # name: what is there before, the two commands, whether exactly one of them may succeed
    "cancel-capture": (_authorised, lambda n: (_cancel(n), _capture(n, "c1")), False),
    "capture-void": (
        _authorised,
        lambda n: (_capture(n, "c1"), m.Void(payment_id=n, op_id="v1", currency="USD")),
        True,
    ),
    "capture-capture": (_authorised, lambda n: (_capture(n, "c1"), _capture(n, "c2")), True),
    "cancel-modify": (
        _proposed,
        lambda n: (_cancel(n), m.ConfirmOrderChange(order_id=n, change_id="ch")),
        False,
    ),
    "refund-refund": (_granted, lambda n: (_refund(n, "x1"), _refund(n, "x2")), True),
    "refund-withdraw": (
        _granted,
        lambda n: (_refund(n, "x1"), m.WithdrawRefund(order_id=n, refund_id="r1", reason="x")),
        True,
    ),
    "grant-grant": (_captured, lambda n: (_grant(n, "g1"), _grant(n, "g2")), True),
    "ship-cancel-line": (
        _packed,
        lambda n: (
            m.DispatchFulfilment(fulfilment_id=n, order_id=n, carrier="dhl"),
            _cancel_line(n),
        ),
        True,
    ),
    "ship-cancel": (
        _packed,
        lambda n: (
            m.DispatchFulfilment(fulfilment_id=n, order_id=n, carrier="dhl"),
            _cancel(n),
        ),
        True,
    ),
    "cancel-line-grant": (
        _captured,
        lambda n: (
            _cancel_line(n),
            msgspec.structs.replace(_grant(n, "g1"), lines=(MovedLine("a", 2),), adjustment=0),
        ),
        True,
    ),
}


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


def _facts(shop: Shop, name: str) -> Any:
    """Return what must not depend on which engine wrote it, nor on ids drawn while writing."""
    return (shop.order(name), shop.payment(name))


def _serially(prepare: Prepare, pair: Pair, name: str, order: Sequence[int]) -> Any:
    shop = Shop()
    prepare(shop, name)
    commands = pair(name)
    outcomes = [""] * len(commands)
    for index in order:
        outcomes[index] = _outcome(shop, commands[index])
    return outcomes, _facts(shop, name), balances_of(shop.store)


def _play(stores: Sequence[EventStore], rounds: int) -> None:
    """Race every pair ``rounds`` times on two stores of one database, then verify the book."""
    shops = [Shop(store) for store in stores]
    for kind, (prepare, pair, is_exclusive) in PAIRS.items():
        # The serial orders do not depend on the round but for the name.
        for number in range(rounds):
            name = f"{kind}-{number}"
            prepare(shops[number % 2], name)
            outcomes = _race(shops if number % 3 else shops[::-1], pair(name))
            serial = [_serially(prepare, pair, name, order) for order in ((0, 1), (1, 0))]
            facts = _facts(shops[0], name)
            agreeing = [one for one in serial if one[0] == outcomes and one[1] == facts]
            assert agreeing, (name, outcomes, [one[0] for one in serial])
            assert _facts(shops[1], name) == facts
            if is_exclusive:
                assert sorted(bool(refusal) for refusal in outcomes) == [False, True]
            _check(shops[0], name)
    assert not any(_residues(stores[0]).values())
    assert list(verify(stores[0])) == []


def _check(shop: Shop, name: str) -> None:
    """Assert invariants 1, 2, 6, 11, 12, 18 and 19 of one order and its payment."""
    order, payment = shop.order(name), shop.payment(name)
    assert payment.captured + payment.capture_in_flight + payment.voided <= payment.authorised
    assert payment.refunded + payment.refund_in_flight <= payment.captured
    flying = [op for op in payment.operations.values() if op.status is OperationStatus.REQUESTED]
    assert all(op.reserved == op.amount for op in flying)
    assert order.granted <= payment.captured
    assert all(line.cancelled + line.shipped <= line.ordered for line in order.lines.values())
    assert all(line.granted <= line.charged for line in order.lines.values())
    assert all(one.available >= 0 for one in order.slices.values())


def _residues(store: EventStore) -> dict[tuple[str, str], int]:
    sums: dict[tuple[str, str], int] = {}
    for (layer, _, currency), minor in balances_of(store).items():
        sums[(layer, currency)] = sums.get((layer, currency), 0) + minor
    return sums


@pytest.fixture
def sqlite_stores(tmp_path: Path) -> Iterator[list[EventStore]]:
    """Give two stores, with connections of their own, on one file."""
    stores: list[EventStore] = [SqliteStore(str(tmp_path / "pairs.db"), "main") for _ in range(2)]
    yield stores
    for store in stores:
        store.close()


@pytest.fixture
def postgres_stores(pg_url: str) -> Iterator[list[EventStore]]:
    """Give two stores, with pools of their own, on one database."""
    migrate(pg_url)
    stores: list[EventStore] = [PostgresStore(pg_url, "main") for _ in range(2)]
    yield stores
    for store in stores:
        store.close()


def test_pairs_on_sqlite_have_a_serial_order(sqlite_stores: list[EventStore]) -> None:
    """Catches a decision on a state that another process changed before it was written."""
    _play(sqlite_stores, rounds=25)


def test_pairs_on_postgres_have_a_serial_order(postgres_stores: list[EventStore]) -> None:
    """Catches the same where transactions really overlap."""
    _play(postgres_stores, rounds=25)


@pytest.mark.long
def test_pairs_on_postgres_at_length(postgres_stores: list[EventStore]) -> None:
    """Catches a window too narrow for a few rounds."""
    _play(postgres_stores, rounds=150)
