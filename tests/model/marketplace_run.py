"""
The whole marketplace machine: sellers, payouts and settlement, and how a run comes to its end.

At the end every subject is closed, and every account that must be zero then is zero.
"""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from orderledger.commands import model as m
from orderledger.commands.payout_commands import ReleasedSlice
from orderledger.commands.seller_commands import SeenBalance
from orderledger.ledger import accounts, streams
from orderledger.ledger.rule_books import ResponseSilence
from orderledger.ledger.seller_events import ReserveTerms
from orderledger.replay.verify import verify
from tests.dispute_book import shares
from tests.model import marketplace_prices as prices
from tests.model.marketplace_machine import SHAPE_NAMES, numbers
from tests.model.marketplace_model import IN_FLIGHT
from tests.model.marketplace_settling import Settling

SELLERS: Final = ("s1", "s2")
TRIES: Final = 40
CONTESTED: Final = ("disputed", "heard", "proposed", "arbitrated", "referred")
BEGINNINGS: Final = (
    *("placed", "paid", "paid", "released", "refunded", "paid abroad", "released abroad"),
    *CONTESTED,
)
sellers = st.sampled_from(SELLERS)


class MarketplaceMachine(Settling):
    """The marketplace as a whole."""

    @initialize(
        shapes=st.lists(st.sampled_from(SHAPE_NAMES), min_size=1, max_size=2),
        stage=st.integers(0, 10**6).map(lambda number: BEGINNINGS[number % len(BEGINNINGS)]),
    )
    def begin(self, shapes: list[str], stage: str) -> None:
        """Begin somewhere in the life of orders: random steps alone seldom get far."""
        for shape in shapes:
            order_id = self._place(shape)
            if stage != "placed":
                self._pay(order_id, rate="0.9217" if stage.endswith("abroad") else None)
            if stage in ("released", "refunded", "released abroad"):
                self._meet(order_id, "s1")
                self._release(order_id, "s1")
            if stage == "refunded":
                refund_id = self._grant(order_id, "a", 1)
                self._advance(order_id, refund_id)
                self._advance(order_id, refund_id)
            if stage in CONTESTED:
                self._contest(order_id, stage)

    def _contest(self, order_id: str, stage: str) -> None:
        """File a dispute, and bring it before a mediator, or a panel or an outside body."""
        offers = (1, stage in ("heard", "proposed"), stage in ("arbitrated", "referred"))
        wait = ResponseSilence.WAIT
        dispute_id = self._file((order_id, "a"), 2_005, m.Party.BUYER, wait, offers)
        of: dict[str, Any] = {"dispute_id": dispute_id}
        if stage == "disputed":
            return
        self.give(m.AcceptDispute(by="clerk", **of))
        self.now += timedelta(hours=25)
        self.give(m.Escalate(party=m.Party.BUYER, **of))
        if stage in ("heard", "proposed"):
            self.give(m.StartMediation(mediator="mia", by="clerk", **of))
        else:
            for party in (m.Party.BUYER, m.Party.SELLER):
                self.give(m.CloseEvidence(party=party, **of))
        if stage == "proposed":
            self._propose(dispute_id, (1, 100), (True,))
        elif stage == "referred":
            self._refer(dispute_id, [])

    # -- the seller's account ------------------------------------------------------------------

    def seen(self, seller: str) -> SeenBalance:
        version = self.shop.book._executor.state(streams.seller(seller, "USD")).state.version
        return SeenBalance(self.model.payable(seller), version)

    @rule(seller=sellers, what=st.sampled_from(("suspend", "reinstate", "reinstate")))
    def stand(self, seller: str, what: str) -> None:
        kind: Any = m.SuspendSeller if what == "suspend" else m.ReinstateSeller
        self.give(kind(seller=seller, reason="x", by="ann"))

    @rule(seller=sellers, percent=st.sampled_from((0, 10)))
    def keep_back(self, seller: str, percent: int) -> None:
        terms = ReserveTerms(Decimal(percent) / 100, 30) if percent else None
        self.give(m.SetReserve(seller=seller, currency="USD", terms=terms))

    @rule(seller=sellers, amount=st.sampled_from((100, 5_000)))
    def take_reserve(self, seller: str, amount: int) -> None:
        of: dict[str, Any] = {"seller": seller, "currency": "USD", "seen": self.seen(seller)}
        matures_at = self.now + timedelta(days=9)
        reserve_id = self.fresh("q")
        self.give(m.TakeReserve(reserve_id=reserve_id, amount=amount, matures_at=matures_at, **of))

    @precondition(lambda self: self.model.reserves)
    @rule(number=numbers, early=st.booleans())
    def release_reserve(self, number: int, early: bool) -> None:
        self._release_reserve(self.pick(number, self.model.reserves), early)

    def _release_reserve(self, reserve_id: str, early: bool) -> None:
        of: dict[str, Any] = {"seller": self.model.reserves[reserve_id]["seller"]}
        terms: dict[str, Any] = {"is_early": early, "reason": "x" if early else ""}
        self.give(m.ReleaseReserve(reserve_id=reserve_id, currency="USD", **of, **terms))

    @rule(seller=sellers, amount=st.sampled_from((0, 200, 900)))
    def punish(self, seller: str, amount: int) -> None:
        of: dict[str, Any] = {"seller": seller, "currency": "USD", "amount": amount}
        self.give(m.ImposePenalty(penalty_id=self.fresh("n"), rule_ref="late", **of))

    @precondition(lambda self: self.model.penalties)
    @rule(number=numbers)
    def pardon(self, number: int) -> None:
        penalty_id = self.pick(number, self.model.penalties)
        seller = self.model.penalties[penalty_id]["seller"]
        self.give(m.LiftPenalty(seller=seller, currency="USD", penalty_id=penalty_id))

    @precondition(lambda self: any(self.model.payable(one) < 0 for one in SELLERS))
    @rule(share=st.sampled_from((1, 1, 2)))
    def write_off(self, share: int) -> None:
        seller = next(one for one in SELLERS if self.model.payable(one) < 0)
        debt = -self.model.payable(seller)
        of: dict[str, Any] = {"seller": seller, "currency": "USD", "reason": "gone"}
        amount = max(1, debt // share)
        self.give(m.WriteOffDebt(entry_id=self.fresh("w"), amount=amount, debt=debt, **of))

    # -- payouts -------------------------------------------------------------------------------

    def slices(self, seller: str) -> list[ReleasedSlice]:
        return [
            ReleasedSlice(order_id, one["id"])
            for order_id, order in self.model.orders.items()
            if seller in order["parts"]
            for one in order["parts"][seller]["releases"]
        ]

    @precondition(lambda self: any(self.slices(one) for one in SELLERS))
    @rule(number=numbers, seller=sellers, go=st.booleans())
    def pay_out(self, number: int, seller: str, go: bool) -> None:
        found = self.slices(seller)
        free = [one for one in found if not self._is_claimed(seller, one)]
        chosen = free if free and number % 5 else found[:2]
        payout_id = self.fresh("y")
        is_made = bool(chosen) and self.give(
            m.SchedulePayout(
                payout_id=payout_id,
                seller=seller,
                currency="USD",
                bank="main",
                seen=self.seen(seller),
                entries=tuple(chosen),
            )
        )
        if is_made and go:
            self.give(m.InitiatePayout(payout_id=payout_id, seen=self.seen(seller)))

    def _is_claimed(self, seller: str, one: ReleasedSlice) -> bool:
        key = (one.order_id, one.release_id)
        return any(key in payout["entries"] for payout in self.model.live_payouts(seller))

    @precondition(lambda self: self.model.payouts)
    @rule(
        number=numbers,
        what=st.sampled_from(("initiate", "cancel", "paid", "paid", "failed", "returned", "lost")),
    )
    def move_payout(self, number: int, what: str) -> None:
        self._move_payout(self.pick(number, self.model.payouts), what)

    def _move_payout(self, payout_id: str, what: str) -> None:
        payout = self.model.payouts[payout_id]
        ref = f"bank-{payout_id}-{what}"
        if what == "initiate":
            self.give(m.InitiatePayout(payout_id=payout_id, seen=self.seen(payout["seller"])))
        elif what == "cancel":
            self.give(m.CancelPayout(payout_id=payout_id, reason="x"))
        elif payout["status"] not in ("in_transit", "unknown", "paid"):
            return
        elif what == "paid":
            self.give(m.RecordPayoutPaid(payout_id=payout_id, bank_ref=ref))
        elif what == "failed":
            self.give(m.RecordPayoutFailed(payout_id=payout_id, bank_ref=ref))
        elif what == "returned":
            self.give(m.RecordPayoutReturned(payout_id=payout_id, bank_ref=ref, fee=7))
        elif payout["status"] == "in_transit":
            self.give(m.RecordPayoutUnknown(payout_id=payout_id, cause="timeout"))

    # -- what must hold ------------------------------------------------------------------------

    def checks(self) -> list[Callable[[], None]]:
        return [*super().checks(), self.payouts_agree]

    def payouts_agree(self) -> None:
        """Invariant 20."""
        for seller in SELLERS:
            for one in self.slices(seller):
                key = (one.order_id, one.release_id)
                releases = self.model.orders[one.order_id]["parts"][seller]["releases"]
                gross = next(rel for rel in releases if rel["id"] == one.release_id)
                net = gross["items"] - gross["commission"]
                assert self.model.claimed_of(seller, key) <= net
        for payout_id, payout in self.model.payouts.items():
            assert self.read.payout(payout_id).status.value == payout["status"]

    # -- the end of a run ----------------------------------------------------------------------

    def teardown(self) -> None:
        """Close every subject; the accounts that must be zero then are, and the log is sound."""
        if not self.is_sound:
            return
        self.close_everything()
        self.everything_agrees()
        left = {name: minor for name, minor in self.model.sums.items() if _is_due(name)}
        assert not left, left
        self.everybody_has_theirs()
        assert list(verify(self.store)) == []

    def everybody_has_theirs(self) -> None:
        """In the end sellers, tax offices and the platform have what the live goods earn them."""
        for order in self.model.orders.values():
            for seller, part in order["parts"].items():
                if part["is_murky"] or self.model.available(part):
                    continue
                assert self.model.left_of(order, seller) == (0, {})
                kept = part["promo"] - part["promo_back"]
                assert kept == prices.coupons_due(order, seller)

    def close_everything(self) -> None:
        for payment_id, op_id in self.operations(*IN_FLIGHT):
            self.succeed(payment_id, op_id)
        for order_id in self.unpaid():
            self._pay(order_id)
        for order_id, case_id in self.cases():
            if self.model.flow(self.model.orders[order_id]["cases"][case_id])[0]:
                for stage in ("chargeback", "second_chargeback", "pre_arbitration"):
                    self._charge_back(order_id, case_id, (stage, "lost"))
        for order_id, freeze_id in self.freezes():
            self.give(m.UnfreezeFunds(order_id=order_id, freeze_id=freeze_id))
        for dispute_id in self.contested():
            self._end_dispute(dispute_id)
        for order_id, refund_id in self.grants():
            self._end_refund(order_id, refund_id)
        for order_id, order in self.model.orders.items():
            for seller, part in order["parts"].items():
                self._end_slice(order_id, seller, part)
        for payout_id, payout in self.model.payouts.items():
            if payout["status"] in ("in_transit", "unknown"):
                self._move_payout(payout_id, "paid")
        self.close_batches()

    def _end_dispute(self, dispute_id: str) -> None:
        for _ in range(TRIES):
            self.now += timedelta(hours=50)
            self._sweep(dispute_id)
            self.model.now = self.now
            stage = self.model.dispute(dispute_id)["stage"]
            if stage in ("closed", "executed"):
                return
            if stage == "filed":
                self.give(m.RejectDispute(dispute_id=dispute_id, by="clerk", reason="no"))
            elif stage in ("arbitration", "appeal"):
                self._decide(dispute_id, (1, 100))
            elif stage == "external" and len(self.model.disputes[dispute_id]["paid"]) == 2:
                self._award(dispute_id, self._divided(dispute_id, (1, 0)))
            elif stage in ("final", "agreed"):
                self.give(m.ExecuteRuling(dispute_id=dispute_id))
            elif stage == "executing":
                self._give_it_to_the_seller(dispute_id)
        raise AssertionError((self.read.dispute(dispute_id).legs, self.model.disputes[dispute_id]))

    def _give_it_to_the_seller(self, dispute_id: str) -> None:
        """Amend a ruling for the buyer that cannot be paid, as a bank took the money."""
        found = self.model.disputes[dispute_id]
        fee = found["award"].get("platform", 0)
        ruling = self.read.dispute(dispute_id).ruling
        self.give(
            m.AmendRuling(
                dispute_id=dispute_id,
                ruling_id=self.fresh("ruling"),
                supersedes=ruling.ruling_id if ruling else "",
                allocations=shares(0, found["claimed"] - fee, fee),
                cause="a chargeback was lost",
                by="ann",
                approver="bob",
            )
        )

    def _end_refund(self, order_id: str, refund_id: str) -> None:
        """Pay a refund in the end, or take it back where a chargeback has the money."""
        grant = self.model.orders[order_id]["grants"][refund_id]
        for _ in range(4):
            if self.model.claimed(grant) >= grant["total"] or not self._advance(
                order_id, refund_id
            ):
                break
            for key, op in grant["ops"].items():
                if op["status"] in IN_FLIGHT:
                    self.succeed(f"p-{order_id}", key)
        if not grant["ops"] and not grant["restored"]:
            self.give(m.WithdrawRefund(order_id=order_id, refund_id=refund_id, reason="gone"))

    def _end_slice(self, order_id: str, seller: str, part: Any) -> None:
        # The platform may come to bear a chargeback of an order that is completed already.
        if self.model.available(part):
            self._meet(order_id, seller)
            self._release(order_id, seller)


def _is_due(name: str) -> bool:
    account = name.partition("@")[0]
    return not name.startswith("held:") and accounts.classify(account).must_be_zero
