"""
Settlement in the marketplace month: four providers' files, what does not agree, and the bank.

The files are written to a temporary directory and imported from there, as an operator would. Three
things go wrong in them: a line comes twice, one has a reference that nobody knows, and one is about
a payment whose outcome nobody knew.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import msgspec

from orderledger.book import Book
from orderledger.commands.payment_commands import Purchase, RecordUnknown
from orderledger.commands.settlement_commands import (
    CloseBatch,
    MatchLine,
    OperationName,
    ResolveBreak,
)
from orderledger.importers.bank_import import StatementOptions, import_statement
from orderledger.importers.settlement_import import ImportOptions, import_settlement
from orderledger.ledger.chargeback_events import (
    ChargebackOpened,
    ChargebackWon,
    SecondChargebackOpened,
)
from orderledger.ledger.events import Event
from orderledger.ledger.money import apply_rate, format_minor
from orderledger.ledger.payment_operations import OperationKind
from orderledger.ledger.settlement_events import BreakAction, BreakKind, LineType, StatedBalance
from orderledger.projections.chargebacks import ChargebackRow
from orderledger.projections.operation_references import OperationSettlementRow
from orderledger.projections.payouts import PayoutRow
from orderledger.projections.settlements import SettlementLineRow

from .demo_market_chargebacks import FEE
from .demo_market_files import Stated, settlement_file, written
from .demo_market_sales import Sale
from .demo_market_world import BANK, CAPITAL, CLERK, CURRENCY, Case, Market, Tale

BATCHES: Final[Mapping[str, tuple[str, str]]] = {
    "adyen": ("adyen", "2026-03"),
    "stripe": ("stripe", "po_march"),
    "paypal": ("paypal", "MARKET-20260328"),
    "cardco": ("generic", "march"),
}
"""By provider: the format of its file, and the batch."""
STATEMENT: Final = "2026-03"
DAY: Final = 28
"""The day of the month on which the files come."""
TWICE: Final = "adyen"
"""Whose file has a line twice."""
MISTYPED: Final = "stripe"
"""Whose file has a reference that nobody knows."""
_MISTYPED: Final = "mistyped-reference"
_FEE_RATE: Final = Decimal("0.015")
_MOVES: Final[Mapping[type[Event], LineType]] = {
    ChargebackOpened: LineType.CHARGEBACK,
    SecondChargebackOpened: LineType.SECOND_CHARGEBACK,
    ChargebackWon: LineType.CHARGEBACK_REVERSED,
}
"""The events of a chargeback that move money between the provider and us."""


class Lost(msgspec.Struct, frozen=True):
    """A payment whose outcome nobody knew when the files came, as its line shows it."""

    payment_id: str
    provider: str
    line: Stated


def unknown_outcome(case: Case) -> Tale:
    """
    A charge times out just before the files come: nobody guesses, and a line of the file says
    what became of it. Then the order goes on as any other.
    """
    yield case.on(DAY, 21)
    sale = Sale(case, "ada", provider="cardco")
    sale.place()
    amount = sale.line_amount()
    payment_id = sale.initiate(amount)
    reference = f"ch-{case.id}"
    case.do(
        Purchase(
            payment_id=payment_id,
            order_id=sale.order_id,
            op_id="buy",
            amount=amount,
            currency=CURRENCY,
        )
    )
    case.do(
        RecordUnknown(
            payment_id=payment_id, op_id="buy", provider_ref=reference, cause="timeout after 30 s"
        )
    )
    line = Stated(
        type=LineType.PAYMENT, gross=amount, fee=_fee(amount), reference=reference, at=case.now
    )
    settle_all(case.market, Lost(payment_id, sale.provider, line))
    case.settle()
    yield case.after(hours=14)
    sale.deliver()
    sale.meet()


def settle_all(market: Market, lost: Lost) -> None:
    """Import every provider's file, end its breaks, and sign its batch off."""
    with TemporaryDirectory() as directory:
        for provider, (form, batch) in BATCHES.items():
            case = Case(market, f"settlement-{provider}")
            lines = _lines(case.book, provider, case.now, lost)
            path = Path(directory) / f"{provider}.csv"
            path.write_text(settlement_file(form, lines, batch), encoding="utf-8", newline="")
            options = ImportOptions(
                form=form,
                provider=provider,
                bank=BANK,
                balances=(StatedBalance(CURRENCY, 0, 0),),
                actor=CLERK,
            )
            import_settlement(case.book, str(path), options)
            market.stir()
            _end_breaks(case, provider, batch)
            close = CloseBatch(provider=provider, batch=batch, by=CLERK.id)
            case.do(close, name="close")


def _lines(book: Book, provider: str, until: datetime, lost: Lost) -> list[Stated]:
    """Return what a provider did until an instant, what its file gets wrong, its payout."""
    lines = [*_operations(book, provider, until, lost), *_chargebacks(book, provider, until)]
    lines.sort(key=lambda one: (one.at, one.reference, one.type.value))
    if provider == lost.provider:
        lines.append(lost.line)
    paid_out = sum([one.net for one in lines])
    if provider == TWICE:
        # The money moved once: only the file has it twice.
        lines.append(lines[0])
    if provider == MISTYPED:
        number, one = next(
            (number, one) for number, one in enumerate(lines) if one.type is LineType.PAYMENT
        )
        lines[number] = msgspec.structs.replace(one, reference=_MISTYPED, merchant_ref="")
    payout = Stated(
        type=LineType.PAYOUT, gross=-paid_out, reference=f"PO-{provider}-march", at=until
    )
    return [*lines, payout]


