"""
A marketplace's trouble on any store: a dispute, chargebacks, payouts, a settlement, alerts.

For what reads books: in it every table of every shipped read model has a row.
"""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import pytest

from orderledger.commands import model as m
from orderledger.commands.account_commands import PostingInput
from orderledger.commands.decision import Command
from orderledger.commands.requests import Receipt
from orderledger.ledger.errors import Rejected
from orderledger.ledger.ports import EventStore
from orderledger.ledger.risk_rules import (
    AmountRule,
    RiskPolicy,
)
from tests.chargebacks_book import opened, report
from tests.dispute_book import file, rules
from tests.dispute_book import item as evidence
from tests.dispute_shop import DisputeShop
from tests.model.shop import NOW, item
from tests.settlement_book import SHA, line

WEEK: Final = timedelta(days=7)
LATER: Final = NOW + 10 * WEEK
DAY: Final = datetime(2026, 1, 7, tzinfo=NOW.tzinfo)
POLICY: Final = RiskPolicy(
    version="2026-01",
    amounts=(AmountRule(rule_id="entries", command="PostEntry", currency="USD", approve_above=1),),
)


class MarketBook(DisputeShop):
    """Orders o1 (disputed), o2 (charged back), o3 (paid out), o4 (disputed still), o5 (placed)."""

    def __init__(self, store: EventStore) -> None:
        self._given = 0
        super().__init__(store)
        for step in self.steps():
            step()
        self._contest()
        self._pay_out()
        self._settle()
        self._go_on_disputing()
        self._watch()

    def run(self, command: Command, key: str | None = None) -> Receipt:
        """Execute under a key that is the same each time: rows show some of them."""
        self._given += 1
        return super().run(command, key or f"market-{self._given}")

    def run_all(self, *commands: Command) -> None:
        for command in commands:
            self.run(command)

    def _contest(self) -> None:
        self.place(item("a", "60"), item("b", "40", seller="s2"), order_id="o2")
        self.pay(10_000, "p2", order_id="o2")
        self.release("s1", order_id="o2", release_id="rel-o2")
        of_p2: Any = {"payment_id": "p2"}
        self.run_all(
            opened(500, "inquiry", chargeback_id="cb0", reason_code="unknown", **of_p2),
            opened(4_000, fee=1_500, reason_code="fraudulent", evidence_due_by=LATER, **of_p2),
            m.SubmitChargebackEvidence(
                payment_id="p2",
                chargeback_id="cb1",
                documents=(m.EvidenceDocument("proof_of_delivery", SHA),),
                submitted_by="ann",
            ),
            report("won", **of_p2),
            report("fee_returned", amount=1_500, currency="USD", **of_p2),
            opened(4_000, "second_chargeback", fee=20, fee_currency="EUR", **of_p2),
            report("lost", "second_chargeback", **of_p2),
            opened(
                2_000,
                chargeback_id="cb2",
                reason_code="not_received",
                evidence_due_by=LATER,
                **of_p2,
            ),
            report("lost", chargeback_id="cb9", amount=9_000, **of_p2),
        )

    def _seen(self) -> m.SeenBalance:
        balance = -self.balance("liabilities:seller:s3")
        return m.SeenBalance(balance, self.book.read.seller("s3", "USD").version)

    def _pay_out(self) -> None:
        self.place(item("a", "80", seller="s3"), order_id="o3")
        self.pay(8_000, "p3", order_id="o3")
        for release_id in ("rel-1", "rel-2"):
            self.release("s3", order_id="o3", release_id=release_id, amount=4_000)
        terms = m.ReserveTerms(Decimal("0.1"), 30)
        of_seller: Any = {"seller": "s3", "currency": "USD"}
        self.run(m.SetReserve(terms=terms, **of_seller))
        for number in (1, 2):
            release = m.ReleasedSlice("o3", f"rel-{number}")
            self.run(
                m.SchedulePayout(
                    payout_id=f"y{number}",
                    bank="main",
                    entries=(release,),
                    seen=self._seen(),
                    **of_seller,
                )
            )
            self.run(m.InitiatePayout(payout_id=f"y{number}", seen=self._seen()))
            self.run(m.RecordPayoutPaid(payout_id=f"y{number}", bank_ref=f"B{number}"))
        self.run_all(
            m.RecordPayoutReturned(payout_id="y2", bank_ref="B3", reason="closed", fee=15),
            m.ImposePenalty(penalty_id="late", rule_ref="4.1", amount=100, **of_seller),
            m.ChangeSellerStanding(
                seller="s3", score=9_000, standing=m.Standing.GOOD, policy="default"
            ),
            m.SuspendSeller(seller="s2", reason="chargebacks", by="ann"),
        )

    def _settle(self) -> None:
        begin: Any = {"sha256": SHA, "format": "generic", "bank": "main"}
        of_batch: Any = {"provider": "psp", "batch": "b1"}
        self.run(m.ImportSettlementFile(line_count=4, **begin, **of_batch))
        lines = (
            (line(1, "payment", 8_000, 200, provider_ref="ref-buy-p3"), ("p3",)),
            (line(2, "chargeback", -4_000, provider_ref="ref-buy-p2"), ("p2",)),
            (line(3, "fee", -50), ()),
            (line(4, "payout", -3_700, modification_ref="PO-1"), ()),
        )
        for one, candidates in lines:
            self.run(m.RecordSettlementLine(line=one, candidates=candidates, **of_batch))
        of_statement: Any = {"bank": "main", "statement": "s1"}
        self.run(m.ImportBankStatement(sha256=SHA, currency="USD", line_count=2, **of_statement))
        shown = m.BankSubject("settlement", "psp/b1", 4)
        for number, (amount, reference) in enumerate(((3_700, "PO-1"), (77, "from whom?")), 1):
            booked = m.BankLine(line_no=number, amount=amount, booked_at=DAY, reference=reference)
            self.run(m.RecordBankLine(line=booked, candidates=(shown,), **of_statement))

    def _go_on_disputing(self) -> None:
        self.place(item("a", "30"), order_id="o4")
        self.pay(3_000, "p4", order_id="o4")
        self.run_all(
            file(
                "d2",
                order_id="o4",
                placed_at=self.now,
                delivered_at=None,
                reason="not received",
                rule_book=rules(),
                evidence=(evidence("e9"),),
            ),
            m.AcceptDispute(dispute_id="d2", by="clerk"),
        )

    def _watch(self) -> None:
        self.book.keep_to(POLICY)
        self.run(
            m.PlaceOrder(
                order_id="o5",
                buyer_ref="b1",
                currency="USD",
                lines=(item("a", "1"),),
                channel="app",
            )
        )
        self.run(
            m.RecordStockReserved(
                order_id="o5",
                reservation=m.StockReservation("rsv1", "a", 1, LATER),
            )
        )
        # Our own: the id of a policy's alert holds the command's, which is another each time.
        of_alert: Any = {"alert_id": "al1"}
        self.run_all(
            m.RaiseAlert(rule_id="calls", subject="buyer:b1", detail="called twice", **of_alert),
            m.ResolveAlert(by="ann", resolution="known to us", **of_alert),
        )
        legs = (
            PostingInput("assets:bank:main", "USD", 500),
            PostingInput("equity:opening", "USD", -500),
        )
        entry = m.PostEntry(entry_id="e1", description="opening", postings=legs)
        with pytest.raises(Rejected) as refusal:
            self.run(entry)
        approval_id = str(refusal.value.facts["approval_id"])
        self.book.request_approval(entry, requested_by="ann", reason="begin", expires_at=LATER)
        self.run(m.GrantApproval(approval_id=approval_id, granted_by="bob", expires_at=LATER))
        self.run(entry)
