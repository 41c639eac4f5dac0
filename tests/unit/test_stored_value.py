"""Stored value: lots by expiry, tenders of orders, and what funds an issue."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from orderledger.commands.order_commands import MeetReleaseCondition, ReleaseFunds
from orderledger.commands.value_commands import ExpireValue, IssueValue, RedeemValue, RestoreValue
from orderledger.ledger.order_events import (
    FundsHeld,
    OrderCancellationRequested,
    OrderCancelled,
    PaymentPart,
    RefundAllocated,
    RefundGranted,
    RefundSource,
)
from orderledger.ledger.payment_operations import FundingPart
from orderledger.ledger.value_events import ValueKind, ValueSource
from tests.decided_book import DAY, START, DecidedBook, placed_order

CREDIT = "liabilities:store_credit:b1"
ESCROW = "liabilities:escrow:o1"


@pytest.fixture
def book() -> DecidedBook:
    """A confirmed order over 3000 that nobody paid yet."""
    one = DecidedBook()
    one.given("order-o1", *placed_order(a=3))
    return one


def issue(amount: int, lot_id: str = "l1", days: int | None = None, **fields: Any) -> IssueValue:
    given: dict[str, Any] = {
        "account_id": "v1",
        "holder": "b1",
        "kind": ValueKind.STORE_CREDIT,
        "currency": "USD",
        "source": ValueSource.GOODWILL,
        "expires_at": None if days is None else START + days * DAY,
        **fields,
    }
    return IssueValue(lot_id=lot_id, amount=amount, **given)


def points(amount: int, **fields: Any) -> IssueValue:
    return issue(amount, **{"kind": ValueKind.LOYALTY, "currency": "PTS", **fields})


def redeem(amount: int, redemption_id: str = "x1", **fields: Any) -> RedeemValue:
    given: dict[str, Any] = {"account_id": "v1", "order_id": "o1", "currency": "USD", **fields}
    return RedeemValue(redemption_id=redemption_id, amount=amount, **given)


def restore(amount: int | None = None, restore_id: str = "y1", **fields: Any) -> RestoreValue:
    given: dict[str, Any] = {
        "account_id": "v1",
        "order_id": "o1",
        "redemption_id": "x1",
        **fields,
    }
    return RestoreValue(restore_id=restore_id, amount=amount, **given)


def grant(book: DecidedBook, total: int, *parts: PaymentPart) -> None:
    book.given(
        "order-o1",
        RefundGranted(
            refund_id="g1",
            total=total,
            reason="return",
            source=RefundSource.RETURN,
            adjustment=total,
        ),
    )
    if parts:
        book.given("order-o1", RefundAllocated(refund_id="g1", parts=parts, strategy="explicit"))


def lots(book: DecidedBook) -> dict[str, int]:
    found = book.states["storedvalue-v1"].lots
    return {lot_id: lot.remaining for lot_id, lot in found.items()}


def check_escrow(book: DecidedBook) -> None:
    assert -book.balance(ESCROW) == book.states["order-o1"].escrow_held


def test_the_lot_that_expires_first_pays_first(book: DecidedBook) -> None:
    """Value lost to expiry although an older promise could have been spent instead."""
    book.run(issue(500, "never"))
    book.run(issue(300, "late", 30))
    book.run(issue(200, "soon", 10))
    book.run(redeem(400))
    assert lots(book) == {"never": 500, "late": 100, "soon": 0}
    assert (book.balance(CREDIT), book.balance(ESCROW)) == (-600, -400)
    check_escrow(book)


def test_expired_lots_do_not_pay(book: DecidedBook) -> None:
    """Value spent at or after its expiry, before the timer came round."""
    book.run(issue(500, "l1", 10))
    book.now = START + 10 * DAY
    assert book.refusal(redeem(1)) == "insufficient_funds"
    book.run(ExpireValue(account_id="v1", lot_id="l1"))
    assert (book.balance(CREDIT), book.balance("income:breakage")) == (0, -500)
    assert book.run(ExpireValue(account_id="v1", lot_id="l1")) == ()


def test_expiry_is_not_early(book: DecidedBook) -> None:
    """A timer with a fast clock that takes the buyer's credit away."""
    book.run(issue(500, "l1", 10))
    book.run(issue(500, "l2"))
    table = [("l1", "not_yet_due"), ("l2", "not_yet_due"), ("l3", "not_found")]
    found = [
        (lot_id, book.refusal(ExpireValue(account_id="v1", lot_id=lot_id))) for lot_id, _ in table
    ]
    assert found == table
    assert book.refusal(ExpireValue(account_id="v9", lot_id="l1")) == "NotFound"


