"""Commands that look at disputes: one as it is now, and those of a read model."""

from typing import TYPE_CHECKING

import click

from .cli_output import Session, common, money
from .cli_rows import cells_of, columns_of, json_of, limited, say_what_lacks
from .cli_tables import Row

if TYPE_CHECKING:
    from orderledger.ledger.disputes import DisputeState

_STAGES = (
    *("filed", "negotiating", "evidence", "mediation", "arbitration", "external", "ruled"),
    *("appeal", "final", "agreed", "executing", "executed", "closed"),
)


@click.group()
def dispute() -> None:
    """Look at disputes."""


@dispute.command("show")
@click.argument("dispute_id", metavar="ID")
@common
def dispute_show(session: Session, dispute_id: str) -> None:
    """
    Show a dispute as it is now.

    Its claims, evidence, deadlines and rulings. Votes are sealed until the ruling.
    """
    session.record(dispute_fields(session.reading.dispute(dispute_id), is_json=session.is_json))


@dispute.command("list")
@click.option("--stage", type=click.Choice(_STAGES), help="Only disputes in this stage.")
@click.option("--order", "order_id", metavar="ID", help="Only disputes about this order.")
@click.option("--seller", metavar="ID", help="Only disputes with this seller.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many.")
@common
def dispute_list(
    session: Session,
    stage: str | None,
    order_id: str | None,
    seller: str | None,
    limit: int | None,
) -> int:
    """
    List disputes, by id.

    From the read model `disputes`: nothing is caught up, and what the rows lack is said on stderr.
    Exit status 1 where they were made from another history.
    """
    models = session.reading.models
    table = models.table("disputes")
    asked = {"stage": stage, "order_id": order_id, "seller": seller}
    where = {name: value for name, value in asked.items() if value is not None}
    status = models.status("disputes")
    found = limited(session, table, models.find(table, where), limit)
    say_what_lacks(session, status)
    shown = json_of(table, found) if session.is_json else cells_of(table, found)
    left_out = session.rows(shown, columns_of(table))
    if left_out:
        session.talk(f"too narrow for {', '.join(left_out)}: --json has all")
    return 1 if status.problem else 0


def dispute_fields(state: "DisputeState", *, is_json: bool) -> Row:
    """Return what is shown of a dispute: everything as JSON, a summary as a table."""
    return _json(state) if is_json else _table(state)


def _json(state: "DisputeState") -> Row:
    import msgspec

    from orderledger.ledger.disputes import deadlines_of

    return {
        **msgspec.structs.asdict(state),
        "award": state.award,
        "executed": state.executed,
        "open_deadlines": deadlines_of(state),
    }


def _table(state: "DisputeState") -> Row:
    from orderledger.ledger.disputes import deadlines_of

    def amount(minor: int) -> str:
        return f"{money(minor, state.currency)} {state.currency}" if state.currency else str(minor)

    standing = state.ruling or state.settlement
    division = standing.allocations if standing is not None else ()
    suspended = f", suspended by {', '.join(state.suspended_by)}" if state.is_suspended else ""
    return {
        "dispute": state.dispute_id,
        "order": state.order_id,
        "stage": f"{state.stage.value}{suspended}",
        "outcome": state.outcome.value if state.outcome is not None else "",
        "claimant": state.claimant.value,
        "seller": state.seller,
        "reason": state.reason,
        "claims": "\n".join(f"{key}: {amount(value)}" for key, value in state.claims.items()),
        "claimed": amount(state.claimed),
        "frozen": amount(state.frozen),
        "rule book": f"{state.rule_book.rule_book_id}/{state.rule_book.version}",
        "deadlines": "\n".join(
            f"{one.deadline_id}: {one.due_at.isoformat()}" for one in deadlines_of(state)
        ),
        "evidence": "\n".join(
            f"{key}: {one.item.kind} of the {one.party.value}"
            f"{', late' if one.is_late else ''}{', struck out' if one.is_struck else ''}"
            for key, one in state.evidence.items()
        ),
        "division": "\n".join(f"{one.party.value}: {amount(one.amount)}" for one in division),
        "open anomalies": ", ".join(state.anomalies),
    }
