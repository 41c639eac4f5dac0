"""
A dossier as a page to read and to print: a case file that holds the dossier itself.

Made of what stands in the dossier and of nothing else, so that it shows no more, and whoever has
the same version can make it again and compare. No part of it comes from elsewhere.
"""

import json
from collections.abc import Iterable, Iterator
from html import escape
from typing import Any, Final, cast

from orderledger.ledger.errors import OrderLedgerError
from orderledger.ledger.money import format_minor

from .verify_dossier import SCRIPT, SCRIPT_END, checkpoint_of, contents, parse

GENERATOR: Final = "orderledger-dossier-page/1"
"""Names what the page looks like; another look gets another number."""
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
_STYLE: Final = """
body { font: 15px/1.5 Georgia, serif; max-width: 60em; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.6em; } h2 { font-size: 1.2em; border-bottom: 1px solid #999; margin-top: 2em; }
table { border-collapse: collapse; width: 100%; } caption { text-align: left; font-style: italic; }
th, td { text-align: left; vertical-align: top; padding: .3em .8em .3em 0; }
tr { border-bottom: 1px solid #ddd; } tr.event { border-bottom: 0; break-after: avoid; }
td.amount { text-align: right; white-space: nowrap; }
.hash, .said { font: 12px/1.4 monospace; overflow-wrap: anywhere; } .said { white-space: pre-wrap; }
@media print { body { margin: 0; max-width: none; font-size: 10pt; } tr { break-inside: avoid; } }
"""
_RULINGS: Final = ("ruling_issued", "default_ruling_issued", "appeal_decided", "ruling_amended")

Row = dict[str, Any]


def page_of(text: str) -> str:
    """Return the page of a dossier, given as text or as a page; raises ValueError for neither."""
    dossier = parse(text)
    if text.startswith("<!"):
        text = text.partition(SCRIPT)[2].partition(SCRIPT_END)[0]
    events = [(event, contents(event)) for event in dossier["events"]]
    title = f"Dossier of {dossier['subject'].replace('-', ' ', 1)}"
    parts = [
        "<!doctype html>\n",
        '<html lang="en"><head><meta charset="utf-8">\n',
        f'<meta name="generator" content="{GENERATOR}">\n',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n',
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style></head><body>\n",
        f"<h1>{escape(title)}</h1>\n",
        *_scope(dossier),
        *_parties(events),
        *_rulings(events),
        *_evidence(events),
        *_money(dossier),
        *_withheld(dossier),
        *_timeline(events),
        *_verifying(dossier),
        SCRIPT,
        text,
        SCRIPT_END,
        "\n</body></html>\n",
    ]
    return "".join(parts)


def _scope(dossier: Row) -> Iterator[str]:
    end = dossier["events"][-1]
    closed = f"position {end['position']} of the log, recorded {_when(end['recorded_at'])}"
    names = ", ".join([one["stream"] for one in dossier["streams"]])
    yield (
        f"<p>Book {escape(dossier['book'])}. All events of {escape(names)} up to "
        f"{escape(closed)}. What happened later is not in this file.</p>\n"
        "<p>Every statement has two times: when it happened in the world, and when it was "
        "recorded.</p>\n"
    )


def _parties(events: list[tuple[Row, Row | None]]) -> Iterator[str]:
    rows: list[list[str]] = []
    for event, said in events:
        if said is None or _area(event) not in ("order.placed", "dispute.filed"):
            continue
        for name in ("buyer_ref", "seller", "claimant", "respondent", "reason", "remedy"):
            if name in said:
                rows.append([event["stream"], name.replace("_", " "), _plain(said[name])])
        currency = _plain(said.get("currency"))
        for claim in _rows_of(said.get("claims")):
            amount = _amount(claim.get("amount"), currency)
            rows.append([event["stream"], f"claim on line {_plain(claim.get('line_id'))}", amount])
        if "claimed" in said:
            rows.append([event["stream"], "claimed in all", _amount(said["claimed"], currency)])
    yield _table("Parties and claims", ("Of", "What", ""), rows)


