"""
A shop whose provider settles: a batch line by line, in few words, on a real book in memory.
"""

from typing import Any

from orderledger.commands import model as m
from orderledger.ledger.codec import decode_event
from orderledger.ledger.events import Event
from orderledger.ledger.settlements import SettlementState
from tests.model.shop import Shop, balances_of, item, rows_of

SHA = "a" * 64
FEES = "expenses:gateway_fees"
VARIANCE = "expenses:settlement_variance"
PSP = "assets:psp:psp"
BANK = "assets:bank:main"


def line(line_no: int, kind: str, gross: int, fee: int = 0, **fields: Any) -> m.SettlementLine:
    """Return a line in USD; its net is gross − fee unless another is given."""
    fees = (m.NamedFee("processing", fee),) if fee else ()
    given: dict[str, Any] = {
        "raw_kind": kind,
        "gross_currency": "USD",
        "currency": "USD",
        "net": gross - fee,
        "fees": fees,
        **fields,
    }
    return m.SettlementLine(line_no=line_no, type=m.LineType(kind), gross=gross, **given)


class SettledShop(Shop):
    """Provider ``psp`` pays into bank ``main``; the batch is ``psp/b1`` unless said otherwise."""

    def begin(self, line_count: int, batch: str = "b1", **fields: Any) -> None:
        given: dict[str, Any] = {"sha256": SHA, "format": "generic", "bank": "main", **fields}
        self.run(
            m.ImportSettlementFile(provider="psp", batch=batch, line_count=line_count, **given)
        )

    def record(self, one: m.SettlementLine, *candidates: str, batch: str = "b1") -> None:
        self.run(
            m.RecordSettlementLine(provider="psp", batch=batch, line=one, candidates=candidates)
        )

    def resolve(self, break_id: str, action: str, account: str = "", batch: str = "b1") -> None:
        self.run(
            m.ResolveBreak(
                provider="psp",
                batch=batch,
                break_id=break_id,
                action=m.BreakAction(action),
                account=account,
                by="ann",
                reason="looked into it",
            )
        )

    def settlement(self, batch: str = "b1") -> SettlementState:
        state: SettlementState = self.book._executor.state(f"settlement-psp/{batch}").state
        return state

    def breaks(self, batch: str = "b1") -> dict[str, int]:
        """Return the open breaks of a batch with their amounts."""
        return {one.break_id: one.amount for one in self.settlement(batch).open_breaks()}

    def posted(self, *accounts: str, currency: str = "USD") -> tuple[int, ...]:
        """Return posted balances, debit positive."""
        sums = balances_of(self.store)
        return tuple([sums.get(("posted", one, currency), 0) for one in accounts])

    def sale(self, amount: int, payment_id: str = "p1", order_id: str = "o1") -> None:
        """Sell for an amount and have it captured, under the reference ``ref-buy-{payment_id}``."""
        self.place(item("a", f"{amount // 100}.{amount % 100:02d}"), order_id=order_id)
        self.pay(amount, payment_id, order_id=order_id)

    def events_of(self, stream: str) -> list[Event]:
        return [
            decode_event(row.topic, row.payload)
            for row in rows_of(self.store)
            if row.stream == stream
        ]
