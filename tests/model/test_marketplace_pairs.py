"""
Racing with the commands of a marketplace (invariant 44): refunds, chargebacks, disputes, payouts.

As tests/model/test_concurrent_pairs.py does it for orders and payments.
"""

from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from orderledger.commands import model as m
from orderledger.ledger import accounts, streams
from orderledger.ledger.codec import decode_event
from orderledger.ledger.folds import fold_of
from orderledger.ledger.journal import Layer
from orderledger.ledger.value_events import ValueKind, ValueSource
from tests.chargebacks_book import opened, report
from tests.dispute_book import file, rules
from tests.model.racing import Race, play, postgres_pair, sqlite_pair
from tests.model.shop import NOW, Shop, balances_of, item

CHARGED: Final = 10_000


def _paid(shop: Shop, name: str) -> None:
    """Sell for 100.00 of a seller who is called like the order, captured by payment ``name``."""
    shop.place(item("a", "60", seller=name), item("b", "40", seller=name), order_id=name)
    shop.pay(CHARGED, name, order_id=name)
    shop.run(m.MeetReleaseCondition(order_id=name, seller=name, cause="delivered"))


def _granted(shop: Shop, name: str) -> None:
    _paid(shop, name)
    shop.grant("r1", 6_000, order_id=name)
    shop.run(m.AllocateRefund(order_id=name, refund_id="r1"))


def _contested(shop: Shop, name: str) -> None:
    _granted(shop, name)
    shop.run(_opened(name))


def _filed(shop: Shop, name: str) -> None:
    """Besides, a dispute about 60.00 that is not accepted yet."""
    _paid(shop, name)
    shop.run(_file(name, name))


def _agreed(shop: Shop, name: str) -> None:
    """Besides, the seller has given in: 60.00 are the buyer's."""
    _filed(shop, name)
    shop.run(_accept(name))
    shop.run(m.Respond(dispute_id=name, answer=m.Answer.ACCEPT))


def _released(shop: Shop, name: str) -> None:
    _paid(shop, name)
    shop.run(_release(name))


def _scheduled(shop: Shop, name: str) -> None:
    """Besides, a dispute that is not accepted yet, and a payout of all that was released."""
    _released(shop, name)
    shop.run(_file(name, name))
    shop.run(_schedule(name, "y"))


def _redeemable(shop: Shop, name: str) -> None:
    """Give account ``name`` 100.00 of store credit, and an order over 120.00 to spend it on."""
    shop.run(
        m.IssueValue(
            account_id=name,
            kind=ValueKind.STORE_CREDIT,
            source=ValueSource.GOODWILL,
            lot_id="l1",
            holder=name,
            amount=CHARGED,
            currency="USD",
        )
    )
    shop.place(item("a", "120", seller=name), order_id=name)


def _opened(name: str, amount: int = 8_000) -> m.RecordChargeback:
    return opened(amount, payment_id=name, chargeback_id=name)


def _refund(name: str) -> m.RequestRefund:
    return m.RequestRefund(
        payment_id=name, op_id="x1", amount=6_000, currency="USD", refund_id="r1"
    )


def _grant(name: str) -> m.GrantRefund:
    return m.GrantRefund(
        order_id=name,
        refund_id="g1",
        reason="x",
        source=m.RefundSource.RETURN,
        adjustment=6_000,
    )


def _release(name: str, release_id: str = "rel") -> m.ReleaseFunds:
    return m.ReleaseFunds(
        order_id=name,
        release_id=release_id,
        seller=name,
        commission_rate=Decimal(0),
        rate_version="v1",
    )


def _file(name: str, dispute_id: str) -> m.FileDispute:
    return file(
        dispute_id,
        ("a", 6_000),
        order_id=name,
        seller=name,
        placed_at=NOW,
        delivered_at=None,
        rule_book=rules(escalation_from_hours=0),
    )


def _accept(name: str) -> m.AcceptDispute:
    return m.AcceptDispute(dispute_id=name, by="clerk")


def _schedule(name: str, payout_id: str) -> m.SchedulePayout:
    return m.SchedulePayout(
        payout_id=f"{payout_id}-{name}",
        seller=name,
        currency="USD",
        bank="main",
        entries=(m.ReleasedSlice(name, "rel"),),
        seen=m.SeenBalance(CHARGED, 0),
    )


def _initiate(name: str) -> m.InitiatePayout:
    return m.InitiatePayout(payout_id=f"y-{name}", seen=m.SeenBalance(CHARGED, 1))