def _rulings(events: list[tuple[Row, Row | None]]) -> Iterator[str]:
    currencies = {
        event["stream"]: _plain(said.get("currency"))
        for event, said in events
        if said is not None and _area(event) == "dispute.filed"
    }
    rows: list[list[str]] = []
    for event, said in events:
        if said is None or _area(event).partition(".")[2] not in _RULINGS:
            continue
        currency = currencies.get(event["stream"], "")
        division = "; ".join(
            [
                f"{_plain(one.get('party'))} {_amount(one.get('amount'), currency)}"
                for one in _rows_of(said.get("allocations"))
            ]
        )
        reasons = _plain(said.get("reasons") or said.get("cause") or said.get("rule_ref"))
        grounds = ", ".join([_plain(one) for one in _list_of(said.get("rule_refs"))])
        relied = ", ".join([_plain(one) for one in _list_of(said.get("evidence_relied_on"))])
        by = _plain(said.get("by") or "the rule book")
        what = f"{_plain(said.get('ruling_id'))}, {_words(event)}, by {by}"
        rows.append([_when(event["occurred_at"]), what, division, reasons, grounds, relied])
    heads = ("When", "Ruling", "Division", "Reasons", "Rules", "Evidence relied on")
    yield _table("Rulings", heads, rows)


def _evidence(events: list[tuple[Row, Row | None]]) -> Iterator[str]:
    rows: list[list[str]] = []
    for event, said in events:
        for item in _items(said):
            name = _plain(item.get("evidence_id") or item.get("kind"))
            kind, size = _plain(item.get("kind")), _plain(item.get("size"))
            rows.append([event["stream"], event["position"], name, kind, size, item["sha256"]])
    heads = ("Of", "Position", "Evidence", "Kind", "Bytes", "SHA-256")
    yield _table("Evidence", heads, rows, hashes=(5,))


def _items(value: object) -> Iterator[Row]:
    """Yield every object with a SHA-256 in what an event says."""
    row = _row_of(value)
    if isinstance(row.get("sha256"), str):
        yield row
    for one in (*row.values(), *_list_of(value)):
        yield from _items(one)


def _money(dossier: Row) -> Iterator[str]:
    rows = [
        [row["account"], row["layer"], row["currency"], _amount(int(row["minor"]), row["currency"])]
        for row in dossier["money"]
    ]
    yield _table("Money (debit positive)", ("Account", "Layer", "Currency", "Net"), rows, amount=3)


def _withheld(dossier: Row) -> Iterator[str]:
    rows = [
        [event["position"], event["stream"], event["version"], event["topic"]]
        for event in dossier["events"]
        if event["payload"] is None
    ]
    rows += [
        ["", one["stream"], "", "its state"] for one in dossier["streams"] if one["state"] is None
    ]
    yield _table("Withheld", ("Position", "Of", "Version", "What"), rows)


def _timeline(events: list[tuple[Row, Row | None]]) -> Iterator[str]:
    yield "<h2>Timeline</h2>\n<table>\n<tr>"
    heads = ("Position", "Happened", "Recorded", "Of", "What", "By")
    yield "".join([f"<th>{one}</th>" for one in heads]) + "</tr>\n"
    for event, said in events:
        actor = _row_of(_row_of(json.loads(event["context"])).get("actor"))
        cells = (
            event["position"],
            _when(event["occurred_at"]),
            _when(event["recorded_at"]),
            f"{event['stream']}, version {event['version']}",
            _words(event),
            f"{_plain(actor.get('type'))} {_plain(actor.get('id'))}",
        )
        yield '<tr class="event">' + "".join([f"<td>{escape(one)}</td>" for one in cells])
        if said is None:
            lines = [f"withheld; SHA-256 {event['payload_sha256']}"]
        else:
            lines = [" · ".join([f"{name}: {value}" for name, value in _flat(said)])]
        lines += [_leg(line) for line in event["postings"].splitlines()]
        yield f'</tr>\n<tr><td></td><td colspan="5" class="said">{escape(chr(10).join(lines))}'
        yield "</td></tr>\n"
    yield "</table>\n"