@pytest.mark.parametrize(
    ("command", "want"),
    [
        (issue(0), "InvalidCommand"),
        (issue(5, currency="usd"), "UnknownCurrency"),
        (issue(5, currency="PTS"), "InvalidCommand"),
        (points(5, currency="USD"), "InvalidCommand"),
        (issue(5, days=0), "InvalidCommand"),
        (issue(5, order_id="o1"), "InvalidCommand"),
        (issue(5, source=ValueSource.SALE), "InvalidCommand"),
        (issue(5, source=ValueSource.SALE, order_id="none"), "NotFound"),
        (issue(6, "l0"), "operation_already_used"),
        (issue(5, "l0"), ""),
        (issue(5, holder="b2"), "wrong_state"),
        (issue(5, kind=ValueKind.GIFT_CARD), "wrong_state"),
        (issue(5, currency="EUR"), "currency_mismatch"),
        (issue(5, source=ValueSource.SALE, order_id="o1"), "amount_exceeds_available"),
        (
            issue(5, source=ValueSource.REFUND, order_id="o1", refund_id="g1"),
            "not_found",
        ),
        (issue(5), ""),
    ],
)
def test_refusals_of_an_issue_in_their_order(
    book: DecidedBook, command: IssueValue, want: str
) -> None:
    """Value out of nothing, in a foreign unit, or on somebody else's account."""
    book.run(issue(5, "l0"))
    assert book.refusal(command) == want


def test_refusals_of_a_redemption_in_their_order(book: DecidedBook) -> None:
    """More spent than there is, than the order lacks, or on an order that is over."""
    book.given("order-o2", *placed_order("o2", currency="EUR", a=1))
    over = DecidedBook()
    over.given("order-o1", *placed_order(a=1))
    over.given("order-o1", OrderCancellationRequested(reason="buyer", by="b1"))
    over.run(issue(50))
    book.run(issue(2500))
    table = [
        (book, redeem(0, order_id="none"), "InvalidCommand"),
        (book, redeem(1, order_id="none"), "NotFound"),
        (book, redeem(1, order_id="o2"), "currency_mismatch"),
        (book, redeem(1, order_amount=2), "InvalidCommand"),
        (book, redeem(1, account_id="none"), "NotFound"),
        (over, redeem(1), "wrong_state"),
        (book, redeem(1, currency="EUR", order_amount=1), "currency_mismatch"),
        (book, redeem(3001), "amount_exceeds_available"),
        (book, redeem(2501), "insufficient_funds"),
        (book, redeem(2000), ""),
        (book, redeem(2000), ""),
        (book, redeem(1999), "operation_already_used"),
        (book, redeem(501, "x2"), "insufficient_funds"),
    ]
    assert [where.refusal(command) for where, command, _ in table] == [want for *_, want in table]
    assert book.balance(ESCROW) == -2000


def test_a_granted_refund_goes_back_to_its_lots(book: DecidedBook) -> None:
    """A refund that lands on the wrong tender, twice, or on a lot that expires at once."""
    book.run(issue(500, "soon", 10))
    book.run(issue(500, "late", 30))
    book.run(redeem(800))
    assert book.refusal(restore()) == "wrong_state"
    assert book.refusal(restore(refund_id="g1")) == "not_found"
    grant(book, 400, PaymentPart("x1", 400))
    assert book.refusal(restore(401, refund_id="g1")) == "amount_exceeds_available"
    back = restore(refund_id="g1")
    book.run(back)
    assert book.run(back) == ()
    assert lots(book) == {"soon": 100, "late": 500}
    assert book.refusal(restore(1, "y2", refund_id="g1")) == "amount_exceeds_available"
    assert book.states["order-o1"].grants["g1"].status == "settled"
    assert (book.balance(CREDIT), book.balance(ESCROW)) == (-600, -400)
    check_escrow(book)


def test_a_refund_after_release_is_borne_by_the_seller(book: DecidedBook) -> None:
    """Escrow driven negative because a late refund took money that was released."""
    book.run(issue(800))
    book.run(redeem(800))
    book.run(MeetReleaseCondition(order_id="o1", seller="s1", cause="delivered"))
    rate = Decimal("0.12")
    book.run(
        ReleaseFunds(
            order_id="o1",
            release_id="rel1",
            seller="s1",
            commission_rate=rate,
            rate_version="1",
        )
    )
    grant(book, 400, PaymentPart("x1", 400))
    seller = FundingPart("liabilities:seller:s1", 352)
    commission = FundingPart("income:commission_refunded", 48)
    assert book.refusal(restore(refund_id="g1", funding=(seller,))) == "amount_mismatch"
    book.run(restore(refund_id="g1", funding=(seller, commission)))
    assert book.balance("liabilities:seller:s1") == 352 - 704
    assert book.balance("income:commission_refunded") == 48
    assert book.balance("liabilities:refunds:o1") == 0
    assert (book.balance(CREDIT), book.balance(ESCROW)) == (-400, 0)
    check_escrow(book)


