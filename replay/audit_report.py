"""
An audit as one page for people: what happened, on both clocks, where the money went, how to verify.

The page needs nothing else, no script and no other file, and is the same bytes for the same book on
any engine: nothing in it comes from the machine or the hour at which it was made.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from shlex import quote
from typing import Final, cast

import msgspec

from orderledger.commands.requests import Context
from orderledger.ledger.codec import encode_json
from orderledger.ledger.errors import LimitExceeded
from orderledger.ledger.journal import Layer
from orderledger.ledger.money import format_minor

from .audit import Audit, AuditEntry, AuditEvent, AuditRefusal, SubjectKind
from .audit_facts import PEOPLE, REASONS, RULES, Said
from .audit_flow import ARROWS_MAX, flows, picture
from .audit_markup import markup, name, words
from .audit_style import STYLE
from .audit_timeline import Clocks, Dater, Mark, timeline
from .checkpoints import checkpoint_of

ENTRIES_MAX: Final = 5_000
"""Entries of one report: it is held in memory, and nobody reads more."""
_FIELDS_MAX: Final = 600
"""Characters of what an event says beside its reasons and rules."""
_TAGS: Final = {
    Clocks.LATE: "told over a day later",
    Clocks.BACK_DATED: "back-dated",
    Clocks.AHEAD: "dated ahead",
}

_ON_CLOCKS: Final = (
    "Above, when the ledger learned of it; below, when it happened. A line joins the two instants "
    "of an event, a thicker one those of several; numbers are those of the events below. Instants "
    "stand in order, not to scale. Back-dated is what happened over a minute before something that "
    "was recorded earlier."
)
_ON_EVENTS: Final = (
    "In the order of recording. Entries are in the decimals of their currency; other amounts that "
    "an event names are in minor units."
)
_ON_PROOF: Final = (
    "Every event is a leaf of the log's Merkle tree, whose root stands at the top: whoever holds a "
    "signed checkpoint of this position, or of a later one, can tell whether anything before it "
    "was changed, left out or put in. On the book itself:"
)
_ON_COMMANDS: Final = (
    "The first checks every hash, entry and balance; the second must show the root above; the "
    "third must give this page, byte for byte. Records of refusals are not part of the tree."
)


class _Numbered(msgspec.Struct, frozen=True):
    """An entry of the report with its number and what its two clocks show."""

    number: int
    entry: AuditEntry
    clocks: Clocks


def report(audit: Audit) -> str:
    """
    Return the report of an audit as HTML.

    Raises LimitExceeded for one of more than ``ENTRIES_MAX`` entries.
    """
    entries = list(islice(audit, ENTRIES_MAX + 1))
    if len(entries) > ENTRIES_MAX:
        raise LimitExceeded(
            f"{audit.subject.kind} {audit.subject.id} has more than {ENTRIES_MAX} entries, the "
            "limit of a report: ask for an earlier instant, or for JSON",
            kind=audit.subject.kind.value,
            id=audit.subject.id,
            limit=ENTRIES_MAX,
        )
    numbered = list(_numbered(entries))
    title = f"Audit of {audit.subject.kind} {audit.subject.id}"
    parts = [
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
        # A second lock: even what were not escaped could neither run nor load anything.
        (
            '<meta http-equiv="Content-Security-Policy" '
            "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        ),
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{markup(title)}</title><style>{STYLE}</style></head><body>",
        f"<h1>Audit of {audit.subject.kind} {name(audit.subject.id)}</h1>",
        f'<p class="book">Book {name(audit.book)}</p>',
        *_header(audit, entries),
        *_summary(numbered),
        *_clocks(numbered),
        *_money(numbered),
        *_trail(numbered),
        *_balances(audit, numbered),
        *_verifying(audit, entries),
        "</body></html>\n",
    ]
    return "\n".join(parts)


def _numbered(entries: Sequence[AuditEntry]) -> Iterator[_Numbered]:
    dater = Dater()
    for number, entry in enumerate(entries, 1):
        clocks = Clocks.TOGETHER
        if isinstance(entry, AuditEvent):
            clocks = dater.clocks(_recorded_at(entry), entry.recorded.occurred_at)
        yield _Numbered(number, entry, clocks)


def _recorded_at(entry: AuditEntry) -> datetime:
    if isinstance(entry, AuditRefusal):
        return entry.recorded_at
    assert entry.recorded.recorded_at is not None, "a log as it was has instants only"
    return entry.recorded.recorded_at


def _context(entry: AuditEntry) -> Context | None:
    return entry.context if isinstance(entry, AuditRefusal) else entry.recorded.context


def _header(audit: Audit, entries: Sequence[AuditEntry]) -> list[str]:
    point, proof = audit.point, checkpoint_of(audit.log)
    told_to = _told_to(audit, entries)
    facts = {
        "As of": f"position {point.position}, recorded {_instant(audit.recorded_at)}",
        "Refusals up to": _instant(told_to),
        "What had happened by": "" if point.effective_to is None else _instant(point.effective_to),
        "Log": name(proof.origin),
        "Root of the log": f'<span class="id">{proof.root.hex()}</span>',
        # An account has a stream only once something was decided about it.
        "Streams": ""
        if audit.subject.kind is SubjectKind.ACCOUNT
        else ", ".join([name(one) for one in audit.streams]),
        **{label: words(text) for label, text in _state(audit).items()},
    }
    return [_facts(facts)]


def _told_to(audit: Audit, entries: Sequence[AuditEntry]) -> datetime | None:
    """Return an instant of recording as of which an audit tells the same."""
    if audit.refused_to is not None:
        return audit.refused_to
    refused = [one.recorded_at for one in entries if isinstance(one, AuditRefusal)]
    return max([*refused, *([audit.recorded_at] if audit.recorded_at else [])], default=None)


def _state(audit: Audit) -> dict[str, str]:
    """Return what the subject's own stream had come to, in its few most telling fields."""
    if audit.state is None:
        return {}
    state = audit.state.state
    found = {"Version of its stream": str(audit.state.version)}
    match audit.subject.kind:
        case SubjectKind.ORDER:
            found["State"] = state.lifecycle.value
            found["Order total"] = f"{format_minor(state.total, state.currency)} {state.currency}"
        case SubjectKind.PAYMENT:
            found["State"] = str(state.lifecycle)
            found["Amount"] = f"{format_minor(state.amount, state.currency)} {state.currency}"
        case _:
            found["Stage"] = state.stage.value
            found["Claimed"] = f"{format_minor(state.claimed, state.currency)} {state.currency}"
    if audit.state.omitted:
        found["Left out"] = f"{audit.state.omitted} events that had not happened by then"
    return found


