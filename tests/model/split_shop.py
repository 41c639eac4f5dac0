"""
An order with every kind of tender at once: two sellers, both kinds of coupon, a gift card, points
and two cards. Shared by the tests of split tenders.
"""

from decimal import Decimal
from typing import Any, Final

from orderledger.book import Book
from orderledger.commands import model as m
from orderledger.commands.order_commands import AllocationStrategy
from orderledger.ledger import accounts
from orderledger.ledger.order_content import Discount, Funder, LineInput, ShippingCharge, Tax
from orderledger.ledger.order_events import PaymentPart
from orderledger.ledger.payment_events import Capabilities, CaptureMode
from orderledger.ledger.stored_value import StoredValueState
from orderledger.ledger.streams import stored_value
from orderledger.ledger.tenders import Tender, tenders_of
from tests.model.shop import NOW, Shop, balances_of

SOON: Final = NOW.replace(year=2027)
MANY: Final = Capabilities(multicapture=True, captures_max=50)
CARD_A, CARD_B, GIFT, POINTS = "p1", "p2", "gift", "points"
TENDERS: Final = (CARD_A, CARD_B, GIFT, POINTS)
GIFT_MONEY: Final = 3_000
POINTS_COUNT: Final = 1_000
POINTS_WORTH: Final = 777
CARD_A_MONEY: Final = 5_000
LINES: Final = (
    LineInput(
        "a",
        "mug",
        "s1",
        3,
        Decimal("33.35"),
        (Discount("seller-10", 1_001), Discount("welcome", 500, Funder.PLATFORM)),
        (Tax("us", 655),),
    ),
    LineInput(
        "b",
        "lamp",
        "s2",
        2,
        Decimal("25.50"),
        (Discount("welcome", 777, Funder.PLATFORM),),
        (Tax("us", 331),),
    ),
)
SHIPPING: Final = (ShippingCharge("sh", "s1", 499),)
OWED: Final = {
    ("posted", accounts.store_credit("card-1"), "USD"): -GIFT_MONEY,
    ("posted", accounts.loyalty("b1"), "PTS"): -POINTS_COUNT,
    ("posted", accounts.GOODWILL, "USD"): GIFT_MONEY,
    ("posted", accounts.GOODWILL, "PTS"): POINTS_COUNT,
}
"""What is left when an order is undone altogether: the value, as it was issued."""


class SplitShop(Shop):
    """A shop whose order o1 is paid by four tenders, its cards captured."""

    def __init__(self, *, is_captured: bool = True) -> None:
        super().__init__()
        self.now = NOW
        self.book = Book(self.store, clock=lambda: self.now)
        self.place(*LINES, shipping=SHIPPING)
        self.total = self.order().total
        self._issue_value()
        self._redeem(GIFT, GIFT_MONEY)
        self._redeem(POINTS, POINTS_COUNT, currency="PTS", order_amount=POINTS_WORTH)
        self.initiate(CARD_A_MONEY, capture_mode=CaptureMode.MULTI, capabilities=MANY)
        self.run(m.Authorise(payment_id=CARD_A, op_id="auth", amount=CARD_A_MONEY, currency="USD"))
        self.succeed("auth")
        self.card_b = self.total - CARD_A_MONEY - GIFT_MONEY - POINTS_WORTH
        if is_captured:
            self.capture(CARD_A_MONEY - 1_234, "cap-1")
            self.capture(1_234, "cap-2")
            self.pay(self.card_b, CARD_B)

    def _issue_value(self) -> None:
        given: dict[str, Any] = {"account_id": GIFT, "kind": "gift_card", "holder": "card-1"}
        self.issue(2_000, lot_id="soon", expires_at=SOON, **given)
        self.issue(GIFT_MONEY - 2_000, lot_id="never", **given)
        kind: Any = "loyalty"
        source: Any = "goodwill"
        self.run(
            m.IssueValue(
                account_id=POINTS,
                holder="b1",
                kind=kind,
                lot_id="points",
                amount=POINTS_COUNT,
                currency="PTS",
                source=source,
            )
        )

    def _redeem(self, account_id: str, amount: int, currency: str = "USD", **more: Any) -> None:
        self.run(
            m.RedeemValue(
                account_id=account_id,
                redemption_id=account_id,
                amount=amount,
                currency=currency,
                order_id="o1",
                **more,
            )
        )

    def capture(self, amount: int, op_id: str) -> None:
        self.run(
            m.Capture(payment_id=CARD_A, op_id=op_id, amount=amount, currency="USD", is_final=False)
        )
        self.succeed(op_id)

    def value(self, account_id: str) -> StoredValueState:
        state: StoredValueState = self.book._executor.state(stored_value(account_id)).state
        return state

    def tenders(self) -> dict[str, Tender]:
        return {one.tender_id: one for one in tenders_of(self.order(), self.payment)}

    def settle(self, refund_id: str, pieces: int = 1) -> None:
        """Give every part of an allocated refund back, each in so many pieces."""
        grant = self.order().grants[refund_id]
        for tender_id, amount in grant.allocations.items():
            size = max(1, amount // pieces)
            for number, start in enumerate(range(0, amount, size)):
                self.give_back(refund_id, tender_id, min(size, amount - start), f"{number}")
                self.check()

    def give_back(self, refund_id: str, tender_id: str, amount: int, suffix: str = "") -> None:
        op_id = f"{refund_id}-{tender_id}-{suffix}"
        if tender_id in (CARD_A, CARD_B):
            self.succeed(self.request(refund_id, amount, tender_id, op_id=op_id), tender_id)
            return
        self.run(
            m.RestoreValue(
                account_id=tender_id,
                restore_id=op_id,
                redemption_id=tender_id,
                order_id="o1",
                refund_id=refund_id,
                amount=amount,
            )
        )

    def allocated(
        self, refund_id: str, strategy: AllocationStrategy, **parts: int
    ) -> dict[str, int]:
        given = tuple([PaymentPart(tender, amount) for tender, amount in parts.items()])
        self.allocate(refund_id, strategy=strategy, parts=given)
        return dict(self.order().grants[refund_id].allocations)

    def check(self) -> None:
        """Assert what must hold at every step, whatever was done."""
        order = self.order()
        sums: dict[tuple[str, str], int] = {}
        for (layer, _, currency), minor in balances_of(self.store).items():
            sums[layer, currency] = sums.get((layer, currency), 0) + minor
        assert not any(sums.values()), sums
        assert order.escrow_held == self.escrow() >= 0
        assert all(one.available >= 0 for one in order.slices.values())
        for one in self.tenders().values():
            assert 0 <= one.refunded <= one.captured, one
        for account_id, currency, account in (
            (GIFT, "USD", accounts.store_credit("card-1")),
            (POINTS, "PTS", accounts.loyalty("b1")),
        ):
            state = self.value(account_id)
            assert state.balance == -self.balance(account, currency) >= 0
            assert state.balance == sum(lot.remaining for lot in state.lots.values())
        for grant in order.grants.values():
            if grant.status == "settled" and not grant.settled_externally:
                assert grant.settled == grant.allocations
                assert sum(grant.settled.values()) == grant.total
        promised = sum(grant.total for grant in order.grants.values() if grant.is_live)
        assert promised <= self.total + order.goodwill_approved
        assert self.balance(accounts.COMMISSION_REFUNDED) <= -self.balance(accounts.COMMISSION)
        assert not self.balance(accounts.refunds("o1")) > 0
