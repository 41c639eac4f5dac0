"""A dispute's money on every store: frozen, divided, refunded and divided anew."""

from decimal import Decimal
from typing import Any

from orderledger.commands import model as m
from orderledger.commands.order_commands import ConversionTerms
from orderledger.ledger import accounts
from orderledger.ledger.dispute_parties import Allocation, Party
from orderledger.ledger.ports import EventStore
from orderledger.ledger.stores.memory import MemoryStore
from orderledger.replay.verify import verify
from tests.dispute_book import HOUR, file
from tests.model.shop import NOW, Shop, item, rows_of


def _division(buyer: int, seller: int, platform: int) -> tuple[Allocation, ...]:
    return (
        Allocation(Party.BUYER, buyer),
        Allocation(Party.SELLER, seller),
        Allocation(Party.PLATFORM, platform),
    )


def _run(store: EventStore) -> Shop:
    """Release half in another currency, settle a dispute, pay, and amend the settlement."""
    shop = Shop(store)
    shop.place(item("a", "100"), item("b", "50"))
    shop.confirm()
    shop.pay(15_000)
    terms = ConversionTerms(currency="EUR", rate=Decimal("0.9137"))
    shop.release("s1", amount=7_500, conversion=terms)
    placed: dict[str, Any] = {"placed_at": NOW - 48 * HOUR, "delivered_at": NOW - 24 * HOUR}
    shop.run(file("d1", ("a", 10_000), **placed))
    shop.run(m.AcceptDispute(dispute_id="d1", by="clerk"))
    offer: dict[str, Any] = {"dispute_id": "d1", "offer_id": "1"}
    shop.run(
        m.MakeOffer(
            **offer,
            party=Party.SELLER,
            amount=9_000,
            remedy=m.Remedy.REFUND,
            expires_at=NOW + HOUR,
        )
    )
    shop.run(m.AcceptOffer(**offer, party=Party.BUYER))
    commission = m.ExecutionTerms(commission_rate=Decimal("0.12"), rate_version="1")
    execute = m.ExecuteRuling(dispute_id="d1", terms=commission)
    shop.run(execute)
    (refund_id,) = shop.order().grants
    shop.succeed(shop.request(refund_id, 9_000))
    shop.run(
        m.AmendRuling(
            dispute_id="d1",
            ruling_id="r2",
            supersedes="",
            allocations=_division(4_000, 5_500, 500),
            cause="the parcel was found",
            by="ann",
            approver="bob",
        )
    )
    shop.run(execute)
    return shop


def test_every_store_keeps_the_same_money_of_a_dispute(store: EventStore) -> None:
    """Catches an event or an amount that one engine stores otherwise."""
    shop, reference = _run(store), _run(MemoryStore())

    def kept(one: EventStore) -> list[tuple[str, str, str]]:
        return [(row.topic, row.payload, row.postings) for row in rows_of(one)]

    assert kept(store) == kept(reference.store)
    assert list(verify(store)) == []
    assert shop.escrow() == shop.order().escrow_held == 0
    for currency in ("USD", "EUR"):
        assert shop.balance(accounts.dispute_reserve("d1"), currency) == 0
    assert shop.balance(accounts.refunds("o1")) == 0
    assert shop.balance(accounts.GOODWILL) == 9_000 - 4_000
    assert -shop.balance(accounts.ARBITRATION_FEES) == 500
