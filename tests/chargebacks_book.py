"""
Orders whose payments are charged back: short ways to write reports, and what must hold after each.
"""

from datetime import timedelta
from decimal import Decimal
from importlib import import_module
from typing import Any

from orderledger.commands.chargeback_commands import RecordChargeback
from orderledger.commands.decision import Changes, Command
from orderledger.commands.order_commands import (
    AllocateRefund,
    GrantRefund,
    MeetReleaseCondition,
    ReleaseFunds,
)
from orderledger.ledger import accounts
from orderledger.ledger.anomalies import AnomalyRaised
from orderledger.ledger.chargeback_events import ChargebackReport
from orderledger.ledger.chargeback_stages import ChargebackFact, ChargebackStage
from orderledger.ledger.chargebacks import Chargeback
from orderledger.ledger.order_content import LineInput, ShippingCharge, Tax, Tip
from orderledger.ledger.order_events import RefundSource
from orderledger.ledger.payments import PaymentState
from tests.decided_book import START
from tests.order_book import OrderBook, item

for _module in ("chargebacks", "freezes", "inbox"):
    import_module(f"orderledger.commands.decide_{_module}")

DUE = START + timedelta(days=7)
PSP = accounts.psp("psp1")
SELLER = accounts.seller("s1")
TOTAL = 12_325
"""The total of the worked example of the books."""


def report(fact: str, stage: str = "chargeback", **fields: Any) -> RecordChargeback:
    """Return the report of a fact about chargeback cb1 of payment p1."""
    at = fields.pop("occurred_at", None)
    given: dict[str, Any] = {"payment_id": "p1", "chargeback_id": "cb1", **fields}
    said = ChargebackReport(fact=ChargebackFact(fact), stage=ChargebackStage(stage), **given)
    return RecordChargeback(report=said, occurred_at=at)


def opened(amount: int, stage: str = "chargeback", **fields: Any) -> RecordChargeback:
    return report("opened", stage, amount=amount, **fields)


class ChargebackBook(OrderBook):
    """An order book that checks what must hold of chargebacks after every command."""

    def run(self, command: Command) -> Changes:
        changes = super().run(command)
        for stream, state in self.states.items():
            if stream.startswith("payment-"):
                self.check_chargebacks(state)
        return changes

    def check_chargebacks(self, payment: PaymentState) -> None:
        """Assert that disputes hold what is contested, and losses are borne to the last unit."""
        for chargeback_id, one in payment.chargebacks.items():
            account = accounts.disputes(chargeback_id)
            assert self.balance(account, payment.currency) == one.contested
            assert sum([part.amount for part in one.parts]) == one.lost
            assert min(one.contested, one.lost, one.reversed) >= 0
            if not one.contested:
                assert not any(
                    freeze.cause == "chargeback" and not freeze.is_lifted
                    for freeze in self.order(payment.order_id).freezes.values()
                    if freeze.freeze_id.startswith(chargeback_id)
                )
        assert payment.refundable >= 0
        if payment.exposure:
            kinds = [key for key in payment.anomalies if key.startswith("Exposure:")]
            assert len(kinds) == 1

    def sold(self, *, released: bool = False) -> "ChargebackBook":
        """Sell the worked example of the books: 12,325, captured, commission 12 %."""
        self.confirmed(
            item("a 1 x 100.00", tax=(Tax("NY", 825),)),
            shipping=(ShippingCharge("x", "s1", 1000),),
            tips=(Tip("s1", 500),),
        )
        self.pay("p1", TOTAL)
        if released:
            self.release("s1")
        return self

    def sold_lines(self, *lines: LineInput | str, **payment: Any) -> "ChargebackBook":
        """Sell lines and capture all of it by p1."""
        self.confirmed(*lines)
        self.pay("p1", payment.pop("amount", self.order().total), **payment)
        return self

    def release(self, seller: str, **fields: Any) -> None:
        self.run(MeetReleaseCondition(order_id="o1", seller=seller, cause="delivered"))
        given: dict[str, Any] = {
            "release_id": f"rel-{seller}",
            "commission_rate": Decimal("0.12"),
            "rate_version": "2026",
            **fields,
        }
        self.run(ReleaseFunds(order_id="o1", seller=seller, **given))

    def granted(self, refund_id: str, amount: int) -> None:
        """Grant an amount of o1 and allocate it."""
        grant = GrantRefund(
            order_id="o1",
            refund_id=refund_id,
            reason="r",
            source=RefundSource.PRICE,
            adjustment=amount,
        )
        self.run(grant)
        self.run(AllocateRefund(order_id="o1", refund_id=refund_id))

    def refunded(self, refund_id: str, amount: int) -> None:
        """Grant an amount of o1 and have p1 give it back."""
        self.granted(refund_id, amount)
        self.succeed("p1", self.refund("p1", refund_id, amount))

    def payment(self, payment_id: str = "p1") -> PaymentState:
        state: PaymentState = self.states[f"payment-{payment_id}"]
        return state

    def chargeback(self, chargeback_id: str = "cb1") -> Chargeback:
        return self.payment().chargebacks[chargeback_id]

    def anomalies(self) -> list[str]:
        """Return the kinds of all anomalies raised, in order."""
        return [one.kind for _, one in self.events if isinstance(one, AnomalyRaised)]

    def posted(self, *without: str) -> dict[str, int]:
        """Return the balances that are not zero, debit positive, of one currency."""
        names = {leg.account for leg in self.postings if leg.layer.value == "posted"}
        found = {name: self.balance(name) for name in sorted(names) if name not in without}
        return {name: minor for name, minor in found.items() if minor}

    def open_accounts(self, currency: str = "USD") -> dict[str, int]:
        """Return the accounts that must be zero at the end and are not."""
        names = {leg.account for leg in self.postings if leg.layer.value == "posted"}
        found = {
            name: self.balance(name, currency)
            for name in names
            if accounts.classify(name).must_be_zero
        }
        return {name: minor for name, minor in found.items() if minor}
