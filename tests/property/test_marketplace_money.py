"""
Invariants 15, 29 and 30 over random courses: what a buyer gets back by every way together, payments
in another currency, and evidence whose bytes are the host's.
"""

from decimal import Decimal
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orderledger.commands import model as m
from orderledger.commands.decision import Command
from orderledger.ledger import accounts
from orderledger.ledger.currencies import exponent
from orderledger.ledger.errors import InvalidInput, Rejected
from orderledger.ledger.payment_events import FxQuote, PaymentInitiated
from orderledger.testing.fakes import FakeEvidenceBlobs
from tests.chargebacks_book import opened, report
from tests.dispute_book import file, rules
from tests.model.shop import NOW, Shop, anomalies_of, balances_of, item
from tests.payments_book import Book

PAID = 10_000


class Receipts(Shop):
    """One order, paid with 100.00; ``way`` gives money back, as far as the engine lets it."""

    def __init__(self, *, is_released: bool) -> None:
        super().__init__()
        self.place(item("a", "60"), item("b", "40", seller="s2"))
        self.pay(PAID)
        if is_released:
            self.release("s1")

    def way(self, name: str, amount: int) -> None:
        {"refund": self._refund, "dispute": self._dispute, "chargeback": self._charge}[name](amount)

    @property
    def is_disputed(self) -> bool:
        return any(notice.is_open for notice in self.order().disputes.values())

    def _allowed(self, *commands: Command) -> bool:
        return all(self.refusal(one) == "" for one in commands)

    def _refund(self, amount: int) -> None:
        refund_id = f"r{len(self.order().grants)}"
        grant = m.GrantRefund(
            order_id="o1",
            refund_id=refund_id,
            reason="x",
            source=m.RefundSource.PRICE,
            adjustment=amount,
        )
        if self._allowed(grant):
            self._pay_back(refund_id)

    def _dispute(self, amount: int) -> None:
        filing = file(
            "d1",
            ("a", min(amount, 6_000)),
            placed_at=NOW,
            delivered_at=None,
            rule_book=rules(),
        )
        if self._allowed(
            filing,
            m.AcceptDispute(dispute_id="d1", by="clerk"),
            m.Respond(dispute_id="d1", answer=m.Answer.ACCEPT),
            m.ExecuteRuling(dispute_id="d1"),
        ):
            # A leg that gives more than is left fails, and is told as failed.
            for refund_id in [key for key in self.order().grants if key.startswith("d1:")]:
                self._pay_back(refund_id)

    def _charge(self, amount: int) -> None:
        self.run(opened(amount))
        self.run(report("lost"))

    def _pay_back(self, refund_id: str) -> None:
        if not self.order().grants[refund_id].allocations:
            self._allowed(m.AllocateRefund(order_id="o1", refund_id=refund_id))
        total = self.order().grants[refund_id].allocations.get("p1", 0)
        request = m.RequestRefund(
            payment_id="p1", op_id=refund_id, amount=total, currency="USD", refund_id=refund_id
        )
        if total and self._allowed(request):
            self.succeed(refund_id)


@settings(max_examples=30)
@given(
    ways=st.permutations(["refund", "dispute", "chargeback", "refund"]),
    amounts=st.lists(st.sampled_from([1, 2_500, 5_000, 6_000, PAID]), min_size=4, max_size=4),
    is_released=st.booleans(),
)
def test_invariant_29_the_buyer_gets_no_more_than_was_paid(
    ways: list[str], amounts: list[int], is_released: bool
) -> None:
    """Catches a buyer who is paid by refund, ruling and chargeback together, and nobody sees it."""
    shop = Receipts(is_released=is_released)
    for name, amount in zip(ways, amounts, strict=True):
        shop.way(name, amount)
    payment = shop.payment()
    got = payment.refunded + payment.chargeback_lost
    beyond = max(0, got - PAID)
    assert shop.balance(accounts.psp("psp")) == PAID - got
    assert (payment.exposure, shop.balance(accounts.receivable("o1"))) == (beyond, beyond)
    assert anomalies_of(shop.store).count("Exposure") == (beyond > 0)
    if beyond:
        # Only a report can do it: no command gave more than was there.
        assert got - payment.chargeback_lost <= PAID
        assert "chargeback" in ways
    # A ruling of more than is left waits to be amended; all else is over and must be zero.
    waiting = {accounts.dispute_reserve("d1")} if shop.is_disputed else set[str]()
    subjects = ("liabilities:refunds:", "liabilities:dispute_reserve:", "assets:disputes:")
    left = {key[1] for key in balances_of(shop.store) if key[1].startswith(subjects)}
    assert left <= waiting


@settings(max_examples=40)
@given(
    order_currency=st.sampled_from(["USD", "JPY", "KWD"]),
    currency=st.sampled_from(["USD", "JPY", "KWD"]),
    amount=st.integers(1, 10**9),
    is_quoted=st.booleans(),
)
def test_invariant_15_a_payment_in_another_currency_has_a_quote(
    order_currency: str, currency: str, amount: int, is_quoted: bool
) -> None:
    """Catches yen that pay a bill in dollars one for one, or a quote that loses an amount."""
    book = Book()
    book.place(10_000, currency=order_currency)
    rate = Decimal(amount).scaleb(-exponent(currency)) / Decimal(10_000).scaleb(
        -exponent(order_currency)
    )
    quote = FxQuote("fx1", 10_000, order_currency, rate) if is_quoted else None
    command: Any = m.InitiatePayment(
        payment_id="p1",
        order_id="o1",
        provider="adyen",
        method="card",
        amount=10_000 if currency == order_currency else amount,
        currency=currency,
        quote_id="q1",
        fx=quote,
    )
    if is_quoted == (currency == order_currency):
        with pytest.raises((InvalidInput, Rejected), match="quote"):
            book.run(command)
        return
    (begun,) = [one for one in book.run(command) if isinstance(one, PaymentInitiated)]
    assert (begun.amount, begun.currency) == (command.amount, currency)
    assert begun.fx == quote
    assert book.order().payments["p1"] == 10_000


@settings(max_examples=15)
@given(contents=st.lists(st.binary(max_size=200), min_size=1, max_size=6, unique=True))
def test_invariant_30_evidence_is_named_by_its_bytes(contents: list[bytes]) -> None:
    """Catches evidence recorded under another hash than its bytes have, or that goes away."""
    shop, blobs = Shop(), FakeEvidenceBlobs()
    shop.place(item("a", "60"))
    shop.pay(6_000)
    shop.run(
        file(
            placed_at=NOW,
            delivered_at=None,
            rule_book=rules(escalation_from_hours=0),
        )
    )
    shop.run(m.AcceptDispute(dispute_id="d1", by="clerk"))
    shop.run(m.Escalate(dispute_id="d1", party=m.Party.BUYER))
    for number, content in enumerate(contents):
        name = blobs.put(content)
        shop.run(
            m.SubmitEvidence(
                dispute_id="d1",
                party=m.Party.SELLER,
                item=m.EvidenceItem(f"e{number}", "photo", name, len(content)),
            )
        )
        strike = m.StrikeEvidence(dispute_id="d1", evidence_id="e0", reason="x", by="clerk")
        shop.run(strike)
        kept = shop.book.read.dispute("d1").evidence
        assert list(kept) == [f"e{index}" for index in range(number + 1)]
        for one, stored in zip(kept.values(), contents, strict=False):
            assert one.item.sha256 == sha256(stored).hexdigest()
            assert blobs.get(one.item.sha256) == stored