def _redeem(name: str, redemption_id: str) -> m.RedeemValue:
    return m.RedeemValue(
        account_id=name,
        redemption_id=f"{redemption_id}-{name}",
        amount=6_000,
        currency="USD",
        order_id=name,
    )


RACES: Final[dict[str, Race]] = {
    "refund-chargeback": Race(_granted, lambda n: (_refund(n), _opened(n))),
    "refund-won": Race(
        _contested,
        lambda n: (_refund(n), report("won", payment_id=n, chargeback_id=n)),
    ),
    "grant-file": Race(_paid, lambda n: (_grant(n), _file(n, n))),
    "file-file": Race(_paid, lambda n: (_file(n, n), _file(n, f"other-{n}")), is_exclusive=True),
    "accept-release": Race(_filed, lambda n: (_accept(n), _release(n))),
    "accept-chargeback": Race(_filed, lambda n: (_accept(n), _opened(n))),
    "accept-withdraw": Race(
        _filed,
        lambda n: (_accept(n), m.WithdrawDispute(dispute_id=n, by=m.Party.BUYER, reason="x")),
    ),
    "execute-chargeback": Race(
        _agreed, lambda n: (m.ExecuteRuling(dispute_id=n), _opened(n, CHARGED))
    ),
    "execute-grant": Race(_agreed, lambda n: (m.ExecuteRuling(dispute_id=n), _grant(n))),
    "release-chargeback": Race(_paid, lambda n: (_release(n), _opened(n, CHARGED))),
    "release-release": Race(
        _paid, lambda n: (_release(n), _release(n, "other")), is_exclusive=True
    ),
    "schedule-schedule": Race(
        _released, lambda n: (_schedule(n, "y"), _schedule(n, "z")), is_exclusive=True
    ),
    "schedule-chargeback": Race(_released, lambda n: (_schedule(n, "y"), _opened(n, CHARGED))),
    "initiate-accept": Race(_scheduled, lambda n: (_initiate(n), _accept(n))),
    "initiate-cancel": Race(
        _scheduled,
        lambda n: (_initiate(n), m.CancelPayout(payout_id=f"y-{n}", reason="x")),
        is_exclusive=True,
    ),
    "redeem-redeem": Race(
        _redeemable, lambda n: (_redeem(n, "z1"), _redeem(n, "z2")), is_exclusive=True
    ),
}


def _facts(shop: Shop, name: str) -> Any:
    """Return every state that the commands of a race can change."""
    names = (
        streams.order(name),
        streams.payment(name),
        streams.dispute(name),
        streams.dispute(f"other-{name}"),
        streams.seller(name, "USD"),
        streams.payout(f"y-{name}"),
        streams.payout(f"z-{name}"),
        streams.stored_value(name),
    )
    return [_folded(shop, one) for one in names]


def _folded(shop: Shop, stream: str) -> Any:
    fold = fold_of(stream)
    state = fold.initial
    for row in shop.store.stream(stream):
        event = decode_event(row.topic, row.payload)
        state = fold.apply(state, event)
    return state


def _check(shop: Shop, name: str) -> None:
    """Assert invariants 2, 18, 19, 20, 23, 28 and 29 of one order and what hangs on it."""
    order = shop.order(name)
    if order.payments:
        payment = shop.payment(name)
        given = payment.refunded + payment.refund_in_flight
        taken = payment.chargeback_open + payment.chargeback_lost
        assert max(0, given + taken - payment.captured) == payment.exposure
        assert order.granted <= payment.captured
    assert all(one.available >= 0 for one in order.slices.values())
    sums = balances_of(shop.store)
    escrow = sums.get((Layer.POSTED.value, accounts.escrow(name), "USD"), 0)
    assert -escrow == order.escrow_held
    credit = sums.get((Layer.POSTED.value, accounts.store_credit(name), "USD"), 0)
    assert credit <= 0


def test_pairs_of_a_marketplace_on_sqlite_have_a_serial_order(tmp_path: Path) -> None:
    """Catches a ruling, a payout or a refund decided on what another process took meanwhile."""
    with sqlite_pair(tmp_path) as stores:
        play(stores, RACES, 4, facts=_facts, check=_check)


def test_pairs_of_a_marketplace_on_postgres_have_a_serial_order(pg_url: str) -> None:
    """Catches the same where transactions really overlap."""
    with postgres_pair(pg_url) as stores:
        play(stores, RACES, 4, facts=_facts, check=_check)