def _summary(numbered: Sequence[_Numbered]) -> list[str]:
    events = [one.entry for one in numbered if isinstance(one.entry, AuditEvent)]
    others = [one.entry for one in numbered if isinstance(one.entry, AuditRefusal)]
    refused = sum(bool(one.error) for one in others)
    clocks = Counter(one.clocks for one in numbered)
    adjusting = [one for one in events if one.recorded.context.adjusts is not None]
    actors = Counter(
        f"{context.actor.type} {context.actor.id}"
        for context in (_context(one.entry) for one in numbered)
        if context is not None
    )
    happened = sorted(one.recorded.occurred_at for one in events)
    told = sorted(_recorded_at(one.entry) for one in numbered)
    facts = {
        "Events": f"{len(events)}, of {len({one.command_id for one in events})} commands",
        "Refused": _count(refused, "commands"),
        "Nothing to do": _count(len(others) - refused, "commands"),
        "Happened": _span(happened),
        "Recorded": _span(told),
        "Back-dated": _count(clocks[Clocks.BACK_DATED], "before what was recorded earlier"),
        "Told late": _count(clocks[Clocks.LATE], "over a day after they happened"),
        "Dated ahead": _count(clocks[Clocks.AHEAD], "effective after they were recorded"),
        "Adjusting a closed period": str(len(adjusting)) if adjusting else "",
        "Who": ", ".join([f"{words(who)} ({count})" for who, count in sorted(actors.items())]),
        "Rules named": ", ".join([words(rule) for rule in _rules(events)]),
    }
    return ["<h2>Summary</h2>", _facts(facts)]


