"""The command that tells everything recorded about a subject: a table, JSON, or a report."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from .cli_accounts import effective_to
from .cli_export import write_whole
from .cli_output import Session, common, money
from .cli_read import posting_rows
from .cli_replay import as_of, at
from .cli_tables import Chapter, Columns, Row, print_story, short_topic

if TYPE_CHECKING:
    from orderledger.commands.requests import Context
    from orderledger.replay.audit import Audit, AuditEntry, AuditEvent, AuditRefusal
    from orderledger.replay.audit_facts import Said

_TRAIL: Final = Columns(
    (
        *("position", "recorded_at", "effective_at", "event", "stream", "actor", "command"),
        *("key", "source", "correlation", "cause", "reported_at", "adjusts", "rules", "why"),
    ),
    numeric=("position",),
    giving_way=(
        *("why", "rules", "adjusts", "reported_at", "cause", "correlation", "source", "key"),
        *("command", "stream"),
    ),
    words={
        "stream": "of",
        "command": "command",
        "key": "key",
        "source": "source",
        "correlation": "correlation",
        "cause": "caused by",
        "reported_at": "reported for",
        "adjusts": "adjusts",
        "rules": "by the rules",
        "why": "because",
    },
)
_POSTINGS: Final = Columns(("layer", "account", "amount"), numeric=("amount",))
html: Final = click.option(
    "--html",
    "file",
    metavar="FILE|-",
    help="Write a report for people instead: one page that needs nothing else.",
)


@click.group()
def audit() -> None:
    """
    Tell who did what to a subject, when, why, and by which rules.

    Each event with both clocks, its command, actor, cause and entry, and each command that was
    refused. With --html, a report that can be printed and handed to an auditor.
    """


def _subject(kind: str, metavar: str, text: str) -> None:
    @audit.command(kind, help=text)
    @click.argument("subject_id", metavar=metavar)
    @at
    @effective_to
    @html
    @common
    def show(
        session: Session,
        subject_id: str,
        at: int | datetime | None,
        effective_to: datetime | None,
        file: str | None,
    ) -> None:
        found = session.reading.audit(kind, subject_id, as_of(at, effective_to))
        if file is not None:
            _report(session, found, file)
        elif session.is_json:
            session.rows(map(_json, found), _TRAIL)
        else:
            print_story(map(_chapter, found), _TRAIL, _POSTINGS)


_subject(
    "order",
    "ID",
    "Tell about an order, and about its payments, fulfilments, returns and disputes.",
)
_subject("payment", "ID", "Tell about a payment and its chargebacks.")
_subject("dispute", "ID", "Tell about a dispute.")
_subject("account", "NAME", "Tell about every entry that touches an account.")
_subject(
    "actor",
    "TYPE:ID",
    "Tell everything that an actor did, and what it was refused. Reads the whole log.",
)
_subject(
    "command",
    "KEY|ID",
    "Tell what a command did, or why it was refused, by its idempotency key or its id.",
)


def _report(session: Session, found: "Audit", file: str) -> None:
    from orderledger.replay.audit_report import report

    text = report(found)
    if file == "-":
        click.echo(text, nl=False)
        return
    write_whole(Path(file), (text,))
    session.record(
        {
            "file": file,
            "subject": f"{found.subject.kind} {found.subject.id}",
            "position": found.point.position,
        }
    )


def _json(entry: "AuditEntry") -> Row:
    from orderledger.replay.audit import AuditRefusal

    return _refusal_json(entry) if isinstance(entry, AuditRefusal) else _event_json(entry)


def _event_json(one: "AuditEvent") -> Row:
    recorded = one.recorded
    return {
        "is_refusal": False,
        "position": recorded.position,
        "recorded_at": recorded.recorded_at,
        "effective_at": recorded.occurred_at,
        "stream": recorded.stream,
        "version": recorded.version,
        "topic": recorded.topic,
        **_asked(one.command, one.command_id, recorded.context),
        "people": _by_field(one.people),
        "reasons": _by_field(one.reasons),
        "rules": _by_field(one.rules),
        "event": recorded.event,
        "postings": [
            {
                "account": leg.account,
                "layer": leg.layer,
                "currency": leg.currency,
                "minor": leg.minor,
                "amount": money(leg.minor, leg.currency),
            }
            for leg in recorded.entry.postings
        ],
    }


def _refusal_json(one: "AuditRefusal") -> Row:
    return {
        "is_refusal": bool(one.error),
        "recorded_at": one.recorded_at,
        "key": one.key,
        **_asked(one.command, one.command_id, one.context),
        "error": one.error,
        "reason": one.reason,
        "message": one.message,
        "facts": one.facts,
        "decided_on": one.streams,
    }


def _asked(command: str, command_id: str, context: "Context | None") -> Row:
    asked: dict[str, object] = {"command": command, "command_id": command_id}
    if context is not None:
        asked.update(
            key=context.key,
            actor=context.actor,
            source=context.source,
            correlation_id=context.correlation_id,
            causation_id=context.causation_id,
            provider_event_id=context.provider_event_id,
            reported_at=context.reported_at,
            adjusts=context.adjusts,
        )
    return asked


def _by_field(said: "tuple[Said, ...]") -> Row:
    return {one.field: one.text for one in said}


def _chapter(entry: "AuditEntry") -> Chapter:
    from orderledger.replay.audit import AuditRefusal

    if isinstance(entry, AuditRefusal):
        head: Row = {
            "recorded_at": entry.recorded_at,
            "event": f"refused: {entry.reason or entry.error}" if entry.error else "nothing to do",
            "command": entry.command,
            "key": entry.key,
            "why": entry.message or None,
            **_who(entry.context),
        }
        return Chapter(head)
    recorded = entry.recorded
    head = {
        "position": recorded.position,
        "recorded_at": recorded.recorded_at,
        "effective_at": recorded.occurred_at,
        "event": short_topic(recorded.topic),
        "stream": recorded.stream,
        "command": entry.command or None,
        "key": recorded.context.key,
        "rules": _words(entry.rules),
        "why": _words((*entry.reasons, *entry.people)),
        **_who(recorded.context),
    }
    return Chapter(head, posting_rows(recorded))


def _who(context: "Context | None") -> Row:
    if context is None:
        return {}
    return {
        "actor": f"{context.actor.type} {context.actor.id}",
        "source": context.source.value,
        "correlation": context.correlation_id,
        "cause": context.causation_id,
        "reported_at": context.reported_at,
        "adjusts": context.adjusts,
    }


def _words(said: "tuple[Said, ...]") -> str | None:
    return "; ".join([f"{one.field.replace('_', ' ')} {one.text}" for one in said]) or None
