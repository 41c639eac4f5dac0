"""
Two executors on one database, racing with commands that contend (invariant 44).

Each round starts a fresh order, lets two threads with a store each execute one command at the same
time, and checks that the outcomes and the states are those of one of the two serial orders, played
on a book in memory.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from orderledger.commands import model as m
from orderledger.ledger.order_content import ItemUpdate
from orderledger.ledger.order_events import MovedLine, RefundSource
from orderledger.ledger.payment_operations import OperationStatus
from orderledger.ledger.ports import EventStore
from tests.model.racing import Race, play, postgres_pair, sqlite_pair
from tests.model.shop import Shop, item


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


PAIRS: Final[dict[str, Race]] = {
    "cancel-capture": Race(_authorised, lambda n: (_cancel(n), _capture(n, "c1")), False),
    "capture-void": Race(
        _authorised,
        lambda n: (_capture(n, "c1"), m.Void(payment_id=n, op_id="v1", currency="USD")),
        True,
    ),
    "capture-capture": Race(_authorised, lambda n: (_capture(n, "c1"), _capture(n, "c2")), True),
    "cancel-modify": Race(
        _proposed,
        lambda n: (_cancel(n), m.ConfirmOrderChange(order_id=n, change_id="ch")),
        False,
    ),
    "refund-refund": Race(_granted, lambda n: (_refund(n, "x1"), _refund(n, "x2")), True),
    "refund-withdraw": Race(
        _granted,
        lambda n: (_refund(n, "x1"), m.WithdrawRefund(order_id=n, refund_id="r1", reason="x")),
        True,
    ),
    "grant-grant": Race(_captured, lambda n: (_grant(n, "g1"), _grant(n, "g2")), True),
    "ship-cancel-line": Race(
        _packed,
        lambda n: (
            m.DispatchFulfilment(fulfilment_id=n, order_id=n, carrier="dhl"),
            _cancel_line(n),
        ),
        True,
    ),
    "ship-cancel": Race(
        _packed,
        lambda n: (
            m.DispatchFulfilment(fulfilment_id=n, order_id=n, carrier="dhl"),
            _cancel(n),
        ),
        True,
    ),
    "cancel-line-grant": Race(
        _captured,
        lambda n: (
            _cancel_line(n),
            msgspec.structs.replace(_grant(n, "g1"), lines=(MovedLine("a", 2),), adjustment=0),
        ),
        True,
    ),
}


def _facts(shop: Shop, name: str) -> Any:
    return (shop.order(name), shop.payment(name))


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


@pytest.fixture
def sqlite_stores(tmp_path: Path) -> Iterator[list[EventStore]]:
    with sqlite_pair(tmp_path) as stores:
        yield stores


@pytest.fixture
def postgres_stores(pg_url: str) -> Iterator[list[EventStore]]:
    with postgres_pair(pg_url) as stores:
        yield stores


def test_pairs_on_sqlite_have_a_serial_order(sqlite_stores: list[EventStore]) -> None:
    """Catches a decision on a state that another process changed before it was written."""
    play(sqlite_stores, PAIRS, 25, facts=_facts, check=_check)


def test_pairs_on_postgres_have_a_serial_order(postgres_stores: list[EventStore]) -> None:
    """Catches the same where transactions really overlap."""
    play(postgres_stores, PAIRS, 25, facts=_facts, check=_check)


@pytest.mark.long
def test_pairs_on_postgres_at_length(postgres_stores: list[EventStore]) -> None:
    """Catches a window too narrow for a few rounds."""
    play(postgres_stores, PAIRS, 150, facts=_facts, check=_check)
