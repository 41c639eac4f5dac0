"""Commands about what did not happen: a scenario on a fork of the book, a ruling before it is."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import click

from .cli_disputes import dispute
from .cli_output import Session, common, money
from .cli_rows import field_rows
from .cli_tables import Columns, encoded, short_topic

if TYPE_CHECKING:
    from orderledger.replay.diff_balances import BalanceChange
    from orderledger.replay.history import RecordedEvent
    from orderledger.replay.ruling_simulation import Simulation
    from orderledger.replay.what_if import ChangedField, WhatIf

    from .cli_tables import Row

T = TypeVar("T")
_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
_STEPS: Final = Columns(("command", "at", "outcome", "text"))
_BALANCES: Final = Columns(
    ("layer", "account", "currency", "before", "after", "moved"),
    numeric=("before", "after", "moved"),
    giving_way=("layer",),
)
_ROWS: Final = Columns(
    ("table", "key", "change", "field", "before", "after"), giving_way=("table",)
)
_STATES: Final = Columns(("stream", "version", "field", "before", "after"))
_FINDINGS: Final = Columns(("code", "stream", "position", "text"), numeric=("position",))
_LEGS: Final = Columns(("leg", "party", "amount", "outcome", "text"), numeric=("amount",))
_ENTRIES: Final = Columns(
    ("effective_at", "event", "account", "currency", "amount"), numeric=("amount",)
)
_REFUNDS: Final = Columns(("payment", "tender", "amount"), numeric=("amount",))
_STATE_WIDTH: Final = 60
"""Characters of a field of a state in a table; the JSON has all of it."""


@click.command("what-if")
@click.argument("file", type=_FILE)
@click.option("--at", "position", type=click.IntRange(min=0), help="Fork at this position.")
@common
def what_if(session: Session, file: Path, position: int | None) -> None:
    """
    Show what would be different if a scenario were so.

    FILE says as JSON what is left out, put in, replaced or swapped, and which commands are given
    then. It is worked out in memory: nothing is written, and nothing of it proves anything.
    """
    from msgspec.structs import asdict, replace

    from orderledger.replay.scenarios import read_scenario

    scenario = read_scenario(file.read_bytes())
    if position is not None:
        if scenario.at not in (None, position):
            raise click.UsageError(f"{file} forks at {scenario.at}, --at says {position}")
        scenario = replace(scenario, at=position)
    found = session.reading.what_if(scenario)
    if session.is_json:
        session.record(asdict(found))
    else:
        _print_what_if(session, found)


def _print_what_if(session: Session, found: "WhatIf") -> None:
    click.echo(found.hypothetical)
    title = f": {found.title}" if found.title else ""
    click.echo(f"Book {found.book} as of position {found.position}{title}")
    steps: list[Row] = [
        {
            "command": one.command,
            "at": one.at,
            "outcome": one.reason or one.error or _count(len(one.events)),
            "text": one.message or None,
        }
        for one in found.steps
    ]
    _section(session, "Commands", steps, _STEPS)
    balances = [*_balance_rows("posted", found.balances), *_balance_rows("held", found.held)]
    _section(session, "Balances", balances, _BALANCES)
    rows = [row for one in found.rows for row in field_rows(one)]
    _section(session, "Rows", rows, _ROWS)
    states: list[Row] = [
        {
            "stream": one.stream,
            "version": f"{one.version_before} to {one.version_after}",
            "field": field.name,
            **_shown(field),
        }
        for one in found.states
        for field in one.fields
    ]
    _section(session, "States", states, _STATES)
    findings: list[Row] = [
        {
            "code": one.code.value,
            "stream": one.stream,
            "position": one.position,
            "text": one.text,
        }
        for one in found.findings
    ]
    _section(session, "Wrong with it", findings, _FINDINGS)


def _section(session: Session, title: str, rows: "Sequence[Row]", columns: Columns) -> None:
    if rows:
        click.echo(f"\n{title}")
        session.rows(rows, columns)


def _balance_rows(layer: str, changes: "Sequence[BalanceChange]") -> "Iterator[Row]":
    for one in changes:
        yield {
            "layer": layer,
            "account": one.account,
            "currency": one.currency,
            "before": money(one.before, one.currency),
            "after": money(one.after, one.currency),
            "moved": money(one.after - one.before, one.currency),
        }


def _count(events: int) -> str:
    return "1 event" if events == 1 else f"{events} events"


def _shown(field: "ChangedField") -> "Row":
    before, after = _short(field.before), _short(field.after)
    return {"before": before, "after": after if after != before else "differs: see --json"}


def _short(value: object) -> str:
    text = encoded(value).decode()
    return text if len(text) <= _STATE_WIDTH else f"{text[: _STATE_WIDTH - 1]}…"


@dispute.command("simulate")
@click.argument("dispute_id", metavar="ID")
@click.option(
    "--ruling", "ruling", required=True, type=_FILE, help="The fields of IssueRuling, as JSON."
)
@click.option("--terms", "terms", type=_FILE, help="The terms of ExecuteRuling, as JSON.")
@common
def simulate(session: Session, dispute_id: str, ruling: Path, terms: Path | None) -> int:
    """
    Show what a ruling would do, before it is issued.

    As if it were issued now, nobody appealed, and it were executed when it is final. Nothing is
    written. Exit status 1 where it would be refused, or a leg of it could not be executed.
    """
    from msgspec.structs import asdict

    from orderledger.commands.ruling_commands import IssueRuling
    from orderledger.commands.ruling_execution import NO_TERMS, ExecutionTerms

    text = _with_dispute(ruling, dispute_id)
    command = _decoded(ruling, text, IssueRuling)
    given = NO_TERMS if terms is None else _decoded(terms, terms.read_bytes(), ExecutionTerms)
    found = session.book.simulate_ruling(command, terms=given)
    if session.is_json:
        session.record({**asdict(found), "is_executed": found.is_executed})
    else:
        _print_simulation(session, found)
    return 0 if found.is_executed else 1


def _with_dispute(file: Path, dispute_id: str) -> bytes:
    """Return the fields of a ruling with the dispute's id, which the file may leave out."""
    from msgspec import Raw, json

    from orderledger.ledger.errors import InvalidInput

    fields = _decoded(file, file.read_bytes(), dict[str, Raw])
    wanted = json.encode(dispute_id)
    if bytes(fields.setdefault("dispute_id", Raw(wanted))) != wanted:
        raise InvalidInput(
            f"{file} is a ruling of another dispute than {dispute_id}", dispute_id=dispute_id
        )
    return json.encode(fields)