def _rules(events: Iterable[AuditEvent]) -> list[str]:
    wanted = ("policy", "rule", "rule_id", "rule_ids", "rule_ref", "rule_refs", "rule_book")
    found = {
        f"{said.field.replace('_', ' ')} {said.text}": None
        for one in events
        for said in one.rules
        if said.field in wanted
    }
    return list(found)


def _clocks(numbered: Sequence[_Numbered]) -> list[str]:
    marks: list[Mark] = []
    for one in numbered:
        effective = one.entry.recorded.occurred_at if isinstance(one.entry, AuditEvent) else None
        marks.append(Mark(one.number, _recorded_at(one.entry), effective, one.clocks))
    return [
        "<h2>The two clocks</h2>",
        f"<figure>{timeline(marks)}<figcaption>{_ON_CLOCKS}</figcaption></figure>",
    ]


def _money(numbered: Sequence[_Numbered]) -> list[str]:
    found = flows(one.entry.recorded.entry for one in numbered if isinstance(one.entry, AuditEvent))
    if not found:
        return ["<h2>Where the money went</h2>", "<p>No entry of this subject moved money.</p>"]
    parts = ["<h2>Where the money went</h2>"]
    for flow in found:
        layer = "" if flow.layer is Layer.POSTED else f", {flow.layer.value}"
        left_out = len(flow.arrows) - ARROWS_MAX
        note = f" The {left_out} smallest are left out." if left_out > 0 else ""
        parts.append(
            f"<h3>{markup(flow.currency)}{layer}</h3><figure>{picture(flow)}<figcaption>From the "
            "credited account to the debited one, in the order in which money first went that way; "
            f"as thick as what went in all.{note}</figcaption></figure>"
        )
    return parts


# -- the events ------------------------------------------------------------------------------------


def _trail(numbered: Sequence[_Numbered]) -> list[str]:
    parts = [
        "<h2>What happened</h2>",
        f'<p class="note">{_ON_EVENTS}</p>',
        (
            '<table class="trail"><thead><tr><th class="n">#</th><th class="when">When, UTC</th>'
            '<th class="who">Who</th><th class="what">What, why, and its entry</th></tr></thead>'
        ),
    ]
    for one in numbered:
        if isinstance(one.entry, AuditRefusal):
            parts.append(_refusal_row(one.number, one.entry))
        else:
            parts.append(_event_row(one, one.entry))
    parts.append("</table>")
    return parts


def _event_row(one: _Numbered, event: AuditEvent) -> str:
    recorded = event.recorded
    context = recorded.context
    when = [
        _line("recorded", markup(_instant(recorded.recorded_at))),
        _line("effective", markup(_instant(recorded.occurred_at))),
    ]
    if one.clocks in _TAGS:
        when.append(f'<div class="tag {one.clocks}">{_TAGS[one.clocks]}</div>')
    if context.reported_at is not None:
        when.append(_line("reported for", markup(_instant(context.reported_at))))
    if context.adjusts is not None:
        when.append(_line("adjusts period", words(context.adjusts)))
    what = [
        f"<div><strong>{markup(recorded.topic)}</strong></div>",
        _line("stream", f"{name(recorded.stream)}, version {recorded.version}"),
        *_said(event.reasons),
        *_said(event.rules),
        _fields(event),
        _entry(event),
    ]
    number = f'{one.number}<div class="k">position<br>{recorded.position}</div>'
    who = _who(context, event.command, event.command_id)
    return _row(number, when, [*who, *_said(event.people)], what)


