"""
Faults found by reviewing payments, releases, constraints and the door, each in its smallest form.

A test that begins to pass must lose its mark: the marks are strict.
"""

from decimal import Decimal
from multiprocessing import get_context
from typing import Any

import pytest

from orderledger.commands import model as m
from orderledger.commands.account_commands import PostingInput
from orderledger.commands.order_commands import ConversionTerms
from orderledger.commands.requests import Actor
from orderledger.ledger import accounts
from orderledger.ledger.account_events import ConstraintKind
from orderledger.ledger.errors import InvalidInput, OrderLedgerError, StorageError
from orderledger.ledger.inbox_events import Observation
from orderledger.ledger.payment_events import Capabilities, FxQuote
from orderledger.ledger.payment_operations import OperationKind, Outcome
from tests.model.found import holds_no_debt, paid, two_sellers
from tests.model.shop import NOW, Shop, anomalies_of, item

# -- payments whose order does not know them ------------------------------------------------------


def _credit(order_id: str) -> m.CreditCustomer:
    return m.CreditCustomer(
        payment_id="c1",
        order_id=order_id,
        op_id="credit",
        amount=10_000,
        currency="USD",
        reason="sorry",
        actor="a",
        approver="b",
        provider="psp",
        capabilities=Capabilities(credit=True),
    )


def test_charge_on_a_credit_payment_is_known_to_the_order() -> None:
    """Catches captured money in an order's escrow that is in none of its slices."""
    shop = Shop()
    shop.place(item("a", "100"))
    shop.run(_credit("o1"))
    buy = m.Purchase(payment_id="c1", op_id="buy", amount=10_000, currency="USD")
    if not shop.refusal(buy):
        shop.succeed("buy", "c1")
    holds_no_debt(shop)


def test_credit_for_an_order_that_does_not_exist_is_refused() -> None:
    """Catches a payment bound for good to an order that nobody placed."""
    assert Shop().refusal(_credit("ghost")) == "NotFound"


def test_payment_does_not_share_its_id_with_a_redemption() -> None:
    """Catches two tenders under one id, whose escrow is then counted once."""
    shop = Shop()
    shop.place(item("a", "100"))
    shop.issue(4_000)
    shop.run(
        m.RedeemValue(
            account_id="v1", redemption_id="p1", amount=4_000, currency="USD", order_id="o1"
        )
    )
    refused = shop.refusal(
        m.InitiatePayment(
            payment_id="p1",
            order_id="o1",
            provider="psp",
            method="card",
            amount=6_000,
            currency="USD",
        )
    )
    if not refused:
        shop.run(m.Purchase(payment_id="p1", op_id="buy", amount=6_000, currency="USD"))
        shop.succeed("buy")
    holds_no_debt(shop)


def test_abandoned_payment_does_not_block_the_next_one() -> None:
    """Catches a buyer who closed the card form and can never pay the order again."""
    shop = Shop()
    shop.place(item("a", "100"))
    shop.initiate(10_000, expires_at=NOW)
    again = m.InitiatePayment(
        payment_id="p2",
        order_id="o1",
        provider="psp",
        method="card",
        amount=10_000,
        currency="USD",
    )
    assert shop.refusal(again) == ""


# -- releases ----------------------------------------------------------------------------------


def test_release_id_used_for_another_seller_is_refused() -> None:
    """Catches a second seller who is told to be paid and is not."""
    shop = two_sellers(released=True)
    shop.run(m.MeetReleaseCondition(order_id="o1", seller="s2", cause="delivered"))
    other = m.ReleaseFunds(
        order_id="o1",
        release_id="rel-s1",
        seller="s2",
        commission_rate=Decimal("0.12"),
        rate_version="v1",
    )
    assert shop.refusal(other)


def test_release_is_not_converted_into_its_own_currency() -> None:
    """Catches a seller paid twice what was held, the rest from the currency position."""
    shop = paid()
    shop.run(m.MeetReleaseCondition(order_id="o1", seller="s1", cause="delivered"))
    doubled = m.ReleaseFunds(
        order_id="o1",
        release_id="r",
        seller="s1",
        commission_rate=Decimal("0.12"),
        rate_version="v1",
        conversion=ConversionTerms(currency="USD", rate=Decimal(2)),
    )
    assert shop.refusal(doubled)


def test_payment_is_not_quoted_in_its_own_currency() -> None:
    """Catches a payment of 20000 that counts as 10000 for the amount due and 20000 in escrow."""
    shop = Shop()
    shop.place(item("a", "100"))
    quoted = m.InitiatePayment(
        payment_id="p1",
        order_id="o1",
        provider="psp",
        method="card",
        amount=20_000,
        currency="USD",
        fx=FxQuote("q", 10_000, "USD", Decimal(2)),
    )
    assert shop.refusal(quoted)


def _release_at(rate: str) -> None:
    shop = paid()
    shop.run(m.MeetReleaseCondition(order_id="o1", seller="s1", cause="delivered"))
    shop.refusal(
        m.ReleaseFunds(
            order_id="o1",
            release_id="r",
            seller="s1",
            commission_rate=Decimal(rate),
            rate_version="v1",
        )
    )


def test_rate_with_millions_of_decimals_is_refused_at_once() -> None:
    """Catches one command that keeps the leader, and with it every writer, busy for minutes."""
    process = get_context("fork").Process(target=_release_at, args=("1E-30000000",), daemon=True)
    process.start()
    process.join(timeout=3)
    is_stuck = process.is_alive()
    process.kill()
    process.join()
    assert not is_stuck


# -- what must never happen at the door ---------------------------------------------------------


