"""Commands about sellers and payouts: what is owed, statements, and where a payout stands."""

from typing import TYPE_CHECKING, Final

import click

from .cli_accounts import recorded_to
from .cli_output import LOWER, Session, common, money
from .cli_rows import show_table
from .cli_tables import Columns, Row

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from orderledger.ledger.payouts import PayoutState
    from orderledger.projections.balances import Statement
    from orderledger.projections.seller_standing import SellerStandingRow
    from orderledger.projections.sellers import SellerPayableRow

_STATEMENT: Final = Columns(
    ("what", "event", "stream", "effective_at", "position", "amount", "balance"),
    numeric=("position", "amount", "balance"),
    giving_way=("position", "stream"),
)
_SUMMED: Final = (
    *("released", "refunded", "frozen", "reserved", "penalties", "written_off", "adjusted"),
    *("in_transit", "paid_out", "balance", "scheduled", "available", "debt"),
)
currency_of: Final = click.option("--currency", default="", help="Only this currency.")
limit_of: Final = click.option("--limit", type=click.IntRange(min=1), help="At most so many rows.")


@click.group()
def seller() -> None:
    """Look at sellers: what they are owed, and why."""


@seller.command("list")
@currency_of
@limit_of
@common
def seller_list(session: Session, currency: str, limit: int | None) -> int:
    """
    Show what each seller is owed, by seller and currency.

    The rows are those of the read model sellers; nothing is caught up, and what they lack is said
    on stderr.
    """
    table = session.reading.models.table("seller_payables")
    where = {"currency": _known(currency)} if currency else {}
    return show_table(session, table, where, limit=limit)


def _known(currency: str) -> str:
    """Return a currency's code; a typing error must not be answered with nothing."""
    from orderledger.ledger.currencies import exponent

    exponent(currency)
    return currency


@seller.command("show")
@click.argument("seller_id", metavar="SELLER")
@common
def seller_show(session: Session, seller_id: str) -> None:
    """Show what one seller is owed, its reserve and its standing."""
    from orderledger.ledger.errors import NotFound
    from orderledger.projections.seller_standing import SellerStandingRow
    from orderledger.projections.sellers import SellerPayableRow

    models = session.reading.models
    for name in ("sellers", "seller_standing"):
        if models.status(name).lag:
            session.talk(f"{name} lags behind: run `orderledger projection catch-up {name}`")
    found = list(models.select(SellerPayableRow, seller=seller_id))
    standing = models.get(SellerStandingRow, seller_id)
    if not found and standing is None:
        raise NotFound(f"book has no seller {seller_id}", seller=seller_id)
    if session.is_json:
        session.record(_seller_json(seller_id, found, standing))
        return
    session.record(
        {
            "seller": seller_id,
            "standing": "" if standing is None else _standing(standing),
            **{row.currency: _owed(row) for row in found},
        }
    )


def _seller_json(
    seller_id: str, found: "list[SellerPayableRow]", standing: "SellerStandingRow | None"
) -> Row:
    import msgspec

    return {
        "seller": seller_id,
        "standing": None if standing is None else msgspec.structs.asdict(standing),
        "payables": [msgspec.structs.asdict(row) for row in found],
    }


def _standing(row: "SellerStandingRow") -> str:
    decided = f"{row.standing or 'none yet'} ({row.score})"
    earned = f"the record earns {row.earned_standing} ({row.earned_score})"
    return f"{decided}; {earned}" + (f"; suspended: {row.reason}" if row.is_suspended else "")


def _owed(row: "SellerPayableRow") -> str:
    """Return a seller's amounts, one a line; what is zero says nothing, but for the balance."""
    return "\n".join(
        f"{name.replace('_', ' ')} {money(getattr(row, name), row.currency)}"
        for name in _SUMMED
        if getattr(row, name) or name == "balance"
    )


