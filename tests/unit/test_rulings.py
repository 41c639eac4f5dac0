"""Rulings executed on the worked example of the books: before and after the release, and again."""

from decimal import Decimal

import pytest

from orderledger.commands.order_commands import (
    AllocationStrategy,
    ConversionTerms,
    GrantRefund,
    WithdrawRefund,
)
from orderledger.commands.payment_commands import (
    RecordDeclined,
    RecordReversed,
    RecordSucceeded,
    RequestRefund,
)
from orderledger.commands.ruling_execution import Award, ExecutionTerms, finish
from orderledger.ledger import accounts
from orderledger.ledger.dispute_parties import Party
from orderledger.ledger.errors import Rejected
from orderledger.ledger.order_events import MovedLine, RefundSource
from tests.ruling_book import BookOfTwo, RulingBook, award


@pytest.fixture
def book() -> RulingBook:
    return RulingBook()


BEFORE_RELEASE = [
    (
        "all to the buyer",
        award(10825, 0),
        {"psp": -1500, "seller": 1000, "tips": 500},
    ),
    (
        "all to the seller",
        award(0, 10825),
        {"psp": -12325, "seller": 9800, "commission": 1200, "tax": 825, "tips": 500},
    ),
    (
        "divided",
        award(4330, 5995, 500),
        # Items 6,000 are left of 10,000, and the fee comes out of them: commission on 5,500.
        {"psp": -7995, "seller": 5840, "commission": 660, "tax": 495, "tips": 500, "fees": 500},
    ),
]


@pytest.mark.parametrize(
    ("given", "then"), [row[1:] for row in BEFORE_RELEASE], ids=[r[0] for r in BEFORE_RELEASE]
)
def test_a_ruling_on_funds_in_escrow(given: Award, then: dict[str, int], book: RulingBook) -> None:
    """Recipe 20: money that a ruling gives to somebody else, or that nobody gets."""
    book.freeze()
    book.execute(given)
    if given.of(Party.BUYER):
        book.pay_refund(given)
    book.release()
    assert book.books() == then
    assert book.order().freezes["d1", "s1"].is_lifted
    assert not book.order().slices["s1"].frozen


AFTER_RELEASE = [
    (
        "all to the buyer",
        award(10825, 0),
        {"commission": 1200, "commission_refunded": -1200, "psp": -1500, "seller": 1000}
        | {"tips": 500},
    ),
    (
        "all to the seller",
        award(0, 10825),
        {"psp": -12325, "seller": 9800, "commission": 1200, "tax": 825, "tips": 500},
    ),
    (
        "divided",
        award(4330, 5995, 500),
        {"psp": -7995, "seller": 5780, "commission": 1200, "commission_refunded": -480}
        | {"tax": 495, "tips": 500, "fees": 500},
    ),
]


@pytest.mark.parametrize(
    ("given", "then"), [row[1:] for row in AFTER_RELEASE], ids=[r[0] for r in AFTER_RELEASE]
)
def test_a_ruling_after_the_release(given: Award, then: dict[str, int], book: RulingBook) -> None:
    """Recipe 21: a reserve that is not empty, or a commission kept for goods paid back."""
    book.release()
    book.freeze()
    assert book.books()["reserve"] == 9800
    book.execute(given)
    if given.of(Party.BUYER):
        kept = book.books()["reserve"]
        assert kept == {10825: 8800, 4330: 3520}[given.of(Party.BUYER)]
        book.pay_refund(given)
    assert book.books() == then


def test_a_seller_who_was_paid_out_comes_to_owe(book: RulingBook) -> None:
    """Recipe 21 after the payout: a reserve that holds what the bank has paid already."""
    book.release()
    book.post_text(f"{accounts.seller('s1')} USD 9800\n{accounts.bank('main')} USD -9800")
    book.freeze()
    assert book.books()["seller"] == -9800
    given = award(4330, 5995, 500)
    book.execute(given)
    book.pay_refund(given)
    assert book.books() | {"reserve": 0} == {
        "seller": 5780 - 9800,
        "commission": 1200,
        "commission_refunded": -480,
        "tax": 495,
        "tips": 500,
        "fees": 500,
        "psp": -7995,
        "reserve": 0,
    }


@pytest.mark.parametrize("released", [0, 5000, 12325])
@pytest.mark.parametrize("first", list(Party))
def test_legs_come_in_any_order(first: Party, released: int) -> None:
    """A leg that takes what another one needs, so that the books depend on their order."""
    given = award(4330, 5995, 500)
    found = []
    for turn in (list(Party), [first, *[one for one in Party if one is not first]]):
        book = RulingBook()
        if released:
            book.release(amount=released)
        book.freeze()
        for party in turn:
            book.leg(given, party)
        book.take(finish(book.order(), given))
        book.pay_refund(given)
        assert "reserve" not in book.books()
        assert "refunds" not in book.books()
        if book.order().escrow_held:
            book.release(release_id="rest")
        found.append(book.books())
        assert book.order().escrow_held == 0
    assert found[0] == found[1]


