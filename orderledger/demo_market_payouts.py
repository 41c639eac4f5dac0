"""
Paying the sellers of the marketplace month: payouts that arrive, fail or come back; reserve, debt,
penalties and standing.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from typing import Final

from orderledger.commands.account_commands import WriteOffDebt
from orderledger.commands.payout_commands import (
    CancelPayout,
    InitiatePayout,
    RecordPayoutFailed,
    RecordPayoutPaid,
    RecordPayoutPending,
    RecordPayoutReturned,
)
from orderledger.commands.requests import Actor
from orderledger.commands.seller_commands import (
    ChangeSellerStanding,
    ImposePenalty,
    LiftPenalty,
    ReinstateSeller,
    ReleaseReserve,
    SetReserve,
    SuspendSeller,
)
from orderledger.ledger.seller_events import ReserveTerms, Standing
from orderledger.ledger.sellers import reserve_of
from orderledger.payout_proposals import PayoutTarget, propose_payout, seen_balance
from orderledger.projections.seller_standing import SellerStandingRow

from .demo_market_sales import sold
from .demo_market_world import BANK, CURRENCY, Case, Tale

RESERVE_DAYS: Final = 7
BANK_FEE: Final = 350
"""What the bank keeps of a payout that comes back."""
_BANK: Final = Actor("gateway", "bank")
_PRICE: Final = 4_000


class Payment:
    """A payout of a story to one seller: all that is payable when it is scheduled."""

    def __init__(self, case: Case, seller: str, name: str = "payout") -> None:
        self.case: Final = case
        self.seller: Final = seller
        self.payout_id: Final = case.part(name)

    def schedule(self) -> None:
        """Decide it, on the seller's balance as it is now."""
        target = PayoutTarget(seller=self.seller, currency=CURRENCY, bank=BANK)
        self.case.do(lambda: propose_payout(self.case.book.read, self.payout_id, target))

    def initiate(self) -> None:
        """Ask the bank."""
        self.case.do(
            lambda: InitiatePayout(
                payout_id=self.payout_id,
                seen=seen_balance(self.case.book.read, self.seller, CURRENCY),
            )
        )

    def send(self) -> None:
        """Decide it and ask the bank."""
        self.schedule()
        self.initiate()

    def paid(self) -> None:
        """The bank reports that it paid."""
        paid = RecordPayoutPaid(payout_id=self.payout_id, bank_ref=f"wire-{self.payout_id}")
        self.case.do(paid, by=_BANK)


def _earned(case: Case, seller: str, *, suffix: str = "", price: int = _PRICE) -> str:
    """Sell, deliver, release; return the order."""
    sale = sold(case, seller, suffix=suffix, price=price)
    sale.deliver()
    sale.meet()
    return sale.order_id


def weekly(case: Case) -> Tale:
    """Sellers with many orders are paid what has been released, one again at the month's end."""
    for day, seller in ((21, "ada"), (21, "bruno"), (30, "ada")):
        yield case.on(day, 10)
        payment = Payment(case, seller, f"{seller}-{day}")
        payment.send()
        yield case.after(hours=2)
        case.do(RecordPayoutPending(payout_id=payment.payout_id, bank_ref="batch"), by=_BANK)
        yield case.after(hours=3)
        payment.paid()


def failed(case: Case) -> Tale:
    """
    A payout is given up before the bank was asked; the next one fails before anything was debited;
    the third one arrives.
    """
    yield case.on(3)
    _earned(case, "dmitri")
    yield case.after(days=2)
    first = Payment(case, "dmitri", "cancelled")
    first.schedule()
    case.do(CancelPayout(payout_id=first.payout_id, reason="the account number was wrong"))
    yield case.after(hours=2)
    second = Payment(case, "dmitri", "failed")
    second.send()
    yield case.after(days=1)
    no_account = RecordPayoutFailed(
        payout_id=second.payout_id, bank_ref="r-1", reason="no such account"
    )
    case.do(no_account, by=_BANK)
    yield case.after(days=1)
    third = Payment(case, "dmitri", "paid")
    third.send()
    yield case.after(days=1)
    third.paid()


def returned(case: Case) -> Tale:
    """Paid, and back three days later less the bank's fee; the seller is owed all of it again."""
    yield case.on(4)
    _earned(case, "greta")
    yield case.after(days=1)
    first = Payment(case, "greta", "returned")
    first.send()
    yield case.after(days=1)
    first.paid()
    yield case.after(days=3)
    back = RecordPayoutReturned(
        payout_id=first.payout_id, bank_ref="ret-1", reason="account closed", fee=BANK_FEE
    )
    case.do(back, by=_BANK)
    yield case.after(days=1)
    second = Payment(case, "greta", "again")
    second.send()
    yield case.after(days=1)
    second.paid()