def _refusal_row(number: int, one: AuditRefusal) -> str:
    when = [_line("recorded", markup(_instant(one.recorded_at)))]
    if one.error:
        what = [
            f'<div class="tag refused">refused: {markup(one.reason or one.error)}</div>',
            f"<div>{words(one.message)}</div>",
        ]
    else:
        what = ["<div><strong>nothing to do</strong></div>"]
    if one.streams:
        seen = ", ".join([f"{name(key)} {version}" for key, version in one.streams.items()])
        what.append(_line("decided on", seen))
    if one.facts:
        what.append(f'<div class="fields">{words(_shortened(encode_json(one.facts)))}</div>')
    who = _who(one.context, one.command, one.command_id)
    if one.context is None:
        who.insert(0, '<div class="k">who is not recorded</div>')
        who.append(_line("key", name(one.key)))
    return _row(str(number), when, who, what)


def _row(number: str, when: list[str], who: list[str], what: list[str]) -> str:
    return (
        f'<tbody><tr><td class="n">{number}</td><td class="when">{"".join(when)}</td>'
        f'<td class="who">{"".join(who)}</td><td class="what">{"".join(what)}</td></tr></tbody>'
    )


def _who(context: Context | None, command: str, command_id: str) -> list[str]:
    parts: list[str] = []
    if context is not None:
        actor = context.actor
        parts.append(f"<div>{words(f'{actor.type} {actor.id}')}</div>")
        if actor.on_behalf_of is not None:
            parts.append(_line("on behalf of", words(actor.on_behalf_of)))
        parts.append(_line("source", markup(context.source.value)))
    if command:
        parts.append(_line("command", markup(command)))
    if context is not None:
        named = {
            "key": context.key,
            "provider event": context.provider_event_id,
            "caused by": context.causation_id,
            "correlation": context.correlation_id,
        }
        parts += [_line(label, name(text)) for label, text in named.items() if text]
    parts.append(_line("id", f'<span class="id">{name(command_id)}</span>'))
    return parts


def _said(found: Sequence[Said]) -> list[str]:
    return [_line(one.field.replace("_", " "), words(one.text)) for one in found]


def _fields(event: AuditEvent) -> str:
    """Return what else an event says, shortened: the report is to be read."""
    told = {*REASONS, *RULES, *PEOPLE}
    stored = cast("dict[str, object]", msgspec.to_builtins(event.recorded.event))
    fields = {field: stored[field] for field in stored if field not in told}
    if isinstance(rule_book := stored.get("rule_book"), dict):
        fields["rule_book"] = cast("object", rule_book)
    if not fields:
        return ""
    text = " · ".join([f"{field} {_value(value)}" for field, value in fields.items()])
    return f'<div class="fields">{words(_shortened(text))}</div>'


def _value(value: object) -> str:
    text = encode_json(value)
    is_text = text.startswith('"') and "\\" not in text
    return text[1:-1] if is_text else text


def _shortened(text: str) -> str:
    if len(text) <= _FIELDS_MAX:
        return text
    return f"{text[:_FIELDS_MAX]}… ({len(text) - _FIELDS_MAX} more characters; --json has all)"


def _entry(event: AuditEvent) -> str:
    legs = event.recorded.entry.postings
    if not legs:
        return ""
    rows: list[str] = []
    for leg in legs:
        amount = f"{format_minor(abs(leg.minor), leg.currency)} {leg.currency}"
        held = "" if leg.layer is Layer.POSTED else f" ({leg.layer.value})"
        sides = (amount, "") if leg.minor >= 0 else ("", amount)
        rows.append(
            f"<tr><td>{name(leg.account)}{held}</td><td>{markup(sides[0])}</td>"
            f"<td>{markup(sides[1])}</td></tr>"
        )
    return (
        '<table class="entry"><tr class="k"><td></td><td>debit</td><td>credit</td></tr>'
        f"{''.join(rows)}</table>"
    )


# -- balances and proof ----------------------------------------------------------------------------