def test_a_declined_refund_waits_on_the_freeze(book: RulingBook) -> None:
    """Money of a ruling that the seller gets because a bank said no."""
    book.freeze()
    given = award(10825, 0)
    book.execute(given)
    op_id = book.refund("p1", "r1:buyer", 10825)
    assert book.order().slices["s1"].frozen_total == 0
    book.run(RecordDeclined(payment_id="p1", op_id=op_id, provider_ref="x"))
    one = book.order().slices["s1"]
    assert (one.frozen_total, one.unfrozen) == (10825, 1500)
    book.release()
    assert book.order().slices["s1"].available == 10825


def test_a_declined_refund_of_released_funds_waits_in_the_reserve(book: RulingBook) -> None:
    """The same after the release."""
    book.release()
    book.freeze()
    given = award(10825, 0)
    book.execute(given)
    op_id = book.refund("p1", "r1:buyer", 10825)
    assert "reserve" not in book.books()
    book.run(RecordDeclined(payment_id="p1", op_id=op_id, provider_ref="x"))
    assert book.books()["reserve"] == 8800
    assert book.order().freezes["d1", "s1"].in_reserve == 8800


def test_a_lifted_freeze_keeps_what_is_promised(book: RulingBook) -> None:
    """A refund that a ruling granted and somebody else's unfreezing took away."""
    book.freeze()
    given = award(4000, 6825)
    book.execute(given)
    one = book.order().slices["s1"]
    assert (one.frozen_total, one.unfrozen) == (4000, 1500)
    with pytest.raises(Rejected, match="only a ruling that takes its place"):
        book.run(WithdrawRefund(order_id="o1", refund_id="r1:buyer", reason="x"))


def test_a_ruling_gives_no_more_than_was_charged(book: RulingBook) -> None:
    """Invariant 29: a buyer who is paid by a return and by a ruling."""
    book.freeze()
    book.run(
        GrantRefund(
            order_id="o1",
            refund_id="back",
            reason="r",
            source=RefundSource.RETURN,
            lines=(MovedLine("a", 1),),
        )
    )
    given = award(10825, 0)
    with pytest.raises(Rejected, match="may still give back 1500"):
        book.leg(given, Party.BUYER)
    assert book.leg(given, Party.PLATFORM) == []


def test_what_nobody_has_is_a_debt_or_goodwill() -> None:
    """A refund of a ruling that nobody bears, or another seller does."""
    for is_goodwill in (False, True):
        book = BookOfTwo()
        book.freeze(6000)
        terms = ExecutionTerms(is_goodwill=is_goodwill)
        given = award(6000, 0)
        book.execute(given, terms)
        book.pay_refund(given)
        found = book.books()
        assert found.get("goodwill", 0) == (-3000 if is_goodwill else 0)
        assert found.get("seller", 0) == (0 if is_goodwill else -3000)
        assert book.order().slices["s2"].available == 3000


def test_a_converted_release_is_ruled_on_at_its_own_rate() -> None:
    """A reserve that keeps a remainder of another currency, or gives the buyer today's rate."""
    book = RulingBook()
    book.release(conversion=ConversionTerms(currency="EUR", rate=Decimal("0.9137")))
    got = book.books("EUR")["seller"]
    book.freeze()
    assert book.books("EUR")["reserve"] == got
    given = award(3333, 7092, 400)
    book.execute(given)
    book.pay_refund(given)
    euro = book.books("EUR")
    assert "reserve" not in euro
    assert euro["fees"] == round(Decimal("0.9137") * 400)
    assert book.books()["psp"] == 3333 - 12325


def test_a_refund_that_failed_after_success_stays_a_liability(book: RulingBook) -> None:
    """A reserve that pays twice for a refund which the provider took back."""
    book.release()
    book.freeze()
    given = award(10825, 0)
    book.execute(given)
    book.pay_refund(given)
    op_id = "refund-r1:buyer-p1"
    book.run(RecordReversed(payment_id="p1", op_id=op_id, provider_ref="x"))
    assert book.books()["refunds"] == 10825
    assert "reserve" not in book.books()


AWARDS = {
    "all to the buyer": (10825, 0, 0),
    "all to the seller": (0, 10825, 0),
    "divided": (4330, 5995, 500),
    "otherwise": (6000, 4125, 700),
}


@pytest.mark.parametrize("released", [0, 4000, 12325])
@pytest.mark.parametrize("is_paid", [False, True])
@pytest.mark.parametrize("first", list(AWARDS))
@pytest.mark.parametrize("second", list(AWARDS))
def test_an_amended_ruling_ends_as_if_it_had_been_the_first(
    first: str, second: str, is_paid: bool, released: int
) -> None:
    """Recipe 22: what a superseded ruling leaves behind, beyond goodwill for what it overpaid."""
    ruled, amended = award(*AWARDS[first]), award(*AWARDS[second], ruling_id="r2")
    found: list[dict[str, int]] = []
    for is_direct in (True, False):
        book = RulingBook()
        if released:
            book.release(amount=released)
        book.freeze()
        if is_direct:
            book.execute(amended)
        else:
            book.execute(ruled)
            if is_paid and ruled.of(Party.BUYER):
                book.pay_refund(ruled)
            book.amend(ruled, amended)
        book.settle(amended)
        assert (book.order().escrow_held, book.books().get("reserve", 0)) == (0, 0)
        assert "refunds" not in book.books()
        found.append(book.books())
    direct, after = found
    overpaid = max(0, ruled.of(Party.BUYER) - amended.of(Party.BUYER)) if is_paid else 0
    assert after.get("goodwill", 0) == -overpaid
    assert after["psp"] == direct["psp"] + overpaid
    assert after.get("fees", 0) == direct.get("fees", 0)
    # A fee lowers what commission is taken of, and gives none back once it was taken.
    on_fee = amended.of(Party.PLATFORM) * 12 // 100
    if released != 4000:
        assert (after.get("tax", 0), after["tips"]) == (direct.get("tax", 0), direct["tips"])
        assert net_of(direct, "commission") - 1 <= net_of(after, "commission")
        assert net_of(after, "commission") <= net_of(direct, "commission") + on_fee + 1