def test_an_order_that_is_over_gives_everything_back(book: DecidedBook) -> None:
    """Value stuck in the escrow of a cancelled order, or given back beside a grant for it."""
    book.run(issue(800))
    book.run(redeem(800))
    book.given(
        "order-o1",
        OrderCancellationRequested(reason="buyer", by="b1"),
        OrderCancelled(reason="buyer", by="b1"),
    )
    book.run(restore(300))
    book.run(restore(None, "y2"))
    assert lots(book) == {"l1": 800}
    assert book.balance(ESCROW) == 0
    assert book.refusal(restore(1, "y3")) == "amount_exceeds_available"
    check_escrow(book)


def test_points_have_a_unit_of_their_own(book: DecidedBook) -> None:
    """Points booked as money, or an entry that does not balance in each unit."""
    book.run(points(10_000))
    assert book.refusal(redeem(10_000, currency="PTS")) == "currency_mismatch"
    book.run(redeem(10_000, currency="PTS", order_amount=999))
    assert book.balance("liabilities:loyalty:b1", "PTS") == 0
    assert book.balance(ESCROW) == -999
    assert [book.balance("equity:fx", unit) for unit in ("PTS", "USD")] == [-10_000, 999]
    grant(book, 999, PaymentPart("x1", 999))
    for number, part in enumerate((333, 333, 333)):
        book.run(restore(part, f"y{number}", refund_id="g1"))
    assert book.balance("liabilities:loyalty:b1", "PTS") == -10_000
    assert book.balance("equity:fx") == book.balance("equity:fx", "PTS") == 0
    check_escrow(book)


def test_a_gift_card_is_paid_by_its_order(book: DecidedBook) -> None:
    """A gift card whose price stays in escrow, or is owed to a seller as well."""
    book.post_text("assets:psp:p USD 3000\nliabilities:escrow:o1 USD -3000")
    book.given("order-o1", FundsHeld(slice_id="s1", amount=3000, payment_id="p1"))
    card = issue(
        3000,
        "card",
        account_id="card-1",
        holder="card-1",
        kind=ValueKind.GIFT_CARD,
        source=ValueSource.SALE,
        order_id="o1",
    )
    book.run(card)
    assert book.run(card) == ()
    assert book.balance("liabilities:store_credit:card-1") == -3000
    assert book.balance(ESCROW) == 0
    check_escrow(book)


def test_value_in_place_of_a_refund(book: DecidedBook) -> None:
    """A refund paid in value that is still open for the card it could have gone to."""
    book.post_text("assets:psp:p USD 3000\nliabilities:escrow:o1 USD -3000")
    book.given("order-o1", FundsHeld(slice_id="s1", amount=3000, payment_id="p1"))
    grant(book, 700)
    instead: dict[str, Any] = {"source": ValueSource.REFUND, "order_id": "o1", "refund_id": "g1"}
    assert book.refusal(issue(600, **instead)) == "amount_mismatch"
    book.run(issue(700, **instead))
    assert book.states["order-o1"].grants["g1"].outstanding == 0
    assert (book.balance(CREDIT), book.balance(ESCROW)) == (-700, -2300)
    assert book.balance("liabilities:refunds:o1") == 0
    assert book.refusal(issue(700, "l2", **instead)) == "wrong_state"
    check_escrow(book)


def test_a_refund_on_its_way_to_a_card_is_not_paid_in_value(book: DecidedBook) -> None:
    """The buyer paid twice: by the card's refund and in store credit."""
    grant(book, 700, PaymentPart("p1", 700))
    instead: dict[str, Any] = {"source": ValueSource.REFUND, "order_id": "o1", "refund_id": "g1"}
    assert book.refusal(issue(700, **instead)) == "wrong_state"


def test_lots_order_by_instant_not_by_text(book: DecidedBook) -> None:
    """An expiry with microseconds that sorts after one a second later."""
    soon = datetime.fromisoformat("2026-02-01T00:00:00.500000+00:00")
    later = datetime.fromisoformat("2026-02-01T00:00:01+00:00")
    book.run(issue(10, "later", expires_at=later))
    book.run(issue(10, "soon", expires_at=soon))
    book.run(redeem(10))
    assert lots(book) == {"later": 10, "soon": 0}