def _decoded(file: Path, text: bytes, kind: type[T]) -> T:
    from msgspec import MsgspecError, json

    from orderledger.ledger.errors import InvalidInput

    try:
        return json.decode(text, type=kind)
    except (MsgspecError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{file} cannot be read: {error}") from error


def _print_simulation(session: Session, found: "Simulation") -> None:
    click.echo(found.hypothetical)
    click.echo(f"Ruling {found.ruling_id} of dispute {found.dispute_id}: {_outcome(found)}")
    if found.appeal is not None:
        click.echo(
            f"Appeals until {found.appeal.until.isoformat()}, by rule {found.appeal.rule_ref}"
        )
    legs: list[Row] = [
        {
            "leg": one.leg_id,
            "party": one.party.value,
            "amount": money(one.amount, found.currency),
            "outcome": "done" if one.is_done else one.reason,
            "text": one.message or None,
        }
        for one in found.legs
    ]
    _section(session, "Legs", legs, _LEGS)
    refunds: list[Row] = [
        {
            "payment": one.payment_id,
            "tender": one.tender,
            "amount": money(one.amount, found.currency),
        }
        for one in found.refunds
    ]
    _section(session, "Refund of the buyer, by tender", refunds, _REFUNDS)
    _section(session, "Entries", list(_entry_rows(found.events)), _ENTRIES)
    _section(session, "Balances", list(_balance_rows("posted", found.balances)), _BALANCES)


def _outcome(found: "Simulation") -> str:
    if found.refused is not None:
        why = found.refused.reason or found.refused.error
        return f"{found.refused.step} is refused, {why}: {found.refused.message}"
    final = "" if found.final_at is None else f", final at {found.final_at.isoformat()}"
    return f"{found.stage.value}{final}"


def _entry_rows(events: "Sequence[RecordedEvent]") -> "Iterator[Row]":
    for one in events:
        for leg in one.entry.postings:
            yield {
                "effective_at": one.occurred_at,
                "event": short_topic(one.topic),
                "account": leg.account,
                "currency": leg.currency,
                "amount": money(leg.minor, leg.currency),
            }