def _balances(audit: Audit, numbered: Sequence[_Numbered]) -> list[str]:
    sums: dict[tuple[str, str, str], int] = {}
    for one in numbered:
        if isinstance(one.entry, AuditEvent):
            for leg in one.entry.recorded.entry.postings:
                key = leg.currency, leg.layer.value, leg.account
                sums[key] = sums.get(key, 0) + leg.minor
    if not sums:
        return []
    note = (
        "The subject's own lines are its balance. The others are what these entries moved on them."
        if audit.subject.kind is SubjectKind.ACCOUNT
        else "What all entries of this subject together came to on each account."
    )
    parts = [
        "<h2>What it came to</h2>",
        f'<p class="note">{note} Debits and credits of each currency are equal.</p>',
        (
            '<table class="lines"><thead><tr><th>Account</th><th>Currency</th>'
            '<th class="number">Debit</th><th class="number">Credit</th></tr></thead><tbody>'
        ),
    ]
    for currency, layer in sorted({key[:2] for key in sums}):
        parts += _balance_rows(currency, layer, sums)
    return [*parts, "</tbody></table>"]


def _balance_rows(
    currency: str, layer: str, sums: Mapping[tuple[str, str, str], int]
) -> Iterator[str]:
    shown = currency if layer == Layer.POSTED.value else f"{currency}, {layer}"
    totals = [0, 0]
    for key in sorted(sums):
        if key[:2] != (currency, layer):
            continue
        minor = sums[key]
        totals[minor < 0] += abs(minor)
        yield _balance_row(name(key[2]), shown, (max(minor, 0), max(-minor, 0)), currency)
    yield _balance_row("Sum", shown, (totals[0], totals[1]), currency, css="sum")


def _balance_row(
    title: str, shown: str, sides: tuple[int, int], currency: str, css: str = ""
) -> str:
    is_zero = not any(sides) or css == "sum"
    debit, credit = (format_minor(one, currency) if one or is_zero else "" for one in sides)
    return (
        f'<tr class="{css}"><td>{title}</td><td>{markup(shown)}</td>'
        f'<td class="number">{debit}</td><td class="number">{credit}</td></tr>'
    )


def _verifying(audit: Audit, entries: Sequence[AuditEntry]) -> list[str]:
    told_to = _told_to(audit, entries)
    at = (
        f"--at {audit.point.position}"
        if told_to is None or told_to == audit.recorded_at
        else f"--at {_iso(told_to)}"
    )
    effective = (
        ""
        if audit.point.effective_to is None
        else f" --effective-to {_iso(audit.point.effective_to)}"
    )
    book = f"--book {quote(audit.book)}"
    subject = f"{audit.subject.kind} {quote(audit.subject.id)}"
    commands = (
        f"orderledger verify {book}",
        f"orderledger checkpoint show {book} --at {audit.point.position}",
        f"orderledger audit {subject} {book} {at}{effective} --html -",
    )
    return [
        "<h2>How to verify this</h2>",
        f"<p>{_ON_PROOF}</p>",
        f"<pre>{markup(chr(10).join(commands))}</pre>",
        f"<p>{_ON_COMMANDS}</p>",
    ]


# -- small things ----------------------------------------------------------------------------------


def _facts(facts: Mapping[str, str]) -> str:
    rows = [f"<tr><th>{label}</th><td>{value}</td></tr>" for label, value in facts.items() if value]
    return f'<table class="facts">{"".join(rows)}</table>'


def _line(label: str, value: str) -> str:
    return f'<div><span class="k">{markup(label)}</span> {value}</div>'


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number else ""


def _span(instants: Sequence[datetime]) -> str:
    if not instants:
        return ""
    first, last = _instant(instants[0]), _instant(instants[-1])
    return first if first == last else f"{first} to {last}"


def _instant(instant: datetime | None) -> str:
    """Write an instant in UTC, with what it has below the second."""
    if instant is None:
        return ""
    at = instant.astimezone(UTC)
    fraction = f".{at.microsecond:06}" if at.microsecond else ""
    return f"{at:%Y-%m-%d %H:%M:%S}{fraction}"


def _iso(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")