def reserved(case: Case) -> Tale:
    """
    A tenth of each payout stays back for a week, until the timer sets it free; it is paid with the
    next one.
    """
    yield case.on(3)
    terms = ReserveTerms(rate=Decimal("0.1"), days=RESERVE_DAYS)
    case.do(SetReserve(seller="ines", currency=CURRENCY, terms=terms, reason="a new seller"))
    _earned(case, "ines")
    yield case.after(days=1)
    first = Payment(case, "ines", "first")
    first.send()
    yield case.after(days=1)
    first.paid()
    case.refused(
        ReleaseReserve(seller="ines", currency=CURRENCY, reserve_id=reserve_of(first.payout_id))
    )
    yield case.after(days=RESERVE_DAYS + 1)
    case.do(SetReserve(seller="ines", currency=CURRENCY, terms=None, reason="a good start"))
    yield case.after(hours=2)
    second = Payment(case, "ines", "second")
    second.send()
    yield case.after(days=1)
    second.paid()


def debt_recovered(case: Case) -> Tale:
    """The goods come back after the payout: the seller owes, and the next sale pays it."""
    yield case.on(4)
    sale = sold(case, "elena", price=_PRICE)
    sale.deliver()
    sale.meet()
    yield case.after(days=1)
    first = Payment(case, "elena", "first")
    first.send()
    yield case.after(days=1)
    first.paid()
    yield case.after(days=1)
    sale.refund_unit()
    yield case.after(days=1)
    _earned(case, "elena", suffix="-more", price=_PRICE * 2)
    yield case.after(days=1)
    second = Payment(case, "elena", "second")
    second.send()
    yield case.after(days=1)
    second.paid()


def debt_written_off(case: Case) -> Tale:
    """
    As before, but nothing is sold any more: the seller is fined, suspended, and the debt given up.
    """
    yield case.on(5)
    sale = sold(case, "felix", price=_PRICE)
    sale.deliver()
    sale.meet()
    yield case.after(days=1)
    payment = Payment(case, "felix")
    payment.send()
    yield case.after(days=1)
    payment.paid()
    yield case.after(days=1)
    sale.refund_unit()
    for name, amount in (("late", 500), ("rude", 900)):
        fine = ImposePenalty(
            seller="felix",
            currency=CURRENCY,
            penalty_id=case.part(name),
            rule_ref=f"sellers-{name}",
            amount=amount,
            reason=name,
        )
        case.do(fine)
    lifted = LiftPenalty(
        seller="felix", currency=CURRENCY, penalty_id=case.part("rude"), reason="it was the buyer"
    )
    case.do(lifted)
    case.do(SuspendSeller(seller="felix", reason="gone", by="clerk"))
    yield case.after(days=10)
    case.do(lambda: _write_off(case, "felix"))
    case.do(ReinstateSeller(seller="felix", reason="the books are even", by="clerk"))


def _write_off(case: Case, seller: str) -> WriteOffDebt:
    debt = -seen_balance(case.book.read, seller, CURRENCY).payable
    return WriteOffDebt(
        entry_id=case.part("write-off"),
        seller=seller,
        amount=debt,
        currency=CURRENCY,
        debt=debt,
        reason="nobody answers",
    )


def standing(case: Case) -> Tale:
    """At the month's end every seller's standing is decided on what the month counted."""
    yield case.on(29, 12)
    for seller in ("ada", "bruno", "chiara"):
        case.do(partial(_standing, case, seller))


def _standing(case: Case, seller: str) -> ChangeSellerStanding:
    models = case.book.read.models
    models.catch_up("seller_standing")
    row = models.get(SellerStandingRow, seller)
    assert row is not None, "the seller sold something this month"
    return ChangeSellerStanding(
        seller=seller,
        score=row.earned_score,
        standing=Standing(row.earned_standing),
        policy="default-1",
        cause_event="month 2026-03",
    )


PAYOUTS: Final[Mapping[str, tuple[int, Callable[[Case], Tale]]]] = {
    "payouts that arrive": (1, weekly),
    "payout cancelled, failed, paid": (1, failed),
    "payout returned with a fee": (1, returned),
    "rolling reserve": (1, reserved),
    "debt recovered": (1, debt_recovered),
    "debt written off": (1, debt_written_off),
    "standing of the sellers": (1, standing),
}
"""By what becomes of a payout: how many, and its story."""