def test_malformed_id_fails_its_own_command_only() -> None:
    """Catches commands of other callers refused for an id that is not theirs."""
    shop = Shop()
    good = m.CreateOrder(order_id="o1", buyer_ref="b", currency="USD")
    bad = m.CreateOrder(order_id="bad id!", buyer_ref="b", currency="USD")
    results = shop.book.execute_many([good, bad])
    assert not isinstance(results[0], OrderLedgerError)


@pytest.mark.parametrize("provider", ["", "my bank"])
def test_success_of_a_payment_can_always_be_recorded(provider: str) -> None:
    """Catches money that moved and cannot be recorded, as its provider names no account."""
    shop = Shop()
    shop.place(item("a", "100"))
    try:
        shop.initiate(10_000, provider=provider)
    except OrderLedgerError:
        return
    shop.run(m.Purchase(payment_id="p1", op_id="x", amount=10_000, currency="USD"))
    shop.succeed("x")


def test_every_order_id_makes_an_account_name() -> None:
    """Catches an order that can be placed and never be paid."""
    shop = Shop()
    try:
        shop.place(item("a", "100"), order_id="o:")
    except OrderLedgerError:
        return
    shop.pay(10_000, order_id="o:")


def test_report_of_an_unknown_kind_is_kept() -> None:
    """Catches a report that ends in StorageError, which says to retry for ever."""
    shop = Shop()
    shop.place(item("a", "100"))
    shop.initiate(10_000)
    seen = Observation(
        payment_id="p1", outcome=Outcome.SUCCEEDED, kind="payout", provider_ref="r", amount=5
    )
    assert shop.refusal(m.RecordObservation(observation=seen)) != StorageError.__name__


def test_notification_is_kept_whatever_it_says() -> None:
    """Catches a notification that is lost because what it says cannot be applied."""
    shop = Shop()
    shop.place(item("a", "100"))
    shop.initiate(10_000)
    seen = Observation(
        payment_id="p1",
        outcome=Outcome.SUCCEEDED,
        kind="capture",
        provider_ref="r",
        amount=10**40,
    )
    shop.refusal(
        m.ReceiveNotification(
            provider="psp",
            notification_id="n1",
            kind="capture",
            body_sha256="00",
            signature_ok=True,
            interpreted=seen,
        )
    )
    assert shop.store.streams("inbox", after="", limit=1)


def test_expiry_of_an_authorisation_known_by_its_adjustment() -> None:
    """Catches a KeyError in the decider."""
    shop = Shop()
    shop.place(item("a", "100"))
    shop.initiate(10_000)
    shop.run(
        m.RecordProviderOperation(
            payment_id="p1",
            kind=OperationKind.ADJUST,
            provider_ref="r",
            amount=5,
            currency="USD",
            parent_op="ghost",
        )
    )
    expire = m.ExpireAuthorisation(payment_id="p1", due_at=NOW)
    assert shop.refusal(expire) != StorageError.__name__


def test_settlement_reported_twice_with_other_content_is_kept() -> None:
    """Catches a report of money that moved, lost because its id was seen with other content."""
    shop = Shop()
    reports = [
        m.RecordSettlement(
            entry_id="e1", provider="psp", bank="main", gross=gross, fee=0, currency="USD"
        )
        for gross in (100, 200)
    ]
    assert [shop.refusal(one) for one in reports] == ["", ""]
    assert anomalies_of(shop.store)


def test_refused_constraint_leaves_the_account_free() -> None:
    """Catches an account whose own stream counts what came before it twice (all three stores)."""
    shop = paid(amount=5_000)
    account = accounts.psp("psp")
    tight = m.ConstrainAccount(
        account=account, kind=ConstraintKind.CEILING, currency="USD", limit=1
    )
    assert shop.refusal(tight) == "account_limit"
    shop.pay(5_000, "p2")
    wide = m.ConstrainAccount(account=account, kind=ConstraintKind.FLOOR, currency="USD", limit=0)
    assert shop.refusal(wide) == ""
    assert shop.refusal(m.FreezeAccount(account=account, reason="x")) == ""


def test_constraint_may_name_its_kind_by_text() -> None:
    """Catches an AttributeError for a kind that every other command would accept as text."""
    kind: Any = "ceiling"
    shop = paid()
    tight = m.ConstrainAccount(account=accounts.psp("psp"), kind=kind, currency="USD", limit=1)
    assert shop.refusal(tight) == "account_limit"


@pytest.mark.parametrize(
    "envelope", [{"key": "\ud800"}, {"actor": Actor("staff", "\ud800")}], ids=["key", "actor"]
)
def test_text_outside_utf8_is_a_typed_error(envelope: dict[str, Any]) -> None:
    """Catches an error outside the documented tree."""
    command = m.CreateOrder(order_id="o1", buyer_ref="b", currency="USD")
    with pytest.raises(OrderLedgerError):
        Shop().book.execute(command, **envelope)


def test_expectation_of_a_malformed_stream_is_invalid_input() -> None:
    """Catches IntegrityViolation, which says to stop everything, for a caller's typing error."""
    command = m.CreateOrder(order_id="o1", buyer_ref="b", currency="USD")
    with pytest.raises(InvalidInput):
        Shop().book.execute(command, expected={"nonsense": 1})


def test_manual_entry_leaves_an_orders_escrow_alone() -> None:
    """Catches escrow that no slice knows of, made by a free journal entry."""
    shop = paid()
    legs = (
        PostingInput(accounts.psp("psp"), "USD", 5),
        PostingInput(accounts.escrow("o1"), "USD", -5),
    )
    shop.refusal(m.PostEntry(entry_id="e1", description="x", postings=legs))
    holds_no_debt(shop)
