"""
Settlement batches of the plain marketplace: lines, breaks, and how a batch comes to be closed.

A batch balances when every line is in and no break is open: opening + lines = payout + closing, but
for a difference that somebody decided.
"""

from typing import Any

from orderledger.commands import model as m
from orderledger.ledger import accounts
from tests.model.marketplace_abroad import Abroad
from tests.model.marketplace_model import BANK, PSP, Legs
from tests.model.marketplace_prices import Dict


class Batches(Abroad):
    """What a provider says it did with the money."""

    def __init__(self, look: Any) -> None:
        super().__init__(look)
        self.batches: dict[str, Dict] = {}

    def _do_import_settlement_file(self, one: m.ImportSettlementFile, legs: Legs) -> None:
        (said,) = one.balances
        made: Dict = {"count": one.line_count, "lines": {}, "breaks": {}, "is_closed": False}
        self.batches[one.batch] = made | {"opening": said.opening, "closing": said.closing}
        self.book(legs, {})

    def _do_record_settlement_line(self, one: m.RecordSettlementLine, legs: Legs) -> None:
        batch, line = self.batches[one.batch], one.line
        if line.line_no in batch["lines"]:
            self.book(legs, {})
            return
        is_repeat = any(known.gross == line.gross for known in batch["lines"].values())
        batch["lines"][line.line_no] = line
        if is_repeat:
            self.breaks(batch, f"duplicate/{line.line_no}", line.net)
            self.book(legs, {})
        elif line.type is m.LineType.PAYOUT:
            self.book(legs, {BANK: -line.net, PSP: line.net})
        elif line.type is m.LineType.FEE:
            self.book(legs, {accounts.GATEWAY_FEES: -line.net, PSP: line.net})
        elif line.type is m.LineType.ADJUSTMENT:
            self.breaks(batch, f"unbooked_adjustment/{line.line_no}", line.net)
            self.book(legs, {})
        elif not one.candidates:
            self.breaks(batch, f"unknown_reference/{line.line_no}", line.net)
            self.book(legs, {})
        else:
            self._settles(one, legs, {accounts.GATEWAY_FEES: line.fee, PSP: -line.fee})
        if self.difference(batch):
            self.breaks(batch, "payout_sum_diff/USD", -self.difference(batch))

    def _settles(self, one: m.RecordSettlementLine, legs: Legs, fee: Legs) -> None:
        """A line resolves an operation whose outcome nobody knew, and costs its fee."""
        self.take(fee)
        rest = {name: minor - fee.get(name, 0) for name, minor in legs.items()}
        rest |= {name: -minor for name, minor in fee.items() if name not in legs}
        rest = {account: minor for account, minor in rest.items() if minor}
        payment_id = one.candidates[0]
        op_id = one.line.modification_ref.removeprefix("ref-")
        op = self.op_of(payment_id, op_id)
        if op.get("is_shown"):
            self.breaks(self.batches[one.batch], f"duplicate/{one.line.line_no}", one.line.gross)
        op["is_shown"] = True
        if op["status"] == "unknown":
            succeeded = m.RecordSucceeded(payment_id=payment_id, op_id=op_id)
            self._do_record_succeeded(succeeded, rest)
        else:
            self.book(rest, {})

    def breaks(self, batch: Dict, break_id: str, amount: int) -> None:
        batch["breaks"][break_id] = {"amount": amount, "is_open": True}

    def is_balanced(self, batch: Dict) -> bool:
        is_whole = len(batch["lines"]) == batch["count"]
        return is_whole and not any(one["is_open"] for one in batch["breaks"].values())

    def difference(self, batch: Dict) -> int:
        """Return opening + lines − payout − closing, once every line is in."""
        if len(batch["lines"]) < batch["count"]:
            return 0
        return int(batch["opening"] + sum(one.net for one in batch["lines"].values())) - int(
            batch["closing"]
        )

    def _may_resolve_break(self, one: m.ResolveBreak) -> bool | None:
        found = self.batches[one.batch]["breaks"][one.break_id]
        return True if found["is_open"] else None

    def _do_resolve_break(self, one: m.ResolveBreak, legs: Legs) -> None:
        found = self.batches[one.batch]["breaks"][one.break_id]
        is_booked = found["is_open"] and one.action is m.BreakAction.BOOKED
        minor = found["amount"] if is_booked else 0
        found["is_open"] = False
        self.book(legs, {PSP: minor, one.account: -minor} if minor else {})

    def _may_close_batch(self, one: m.CloseBatch) -> bool | None:
        batch = self.batches[one.batch]
        return None if batch["is_closed"] else self.is_balanced(batch)

    def _do_close_batch(self, one: m.CloseBatch, legs: Legs) -> None:
        self.batches[one.batch]["is_closed"] = True
        self.book(legs, {})