def _fee(gross: int) -> int:
    """Return what a provider keeps of a payment: 1.5 % and 25 cents."""
    return apply_rate(gross, _FEE_RATE) + 25


def _operations(book: Book, provider: str, until: datetime, lost: Lost) -> Iterator[Stated]:
    """Yield the payments and refunds that succeeded."""
    book.read.models.catch_up("operation_references")
    for row in book.read.models.select(OperationSettlementRow, provider=provider):
        if row.succeeded_at > until or row.payment_id == lost.payment_id:
            continue
        is_refund = row.kind == OperationKind.REFUND.value
        yield Stated(
            type=LineType.REFUND if is_refund else LineType.PAYMENT,
            gross=-row.amount if is_refund else row.amount,
            fee=0 if is_refund else _fee(row.amount),
            reference=row.provider_ref,
            merchant_ref=row.payment_id,
            at=row.succeeded_at,
        )


def _chargebacks(book: Book, provider: str, until: datetime) -> Iterator[Stated]:
    """Yield what was taken by chargebacks, and what came back."""
    book.read.models.catch_up("chargebacks")
    rows = [one for one in book.read.models.select(ChargebackRow) if one.provider == provider]
    for row in rows:
        for seen in book.read.payment_history(row.payment_id):
            event, at = seen.event, seen.occurred_at
            if at > until or getattr(event, "chargeback_id", "") != row.chargeback_id:
                continue
            kind = _MOVES.get(type(event))
            if kind is None:
                continue
            is_back = kind is LineType.CHARGEBACK_REVERSED
            amount = getattr(event, "amount", 0) or row.amount
            yield Stated(
                type=kind,
                gross=amount if is_back else -amount,
                fee=0 if is_back else FEE,
                reference=row.chargeback_id,
                merchant_ref=row.payment_id,
                at=at,
            )


def _end_breaks(case: Case, provider: str, batch: str) -> None:
    """End every open break of a batch as a person would: match it by hand, or say why not."""
    state = case.book.settlement(provider, batch)
    for one in sorted(state.open_breaks(), key=lambda one: one.break_id):
        if one.kind is BreakKind.UNKNOWN_REFERENCE:
            case.do(_matched(case.book, provider, batch, one.line_no), name=one.break_id)
            continue
        resolved = ResolveBreak(
            provider=provider,
            batch=batch,
            break_id=one.break_id,
            action=BreakAction.ACCEPTED,
            by=CLERK.id,
            reason="the provider confirms: it is in the file twice and moved once",
        )
        case.do(resolved, name=one.break_id)


def _matched(book: Book, provider: str, batch: str, line_no: int) -> MatchLine:
    """Return the match by hand of a line with the one operation of its amount that none shows."""
    known = book.settlement(provider, batch).line(line_no)
    assert known is not None, "a break is about a line"
    book.read.models.catch_up("operation_references")
    rows = book.read.models.select(OperationSettlementRow, provider=provider, is_settled=False)
    found = next(row for row in rows if row.amount == known.line.gross)
    return MatchLine(
        provider=provider,
        batch=batch,
        line_no=line_no,
        by=CLERK.id,
        operations=(OperationName(found.payment_id, found.op_id),),
    )


def bank_statement(case: Case) -> Tale:
    """The month's statement of the bank: it shows the payouts of providers, and those of ours."""
    yield case.on(31, 20)
    case.book.read.models.catch_up("settlements")
    case.book.read.models.catch_up("payouts")
    with TemporaryDirectory() as directory:
        path = Path(directory) / "bank.csv"
        rows = [*_arrivals(case.book), *_transfers(case.book)]
        content = [["booked_on", "amount", "currency", "reference"], *sorted(rows)]
        path.write_text(written(content), encoding="utf-8", newline="")
        closing = case.book.read.balance(f"assets:bank:{BANK}", effective_to=case.now)[CURRENCY]
        options = StatementOptions(
            bank=BANK, statement=STATEMENT, opening=CAPITAL, closing=closing, actor=CLERK
        )
        import_statement(case.book, str(path), options)


def _row(at: datetime, amount: int, reference: str) -> list[str]:
    return [at.date().isoformat(), format_minor(amount, CURRENCY), CURRENCY, reference]


def _arrivals(book: Book) -> Iterator[list[str]]:
    """Yield the bank lines of the providers' payouts."""
    for row in book.read.models.select(SettlementLineRow):
        if row.type == LineType.PAYOUT.value:
            assert row.occurred_at is not None, "the files have the instant of each line"
            yield _row(row.occurred_at, -row.net, f"{row.provider} {row.modification_reference}")


def _transfers(book: Book) -> Iterator[list[str]]:
    """Yield the bank lines of payouts to sellers, and of those that came back, less the fee."""
    for row in book.read.models.select(PayoutRow):
        if row.closed_at is None or row.status not in ("paid", "returned"):
            continue
        yield _row(row.initiated_at or row.closed_at, -row.amount, f"transfer {row.payout_id}")
        if row.status == "returned":
            yield _row(row.closed_at, row.amount - row.fee, f"returned {row.payout_id}")


SETTLEMENT: Final[Mapping[str, tuple[int, Callable[[Case], Tale]]]] = {
    "resolved by a settlement line": (1, unknown_outcome),
    "bank statement": (1, bank_statement),
}
"""What settlement does to orders, and the statement of the bank."""
