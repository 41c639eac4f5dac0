"""Commands that show chargebacks: what waits for an answer, and everything known of one."""

from typing import TYPE_CHECKING, Final

import click

from .cli_output import Session, common, money

if TYPE_CHECKING:
    from orderledger.ledger.chargebacks import Chargeback
    from orderledger.ledger.payments import PaymentState

    from .cli_tables import Row

_STATUSES: Final = (
    *("inquiry", "open", "under_review", "won_provisional", "lost", "closed"),
    *("won_final", "lost_final"),
)


@click.group()
def chargeback() -> None:
    """Look at chargebacks."""


@chargeback.command("list")
@click.option("--status", type=click.Choice(_STATUSES), help="Only those that stand so.")
@click.option("--order", "order_id", metavar="ID", help="Only those of an order's payments.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many.")
@common
def chargeback_list(
    session: Session, status: str | None, order_id: str | None, limit: int | None
) -> int:
    """
    Show chargebacks, from the read model of that name.

    What the rows lack is said on stderr. Exit status 1 where they were made from another history.
    """
    from .cli_rows import show_table

    table = session.reading.models.table("chargebacks")
    wanted = {"status": status, "order_id": order_id}
    where = {name: value for name, value in wanted.items() if value is not None}
    return show_table(session, table, where, limit=limit)


@chargeback.command("show")
@click.argument("payment_id", metavar="PAYMENT")
@click.argument("chargeback_id", metavar="CHARGEBACK")
@common
def chargeback_show(session: Session, payment_id: str, chargeback_id: str) -> None:
    """Show a chargeback as it is now, from the events of its payment."""
    from orderledger.ledger.errors import NotFound

    payment = session.reading.payment(payment_id)
    one = payment.chargebacks.get(chargeback_id)
    if one is None:
        raise NotFound(
            f"payment {payment_id} has no chargeback {chargeback_id}",
            payment_id=payment_id,
            chargeback_id=chargeback_id,
        )
    session.record(_json(payment, one) if session.is_json else _table(payment, one))


def _json(payment: "PaymentState", one: "Chargeback") -> "Row":
    import msgspec

    flow = one.flow
    return {
        "payment_id": payment.payment_id,
        "order_id": payment.order_id,
        "provider": payment.provider,
        "currency": payment.currency,
        **msgspec.structs.asdict(one),
        "stage": one.stage,
        "status": one.status,
        "amount": flow.amount,
        "contested": flow.contested,
        "lost": flow.lost,
        "reversed": flow.reversed,
        "evidence_due_by": one.evidence_due_by,
        "fees": one.fees,
    }


def _table(payment: "PaymentState", one: "Chargeback") -> "Row":
    def amount(minor: int, currency: str = payment.currency) -> str:
        return f"{money(minor, currency)} {currency}"

    flow = one.flow
    documents = [
        f"{stage.value}: {document.kind} {document.sha256}"
        for stage, handed in one.documents.items()
        for document in handed
    ]
    issued = [
        f"{credit.op_id}: {amount(credit.amount)}{' in flight' if credit.is_in_flight else ''}"
        for credit in one.credits.values()
    ]
    return {
        "chargeback": one.chargeback_id,
        "payment": payment.payment_id,
        "order": payment.order_id,
        "provider": f"{payment.provider} {one.provider_ref}".strip(),
        "stage": one.stage.value,
        "status": one.status.value,
        "reason": one.reason_code,
        "amount": amount(flow.amount),
        "contested": amount(flow.contested),
        "lost": amount(flow.lost),
        "came back": amount(flow.reversed),
        "fees": "\n".join(amount(minor, code) for code, minor in one.fees.items()),
        "evidence due by": one.evidence_due_by,
        "evidence": "\n".join(documents),
        "credit issued": "\n".join(issued),
        "liable": one.liability.value,
        "borne by": "\n".join(f"{part.account}: {amount(part.amount)}" for part in one.parts),
    }