def net_of(books: dict[str, int], name: str) -> int:
    return books.get(name, 0) + books.get(f"{name}_refunded", 0)


@pytest.mark.parametrize("released", [0, 12325])
def test_goodwill_of_a_ruling_comes_back_when_it_is_overturned_in_turn(released: int) -> None:
    """A platform that bears for good what a second ruling made it bear and a third does not."""
    book = RulingBook()
    if released:
        book.release()
    book.freeze()
    first, second, third = (
        award(10825, 0),
        award(2000, 8325, 500, ruling_id="r2"),
        award(9000, 1825, ruling_id="r3"),
    )
    book.execute(first)
    book.pay_refund(first)
    book.amend(first, second)
    assert book.books()["goodwill"] == -8825
    book.amend(first, second, third)
    book.settle(third)
    found = book.books()
    assert (found["goodwill"], found["psp"]) == (-1825, -1500)
    assert found.get("reserve", 0) == found.get("fees", 0) == found.get("refunds", 0) == 0
    held = found["seller"] + net_of(found, "commission") + found["tax"] + found["tips"]
    assert held == 12325 - 9000
    assert (found["tax"], found["tips"]) == (139, 500)


def test_a_ruling_waits_for_the_refund_of_the_one_before(book: RulingBook) -> None:
    """A refund that is on its way while its ruling is taken back."""
    book.freeze()
    first, second = award(4000, 6825), award(0, 10825, ruling_id="r2")
    book.execute(first)
    book.refund("p1", "r1:buyer", 4000)
    with pytest.raises(Rejected, match="is under way"):
        book.amend(first, second)
    book.succeed("p1", "refund-r1:buyer-p1")
    book.run(RecordReversed(payment_id="p1", op_id="refund-r1:buyer-p1", provider_ref="late"))
    with pytest.raises(Rejected, match="failed after success"):
        book.amend(first, second)


def test_a_partly_executed_ruling_is_amended(book: RulingBook) -> None:
    """A leg of the first ruling that is left behind when only some were done."""
    book.freeze()
    first, second = award(4330, 5995, 500), award(0, 10825, ruling_id="r2")
    book.leg(first, Party.PLATFORM)
    assert book.books()["fees"] == 500
    book.amend(first, second)
    book.settle(second)
    assert book.books() == {
        "seller": 9800,
        "commission": 1200,
        "tax": 825,
        "tips": 500,
        "psp": -12325,
    }
    assert book.order().freezes["d1", "s1"].is_lifted


def test_the_reserve_is_empty_whatever_release_gives_the_refund_back() -> None:
    """A remainder in a dispute's reserve where its estimate was of another release's rate."""
    book = RulingBook(is_paid=False)
    book.pay("p1", 6000)
    book.release(conversion=ConversionTerms(currency="EUR", rate=Decimal("0.9137")))
    book.pay("p2", 6325)
    terms = ConversionTerms(currency="EUR", rate=Decimal("0.7"))
    book.release(release_id="second", conversion=terms)
    book.freeze()
    given = award(4330, 6495)
    book.execute(given, ExecutionTerms(strategy=AllocationStrategy.PROPORTIONAL))
    kept = book.books("EUR")["reserve"]
    book.pay_refund(given)
    assert "reserve" not in book.books("EUR")
    assert "FreezeSettled" in book.kinds()
    assert kept > 0


def test_the_provider_may_pay_a_rulings_refund_in_parts(book: RulingBook) -> None:
    """A reserve that is given up while a part of its refund is still to be requested."""
    book.release()
    book.freeze()
    given = award(4330, 6495)
    book.execute(given)
    op_id = book.refund("p1", "r1:buyer", 4330)
    book.run(RecordSucceeded(payment_id="p1", op_id=op_id, provider_ref="x", amount=4000))
    assert book.books()["reserve"] == 3520 * 330 // 4330
    more = RequestRefund(
        payment_id="p1", op_id="more", amount=330, currency="USD", refund_id="r1:buyer"
    )
    book.run(more)
    book.succeed("p1", "more")
    found = book.books()
    assert "reserve" not in found
    assert "refunds" not in found
    assert (found["seller"], found["psp"]) == (6280, 4330 - 12325)