@seller.command("statement")
@click.argument("seller_id", metavar="SELLER")
@click.argument("currency")
@click.option("--from", "start", type=LOWER, required=True, help="Its first instant.")
@click.option("--to", "end", type=LOWER, required=True, help="The instant before which it ends.")
@recorded_to
@common
def seller_statement(session: Session, seller_id: str, currency: str, **when: object) -> None:
    """
    Show a seller's statement.

    Over [FROM, TO): opening + lines = closing, credit positive: what the marketplace owes the
    seller. With --recorded-to it is the same for ever, whatever is recorded later.
    """
    from orderledger.ledger import accounts
    from orderledger.projections.balances import StatementRequest

    bounds: dict[str, datetime | None] = {name: _instant(value) for name, value in when.items()}
    start, end = bounds["start"], bounds["end"]
    assert start is not None and end is not None  # noqa: PT018  # both options are required
    found = session.reading.statement(
        StatementRequest(
            account=accounts.seller(seller_id),
            currency=_known(currency),
            start=start,
            end=end,
            recorded_to=bounds["recorded_to"],
        )
    )
    lines = list(_lines(session, found))
    if session.is_json:
        session.record(
            {
                "seller": seller_id,
                "currency": currency,
                "start": found.start,
                "end": found.end,
                "recorded_to": found.recorded_to,
                "opening": -found.opening,
                "lines": lines,
                "closing": -found.closing,
            }
        )
        return
    amounts = ("amount", "balance")
    shown = [
        {**line, **{name: money(int(str(line[name])), currency) for name in amounts}}
        for line in lines
    ]
    opening: Row = {"what": "opening", "balance": money(-found.opening, currency)}
    closing: Row = {"what": "closing", "balance": money(-found.closing, currency)}
    session.rows([opening, *shown, closing], _STATEMENT)


def _instant(value: object) -> "datetime | None":
    from datetime import datetime

    assert value is None or isinstance(value, datetime)
    return value


def _lines(session: Session, found: "Statement") -> "Iterator[dict[str, object]]":
    """Iterate over a statement's lines, credit positive, with the event that posted each."""
    from orderledger.projections.balances import JournalFilter

    entries = session.reading.journal(
        JournalFilter(
            account=found.account,
            effective_from=found.start,
            effective_to=found.end,
            recorded_to=found.recorded_to,
        )
    )
    posted = {entry.position: entry for entry in entries}
    for line in found.lines:
        entry = posted[line.position]
        yield {
            "position": line.position,
            "event": entry.topic,
            "stream": entry.stream,
            "effective_at": line.effective_at,
            "recorded_at": line.recorded_at,
            "amount": -line.minor,
            "balance": -line.balance,
        }


@click.group()
def payout() -> None:
    """Look at payouts."""


@payout.command("list")
@click.option("--seller", "seller_id", default="", help="Only this seller's.")
@click.option("--status", "standing", default="", help="Only those that stand here.")
@limit_of
@common
def payout_list(session: Session, seller_id: str, standing: str, limit: int | None) -> int:
    """
    Show payouts, by id.

    The rows are those of the read model payouts; nothing is caught up, and what they lack is said
    on stderr.
    """
    from orderledger.ledger.errors import InvalidInput
    from orderledger.ledger.payouts import PayoutStatus

    if standing and standing not in list(PayoutStatus):
        raise InvalidInput(
            f"{standing} is no status of a payout: {', '.join(list(PayoutStatus)[1:])}"
        )
    table = session.reading.models.table("payouts")
    where = {"seller": seller_id, "status": standing}
    return show_table(session, table, {k: v for k, v in where.items() if v}, limit=limit)


@payout.command("show")
@click.argument("payout_id", metavar="ID")
@common
def payout_show(session: Session, payout_id: str) -> None:
    """Show a payout as it is now: how its amount came about, and what the bank reported."""
    state = session.reading.payout(payout_id)
    session.record(_payout_json(state) if session.is_json else _payout_table(state))


def _payout_json(state: "PayoutState") -> Row:
    import msgspec

    reports = [
        {"kind": kind, "bank_ref": bank_ref, "amount": amount}
        for (kind, bank_ref), amount in state.reports.items()
    ]
    return {**msgspec.structs.asdict(state), "reports": reports}


def _payout_table(state: "PayoutState") -> Row:
    def amount(minor: int) -> str:
        return f"{money(minor, state.currency)} {state.currency}"

    entries = "\n".join(
        f"{one.order_id} {one.release_id}: {amount(one.amount)}" for one in state.entries
    )
    total = state.sum
    return {
        "payout": state.payout_id,
        "seller": state.seller,
        "bank": state.bank,
        "status": state.status.value,
        "entries": entries,
        "carried over": amount(total.carried),
        "debt recovered": amount(total.debt_recovered),
        "reserve": amount(total.reserve),
        "amount": amount(state.amount),
        "fee": amount(state.fee),
        "bank reference": state.bank_ref,
        "reason": state.reason,
        "anomalies": "\n".join(state.anomalies),
    }