def _leg(line: str) -> str:
    layer, account, currency, minor = line.split(" ")
    side = "credit" if minor.startswith("-") else "debit"
    amount = _amount(abs(int(minor)), currency)
    return f"{side} {account} {amount}" + ("" if layer == "posted" else f" ({layer})")


def _when(instant: str) -> str:
    """Return an instant without what is zero: 2026-01-06 22:00:00 UTC."""
    text = instant.removesuffix("Z").removesuffix(".000000")
    return f"{text.replace('T', ' ')} UTC"


def _verifying(dossier: Row) -> Iterator[str]:
    rows: list[list[str]] = []
    for row in dossier["checkpoints"]:
        one = checkpoint_of(row["note"])
        signers = ", ".join([name for name, _, _ in one.signatures]) or "nobody"
        rows.append([one.origin, str(one.size), signers, one.root.hex()])
    yield _table("Checkpoints", ("Log", "Events", "Signed by", "Root"), rows, hashes=(3,))
    yield (
        "<h2>How to verify</h2>\n<p>This page is only paper; what it holds can be proved. Get the "
        "verifier, one file of Python, and the public key of whoever signed from somebody whom you "
        "trust, not from whoever gave you this page. Then run</p>\n"
        '<p class="said">python verify_dossier.py THIS_FILE --trust PUBLIC_KEY</p>\n'
        "<p>It checks the data in this file, not what the page shows of them: "
        "<span class=said>orderledger dossier verify</span> compares that too.</p>\n"
    )


def _table(
    title: str,
    heads: Iterable[str],
    rows: list[list[str]],
    *,
    amount: int = -1,
    hashes: tuple[int, ...] = (),
) -> str:
    if not rows:
        return ""
    lines = ["<tr>" + "".join([f"<th>{escape(one)}</th>" for one in heads]) + "</tr>\n"]
    for row in rows:
        cells: list[str] = []
        for number, cell in enumerate(row):
            kind = "amount" if number == amount else "hash" if number in hashes else ""
            cells.append(f'<td class="{kind}">{escape(cell)}</td>')
        lines.append("<tr>" + "".join(cells) + "</tr>\n")
    return f"<h2>{escape(title)}</h2>\n<table>\n{''.join(lines)}</table>\n"


def _area(event: Row) -> str:
    """Return a topic without its version."""
    return str(event["topic"]).rpartition(".")[0]


def _words(event: Row) -> str:
    """Return what happened in words: payment.refund_succeeded.v1 is "refund succeeded"."""
    return _area(event).partition(".")[2].replace("_", " ")


def _plain(value: Any) -> str:
    return "" if value is None else str(value)


def _amount(minor: Any, currency: str) -> str:
    if not isinstance(minor, int):
        return _plain(minor)
    try:
        return f"{format_minor(minor, currency)} {currency}"
    except OrderLedgerError:
        return f"{minor} minor units of {currency}"


def _row_of(value: object) -> Row:
    """Return an object of JSON, an empty one for anything else."""
    return cast("Row", value) if isinstance(value, dict) else {}


def _list_of(value: object) -> list[object]:
    """Return an array of JSON, an empty one for anything else."""
    return cast("list[object]", value) if isinstance(value, list) else []


def _rows_of(value: object) -> list[Row]:
    return [_row_of(one) for one in _list_of(value)]


def _flat(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield the values of what an event says, by the path to each."""
    for key, one in _row_of(value).items():
        yield from _flat(one, f"{name}.{key}" if name else key)
    for number, one in enumerate(_list_of(value), 1):
        yield from _flat(one, f"{name} {number}")
    if not isinstance(value, dict | list):
        yield name, _plain(value)
