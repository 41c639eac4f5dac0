"""A shop whose payment is contested, won, contested again and lost: for rows, engines, the CLI."""

from datetime import datetime, timedelta
from typing import Any

from orderledger.commands import model as m
from orderledger.commands.chargeback_commands import SubmitChargebackEvidence
from orderledger.ledger.chargeback_events import EvidenceDocument
from orderledger.ledger.ports import EventStore
from tests.chargebacks_book import opened, report
from tests.model.shop import NOW, Shop, item

DUE = NOW + timedelta(days=7)


def _at(days: int) -> datetime:
    return NOW + timedelta(days=days)


def contested(store: EventStore | None = None) -> Shop:
    """
    Return the shop: cb1 lost at the second chargeback, cb2 open, cb3 an inquiry.

    Two sellers, one of them paid; a part was refunded before.
    """
    shop = Shop(store)
    shop.place(item("a", "60"), item("b", "40", seller="s2"))
    shop.pay(10_000)
    shop.release("s1")
    shop.refund("r1", 1_000)
    reports: list[Any] = [
        opened(4_000, fee=1_500, reason_code="fraudulent", evidence_due_by=DUE, occurred_at=_at(1)),
        SubmitChargebackEvidence(
            payment_id="p1",
            chargeback_id="cb1",
            documents=(EvidenceDocument("proof_of_delivery", "ab" * 32),),
            submitted_by="ann",
            occurred_at=_at(2),
        ),
        report("won", provider_ref="dp_1"),
        report("fee_returned", amount=1_500, currency="USD"),
        opened(4_000, "second_chargeback", fee=20, fee_currency="EUR"),
        report("lost", "second_chargeback"),
        opened(2_000, chargeback_id="cb2", evidence_due_by=DUE),
        opened(500, "inquiry", chargeback_id="cb3"),
    ]
    for command in reports:
        if isinstance(command, m.RecordChargeback) and command.occurred_at is None:
            at = _at(3)
            command = m.RecordChargeback(report=command.report, occurred_at=at)
        shop.run(command)
    return shop
