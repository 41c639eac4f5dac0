"""The axes of an order's status, case by case."""

from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from orderledger.ledger.chargeback_stages import ChargebackStage, ChargebackStatus
from orderledger.ledger.order_axes import axes_of
from orderledger.ledger.order_chargebacks import ChargebackNoted
from orderledger.ledger.order_content import OrderLine
from orderledger.ledger.order_events import RefundSource
from orderledger.ledger.order_lines import new_line
from orderledger.ledger.order_refunds import Grant, GrantStatus
from orderledger.ledger.orders import INITIAL, NO_TOTALS, Lifecycle, OrderState
from orderledger.ledger.tenders import Tender

TOTAL = 100


def order(total: int = TOTAL, **changed: Any) -> OrderState:
    line = new_line(OrderLine("l1", "MUG", "anna", 4, Decimal(1), total, total))
    return replace(
        INITIAL,
        order_id="o1",
        currency="EUR",
        lifecycle=Lifecycle.CONFIRMED,
        totals=replace(NO_TOTALS, grand=total),
        lines={"l1": replace(line, **changed)},
    )


def granted(total: int, status: GrantStatus, source: RefundSource, settled: int = 0) -> OrderState:
    grant = Grant("r1", total, source, status=status, settled={"p1": settled} if settled else {})
    return replace(order(), grants={"r1": grant})


def paid(captured: int, **more: Any) -> tuple[Tender, ...]:
    return (Tender("p1", "card", captured=captured, **more),)


PAYING: list[tuple[str, OrderState, tuple[Tender, ...], str, str, int]] = [
    ("nothing", order(), (), "none", "none", -100),
    ("partly authorised", order(), paid(0, capturable=60), "partial", "none", -100),
    ("authorised", order(), paid(0, capturable=100), "full", "none", -100),
    ("being captured", order(), paid(0, capture_in_flight=100), "full", "none", -100),
    ("partly charged", order(), paid(60, capturable=40), "full", "partial", -40),
    ("partly charged, no more held", order(), paid(60), "partial", "partial", -40),
    ("charged", order(), paid(100), "full", "full", 0),
    ("charged twice", order(), paid(130), "full", "overcharged", 30),
    ("two tenders", order(), (*paid(70), *paid(30)), "full", "full", 0),
    ("contested", order(), paid(100, contested=100), "none", "none", 0),
    ("charged back", order(), paid(100, charged_back=100), "none", "none", -100),
    ("costs nothing", order(0), (), "full", "full", 0),
    ("costs nothing and was paid", order(0), paid(5), "full", "overcharged", 5),
]


@pytest.mark.parametrize(
    ("state", "tenders", "authorise", "charge", "balance"),
    [case[1:] for case in PAYING],
    ids=[case[0] for case in PAYING],
)
def test_authorise_charge_and_balance(
    state: OrderState, tenders: tuple[Tender, ...], authorise: str, charge: str, balance: int
) -> None:
    """Catches a shop that ships what is not paid, or dunns who has paid."""
    axes = axes_of(state, tenders)
    assert (axes.authorise, axes.charge, axes.balance) == (authorise, charge, balance)


RETURN = RefundSource.RETURN
S = GrantStatus
REFUNDING: list[tuple[str, OrderState, int, str, str, int]] = [
    ("granted", granted(40, S.GRANTED, RETURN), 0, "pending", "overcharged", 40),
    ("in flight", granted(40, S.PROCESSING, RETURN), 0, "pending", "overcharged", 40),
    ("settled in part", granted(40, S.SETTLED, RETURN, 40), 40, "partial", "full", 0),
    ("settled whole", granted(100, S.SETTLED, RETURN, 100), 100, "full", "full", 0),
    ("failed", granted(40, S.FAILED, RETURN), 0, "failed", "overcharged", 40),
    ("withdrawn", granted(40, S.WITHDRAWN, RETURN), 0, "none", "full", 0),
]


@pytest.mark.parametrize(
    ("state", "refunded", "refund", "charge", "balance"),
    [case[1:] for case in REFUNDING],
    ids=[case[0] for case in REFUNDING],
)
def test_refund(state: OrderState, refunded: int, refund: str, charge: str, balance: int) -> None:
    """Catches a refund that is shown as done while the buyer waits for it, or the other way."""
    axes = axes_of(state, paid(100, refunded=refunded))
    assert (axes.refund, axes.charge, axes.balance) == (refund, charge, balance)


def test_a_surplus_that_is_given_back_lowers_the_cost_once() -> None:
    """Catches an order shown as overcharged because a price change is subtracted twice."""
    cheaper = replace(order(80), grants={"r1": Grant("r1", 20, RefundSource.CHANGE)})
    assert axes_of(cheaper, paid(100)).charge == "overcharged"
    settled = Grant("r1", 20, RefundSource.CHANGE, status=S.SETTLED, settled={"p1": 20})
    axes = axes_of(replace(cheaper, grants={"r1": settled}), paid(100, refunded=20))
    assert (axes.charge, axes.refund, axes.balance) == ("full", "partial", 0)


SENDING: list[tuple[dict[str, int], str]] = [
    ({}, "unfulfilled"),
    ({"allocated": 4}, "unfulfilled"),
    ({"shipped": 1}, "partial"),
    ({"shipped": 4}, "fulfilled"),
    ({"shipped": 4, "delivered": 3}, "partially_delivered"),
    ({"shipped": 4, "delivered": 4}, "delivered"),
    ({"shipped": 4, "delivered": 4, "returned_ok": 1}, "partially_returned"),
    ({"shipped": 4, "delivered": 4, "returned_ok": 3, "returned_damaged": 1}, "returned"),
]


@pytest.mark.parametrize(("counters", "expected"), SENDING)
def test_fulfilment(counters: dict[str, int], expected: str) -> None:
    """Catches goods shown as here, on their way or back that are not."""
    assert axes_of(order(**counters), ()).fulfilment == expected


def test_a_dispute_shows() -> None:
    """Catches an order that looks settled while the buyer's bank has taken the money back."""
    assert axes_of(order(), paid(100)).dispute == "none"
    assert axes_of(order(), paid(100, charged_back=100)).dispute == "charged_back"
    assert axes_of(order(), paid(100, contested=40)).dispute == "open"
    inquiry = ChargebackNoted(
        chargeback_id="cb1",
        payment_id="p1",
        stage=ChargebackStage.INQUIRY,
        status=ChargebackStatus.INQUIRY,
    )
    asked = replace(order(), chargebacks={("p1", "cb1"): inquiry})
    assert axes_of(asked, paid(100)).dispute == "open"
