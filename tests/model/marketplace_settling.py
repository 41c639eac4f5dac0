"""
Settlement in the marketplace machine: files of a provider, right and wrong, to their closing.
"""

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from orderledger.commands import model as m
from orderledger.ledger import accounts, streams
from orderledger.ledger.settlement_events import StatedBalance
from tests.model.marketplace_contests import Contests
from tests.model.marketplace_machine import numbers
from tests.settlement_book import line


class Settling(Contests):
    """Adds what a provider's files say, and what people do about it."""

    def settleable(self) -> list[tuple[str, str]]:
        found = self.operations("succeeded", "unknown")
        return [
            key
            for key in found
            if not self.model.is_abroad(self.model.order_of(key[0]))
            and self.model.op_of(*key)["kind"] != "authorise"
        ]

    @precondition(lambda self: self.settleable())
    @rule(
        number=numbers,
        fee=st.sampled_from((0, 31)),
        more=st.lists(st.sampled_from(("payout", "fee", "adjustment", "nobody", "again"))),
        off_by=st.sampled_from((0, 0, 0, 5)),
    )
    def settle(self, number: int, fee: int, more: list[str], off_by: int) -> None:
        """Import a file about an operation and other things; its closing may be wrong."""
        payment_id, op_id = self.pick(number, self.settleable())
        op = self.model.op_of(payment_id, op_id)
        is_refund = op["kind"] == "refund"
        gross = -op["amount"] if is_refund else op["amount"]
        kind, ref = ("refund" if is_refund else "payment"), f"ref-{op_id}"
        of_payment = {"merchant_ref": payment_id, "modification_ref": ref}
        lines = [line(1, kind, gross, fee, **of_payment)]
        others: dict[str, Callable[[int], m.SettlementLine]] = {
            "payout": lambda no: line(no, "payout", -1_000),
            "fee": lambda no: line(no, "fee", -12),
            "adjustment": lambda no: line(no, "adjustment", -45),
            "nobody": lambda no: line(no, "payment", 777, modification_ref="ref-of-nobody"),
            "again": lambda no: line(no, kind, gross, fee, **of_payment),
        }
        lines += [others[name](no) for no, name in enumerate(dict.fromkeys(more), start=2)]
        closing = 300 + sum(one.net for one in lines) + off_by
        said = StatedBalance("USD", opening=300, closing=closing)
        of: dict[str, Any] = {"provider": "psp", "batch": self.fresh("batch")}
        terms: dict[str, Any] = {"sha256": f"{self.count:064x}", "format": "generic"}
        terms |= {"line_count": len(lines), "bank": "main", "balances": (said,)}
        self.give(m.ImportSettlementFile(**of, **terms))
        for one in lines:
            about = (payment_id,) if one.merchant_ref else ()
            self.give(m.RecordSettlementLine(line=one, candidates=about, **of))

    def all_breaks(self) -> list[tuple[str, str]]:
        batches = self.model.batches.items()
        return [(key, break_id) for key, batch in batches for break_id in batch["breaks"]]

    @precondition(lambda self: self.all_breaks())
    @rule(number=numbers, is_booked=st.booleans())
    def resolve(self, number: int, is_booked: bool) -> None:
        self._resolve(self.pick(number, self.all_breaks()), is_booked=is_booked)

    def _resolve(self, key: tuple[str, str], *, is_booked: bool) -> None:
        batch, break_id = key
        action = m.BreakAction.BOOKED if is_booked else m.BreakAction.ACCEPTED
        account = accounts.SETTLEMENT_VARIANCE if is_booked else ""
        of: dict[str, Any] = {"provider": "psp", "batch": batch, "break_id": break_id}
        self.give(m.ResolveBreak(action=action, account=account, by="ann", reason="x", **of))

    @precondition(lambda self: self.model.batches)
    @rule(number=numbers)
    def close_batch(self, number: int) -> None:
        batch = self.pick(number, self.model.batches)
        self.give(m.CloseBatch(provider="psp", batch=batch, by="ann"))

    def close_batches(self) -> None:
        """Resolve every break and sign every batch off: all of them can be."""
        for key in self.all_breaks():
            if self.model.batches[key[0]]["breaks"][key[1]]["is_open"]:
                self._resolve(key, is_booked=True)
        for batch in self.model.batches:
            assert self.give(m.CloseBatch(provider="psp", batch=batch, by="ann"))

    def checks(self) -> list[Callable[[], None]]:
        return [*super().checks(), self.batches_agree]

    def batches_agree(self) -> None:
        """Open breaks are the model's; a balanced batch has opening + lines = payout + closing."""
        for batch, mine in self.model.batches.items():
            state = self.shop.book._executor.state(streams.settlement("psp", batch)).state
            is_open = {key: one["amount"] for key, one in mine["breaks"].items() if one["is_open"]}
            assert {one.break_id: one.amount for one in state.open_breaks()} == is_open
            if not self.model.is_balanced(mine):
                continue
            assert state.status.value == ("closed" if mine["is_closed"] else "balanced")
            (one,) = state.balances
            assert (one.opening, one.closing) == (mine["opening"], mine["closing"])
            assert one.opening + one.net == one.payout + one.closing + one.difference
            assert one.difference == self.model.difference(mine)
