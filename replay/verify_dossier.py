"""
Verify a dossier of an order or a dispute, offline: python verify_dossier.py FILE --trust KEY

One file, for whoever must rely on a dossier. It needs Python 3.11 or later, nothing of the program
that made the dossier, no database and no network; for the signatures alone it needs the package
``cryptography``. Each line of the answer is one check or one note. Exit status: 0 sound, 1 a check
failed, 2 it could not be run as asked.

What a dossier is. A ledger keeps a log: a numbered list of events, none of which is ever changed.
Over the log stands a Merkle tree (RFC 6962): a single hash, the root, that is another one as soon
as a byte of any event is. A checkpoint is a signed statement that the log had so many events and
this root. The dossier holds the events about its subject, and for each a proof that it is in the
log of the newest checkpoint. The events of one entity (an order, a payment, a dispute: a "stream")
are numbered by version, without a gap; the last here is one that was recorded to close the stream
for this dossier. So none is left out up to there.
"""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# What json.loads gives is looked into as it comes.

import argparse
import json
import re
import sys
from base64 import b64decode
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

FORMAT = "orderledger-dossier/1"
CLOSING = "stream.attested.v1"
SCRIPT = '<script type="application/json" id="dossier">\n'  # where a page keeps its dossier
SCRIPT_END = "</script>"
OK, FAILED, OPEN, NOTE = "ok", "FAILED", "NOT CHECKED", "note"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HEX = r"[0-9a-f]{64}"
INSTANT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"
NUMBER = r"[1-9]\d{0,17}"
ID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
TEXT = r"[^\0]*"
# What stands in the file: these fields in this order, each a text of this form; "?" may be null.
SHAPE: dict[str, Any] = {
    "format": re.escape(FORMAT),
    "book": TEXT,
    "subject": TEXT,
    "streams": [{"stream": TEXT, "state": "?"}],
    "events": [
        {
            "position": NUMBER,
            "recorded_at": INSTANT,
            "event_id": ID,
            "stream": TEXT,
            "version": NUMBER,
            "topic": TEXT,
            "occurred_at": INSTANT,
            "appended_at": INSTANT,
            "command_id": ID,
            "context": TEXT,
            "postings": TEXT,
            "payload": "?",
            "payload_sha256": HEX,
            "proof": [HEX],
        }
    ],
    "checkpoints": [{"note": TEXT, "proof": [HEX]}],
    "money": [{"account": TEXT, "layer": TEXT, "currency": TEXT, "minor": r"-?[1-9]\d*"}],
}
# By which events an order names what belongs to it: topic, kind of stream, field with its id. The
# order of a dispute belongs to it too. Without a kind the field has the whole name of the stream.
# Those of the order itself cannot be withheld: nobody could tell what they name.
LINKS = {
    "order.payment_linked": ("payment-", "payment_id"),
    "order.late_payment_detected": ("payment-", "payment_id"),
    "order.dispute_opened": ("dispute-", "dispute_id"),
    "order.lines_moved": ("", "cause"),
    "dispute.filed": ("order-", "order_id"),
}
BELONGING = ("order", "payment", "dispute", "fulfilment", "return")
# The steps of a dispute of which it is told under which checkpoint they stand.
STEPS = r"dispute\.(filed|\w*ruling_issued|appeal_decided|ruling_amended|external_award_received)"

Dossier = dict[str, Any]
Event = dict[str, Any]


class Finding(NamedTuple):
    """One line of the answer."""

    status: str
    check: str
    text: str


class Checkpoint(NamedTuple):
    """A signed note (c2sp.org/signed-note), taken apart."""

    origin: str  # which log: orderledger/BOOK/beginning of its first leaf
    size: int  # how many events
    root: bytes
    text: str  # these three as they were signed
    signatures: list[tuple[str, bytes, bytes]]  # name of the key, its id, the signature


def verify(text: str, trusted: Sequence[str] = ()) -> list[Finding]:
    """
    Check a dossier; each text in ``trusted`` is one public key or several of one holder.

    It is sound where no finding FAILED; what is NOT CHECKED is not known.
    """
    try:
        dossier = parse(text)
        checkpoints = [checkpoint_of(one["note"]) for one in dossier["checkpoints"]]
        said = [contents(event) for event in dossier["events"]]
        leaves = [leaf_hash(dossier["book"], event) for event in dossier["events"]]
    except (ValueError, OverflowError, RecursionError) as error:
        return [Finding(FAILED, "form", str(error))]
    count, end = len(dossier["events"]), dossier["events"][-1]
    complete = f"all {count} events of {len(dossier['streams'])} streams up to position "
    complete += f"{end['position']}, recorded {end['recorded_at']}; what came later is not here"
    return [
        Finding(OK, "form", f"a dossier of {dossier['subject']}, book {dossier['book']}"),
        *_found(
            "log", _check_log(dossier, leaves, checkpoints[-1]), f"{count} events are in the log"
        ),
        *_found("complete", _check_complete(dossier, said), complete),
        *_found(
            "links", _check_links(dossier, said), "all that the order names as its own is here"
        ),
        *_found("checkpoints", _check_checkpoints(dossier, checkpoints), "one log, continued"),
        *_check_signatures(checkpoints, trusted),
        *_found("money", _check_money(dossier), "every entry balances, the statement is their sum"),
        *_notes(dossier, said, checkpoints),
    ]


def _found(check: str, wrong: Iterator[str], fine: str) -> list[Finding]:
    return [Finding(FAILED, check, one) for one in wrong] or [Finding(OK, check, fine)]


# -- reading the file --------------------------------------------------------------------------


def canonical(dossier: Dossier) -> str:
    """Return the one text of a dossier. A "<" is escaped, so that it can stand in a page."""
    text = json.dumps(dossier, ensure_ascii=False, indent=1)
    return text.replace("<", "\\u003c") + "\n"


def parse(text: str) -> Dossier:
    """Read a dossier, by itself or in a page; raises ValueError for anything that is none."""
    if text.startswith("<!") and text.count(SCRIPT) == 1:
        text = text.partition(SCRIPT)[2].partition(SCRIPT_END)[0]
    try:
        text.encode()  # half a character, which an escape can write, is none
        dossier: Dossier = json.loads(text)
    except ValueError as error:
        raise ValueError(f"this is no dossier, or it is cut off: {error}") from error
    _require_shape(dossier, SHAPE, "the dossier")
    if not (dossier["streams"] and dossier["events"] and dossier["checkpoints"]):
        raise ValueError("the dossier has no stream, no event or no checkpoint")
    if canonical(dossier) != text:
        raise ValueError("the dossier is not written as one is: something is repeated or spaced")
    return dossier


def _require_shape(value: Any, shape: Any, where: str) -> None:
    if isinstance(shape, dict):
        if not isinstance(value, dict) or list(value) != list(shape):
            raise ValueError(f"{where} does not have exactly the fields {', '.join(shape)}")
        for name in shape:
            _require_shape(value[name], shape[name], f"{name} of {where}")
    elif isinstance(shape, list):
        if not isinstance(value, list):
            raise ValueError(f"{where} is no list")
        for number, one in enumerate(value, 1):
            _require_shape(one, shape[0], f"number {number} in {where}")
    elif value is None and shape == "?":
        return
    elif not isinstance(value, str) or (shape != "?" and not re.fullmatch(shape, value, re.A)):
        raise ValueError(f"{where} cannot be {value!r:.60}")


def place(event: Event) -> str:
    """Say which event it is."""
    return f"position {event['position']} ({event['stream']}, version {event['version']})"


def contents(event: Event) -> dict[str, Any] | None:
    """Return what an event says, None where that is withheld; raises ValueError."""
    found = json.loads(event["payload"] or "{}")
    if not isinstance(found, dict):
        raise ValueError(f"{place(event)}: the payload is no object")
    return found if event["payload"] is not None else None


# -- the log -----------------------------------------------------------------------------------


def leaf_hash(book: str, event: Event) -> bytes:
    """Return an event's leaf in the tree: it covers every column, the payload by its SHA-256."""
    columns = [
        book.encode(),
        UUID(event["event_id"]).bytes,
        event["stream"].encode(),
        _eight_bytes(int(event["version"])),
        event["topic"].encode(),
        _eight_bytes(_microseconds(event["occurred_at"])),
        _eight_bytes(_microseconds(event["appended_at"])),
        UUID(event["command_id"]).bytes,
        event["context"].encode(),
        event["postings"].encode(),
    ]
    sized = b"".join([len(one).to_bytes(4, "big") + one for one in columns])
    content = sha256(b"\x01" + sized + bytes.fromhex(event["payload_sha256"])).digest()
    at = _eight_bytes(_microseconds(event["recorded_at"]))
    return sha256(b"\x00" + _eight_bytes(int(event["position"])) + at + content).digest()


def _eight_bytes(number: int) -> bytes:
    return number.to_bytes(8, "big", signed=True)


def _microseconds(instant: str) -> int:
    return (datetime.fromisoformat(instant) - EPOCH) // timedelta(microseconds=1)


def _climb(start: bytes, node: int, last: int, proof: list[bytes]) -> tuple[bytes, bytes | None]:
    """
    Go from a node up to the root, one hash of the proof at a time.

    Returns the root of what is at the node and left of it, and the root of the whole tree, None
    where the proof has too few or too many hashes. ``last`` is the number of the last node.
    """
    left = whole = start
    for sibling in proof:
        if last == 0:
            return left, None
        if node & 1 or node == last:
            left, whole = _parent(sibling, left), _parent(sibling, whole)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            whole = _parent(whole, sibling)
        node, last = node >> 1, last >> 1
    return left, whole if last == 0 else None


def _parent(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def _hex(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _hashes(row: Event) -> list[bytes]:
    return [bytes.fromhex(one) for one in row["proof"]]


def _is_continued(old: Checkpoint, new: Checkpoint, proof: list[bytes]) -> bool:
    """Tell whether a log begins with all of an older one (RFC 9162, 2.1.4.2)."""
    path = [old.root, *proof] if old.size & (old.size - 1) == 0 else proof
    node, last = old.size - 1, new.size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    return bool(path) and _climb(path[0], node, last, path[1:]) == (old.root, new.root)


def _check_log(dossier: Dossier, leaves: list[bytes], newest: Checkpoint) -> Iterator[str]:
    """Every event, with every column, is in the log at its position (RFC 9162, 2.1.3.2)."""
    for event, leaf in zip(dossier["events"], leaves, strict=True):
        payload, index = event["payload"], int(event["position"]) - 1
        if payload is not None and _hex(payload) != event["payload_sha256"]:
            yield f"{place(event)}: the payload is not the one that was recorded"
        root = _climb(leaf, index, newest.size - 1, _hashes(event))[1]
        if index >= newest.size or root != newest.root:
            yield f"{place(event)} is not in the log of the newest checkpoint as it stands here"


def _check_complete(dossier: Dossier, said: list[Any]) -> Iterator[str]:
    """Every stream is here from version 1 to the event that closes it, all closed at one place."""
    states = {one["stream"]: one["state"] for one in dossier["streams"]}
    names = [one["stream"] for one in dossier["streams"]]
    ends: dict[str, tuple[Event, Any]] = {}
    before = (0, "")
    for event, payload in zip(dossier["events"], said, strict=True):
        here = (int(event["position"]), event["recorded_at"])
        if not (before[0] < here[0] and before[1] < here[1]):
            yield f"{place(event)} stands after one of position {before[0]}"
        stream, before = event["stream"], here
        wanted = 1 + (int(ends[stream][0]["version"]) if stream in ends else 0)
        if int(event["version"]) != wanted or stream not in states:
            yield f"{place(event)} stands where version {wanted} of a stream of this file must be"
        ends[stream] = (event, payload)
    if sorted(ends) != sorted(names) or len({end["command_id"] for end, _ in ends.values()}) != 1:
        yield "the streams were not closed at one place of the log, or one is empty or twice here"
    for stream, (event, payload) in ends.items():
        if event["topic"] != CLOSING or payload is None:
            yield f"{place(event)} is the last of its stream here, and does not close it"
        elif (payload.get("subject"), payload.get("streams")) != (dossier["subject"], names):
            yield f"{place(event)} closes other streams, or for another subject"
        elif states.get(stream) is not None and _hex(states[stream]) != payload.get("state"):
            yield f"the state of {stream} is not the one that was recorded at its end"


def _check_links(dossier: Dossier, said: list[Any]) -> Iterator[str]:
    """What the order's events name as its own, and the order that a dispute is about, is here."""
    names = {one["stream"] for one in dossier["streams"]}
    if dossier["subject"] not in names or not any(name.startswith("order-") for name in names):
        yield f"the subject {dossier['subject']}, or the order that it is about, is not here"
    for event, payload in zip(dossier["events"], said, strict=True):
        topic = event["topic"].rpartition(".")[0]
        kind, field = LINKS.get(topic, ("", ""))
        if payload is None and field and topic.startswith("order."):
            yield f"{place(event)} is withheld, and names something that belongs here"
        stream = f"{kind}{payload[field]}" if payload and field in payload else ""
        if stream.partition("-")[0] in BELONGING and stream not in names:
            yield f"{place(event)} names {stream}, which is not here"


def _check_money(dossier: Dossier) -> Iterator[str]:
    """The legs of each event sum to zero, and all together to the statement."""
    total: dict[tuple[str, str, str], int] = {}
    for event in dossier["events"]:
        sums: dict[tuple[str, str], int] = {}
        for line in event["postings"].split("\n") if event["postings"] else ():
            leg = re.fullmatch(r"(\S+) (\S+) (\S+) (-?[1-9][0-9]{0,30})", line)
            if leg is None:
                yield f"{place(event)}: {line!r:.60} is no leg"
                continue
            layer, account, currency, minor = leg[1], leg[2], leg[3], int(leg[4])
            sums[layer, currency] = sums.get((layer, currency), 0) + minor
            total[account, layer, currency] = total.get((account, layer, currency), 0) + minor
        if any(sums.values()):
            yield f"{place(event)}: its legs do not sum to zero"
    found = [[*key, str(minor)] for key, minor in sorted(total.items()) if minor]
    if found != [list(row.values()) for row in dossier["money"]]:
        yield "the statement of money is not the sum of the legs"


# -- checkpoints and signatures ----------------------------------------------------------------


def checkpoint_of(note: str) -> Checkpoint:
    """Take a note apart; raises ValueError."""
    head = re.match(rf"([^\n]+)\n({NUMBER})\n([A-Za-z0-9+/]{{43}}=)\n\n", note, re.A)
    lines = note[head.end() :].split("\n") if head else ["none"]
    signatures = [re.fullmatch(r"— ([^\s+]+) ([A-Za-z0-9+/=]+)", line) for line in lines[:-1]]
    if head is None or lines[-1] or None in signatures:
        raise ValueError(f"{note!r:.60} is no checkpoint")
    values = [(one[1], b64decode(one[2], validate=True)) for one in signatures if one]
    text = note[: head.end() - 1]
    signed = [(name, value[:4], value[4:]) for name, value in values]
    return Checkpoint(head[1], int(head[2]), b64decode(head[3]), text, signed)


def read_key(text: str) -> tuple[str, bytes, bytes]:
    """Read NAME+ID+BASE64: the name, the id, a byte of kind (1, or 4: signs a time) and the key."""
    name, _, rest = text.partition("+")
    value = b64decode(rest[9:], validate=True)
    key_id = sha256(f"{name}\n".encode() + value).digest()[:4]
    if len(value) != 33 or value[0] not in (1, 4) or rest[:9] != f"{key_id.hex()}+":
        raise ValueError(f"{text!r:.60} is no public key: NAME+ID+BASE64")
    return name, key_id, value


def signed_by(key: str, one: Checkpoint) -> str | None:
    """
    Return whose signature a key has under a checkpoint, None where it has none.

    Raises ValueError for a wrong one, ImportError without the package ``cryptography``.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    name, key_id, value = read_key(key)
    for given in [found[2] for found in one.signatures if found[:2] == (name, key_id)]:
        message, signature, said = one.text, given, name
        if value[0] == 4:  # c2sp.org/tlog-cosignature: eight bytes of time before the signature
            seconds, signature = int.from_bytes(given[:8], "big"), given[8:]
            message = f"cosignature/v1\ntime {seconds}\n{one.text}"
            said = f"{name} (saw it {EPOCH + timedelta(seconds=min(seconds, 2**37))})"
        try:
            Ed25519PublicKey.from_public_bytes(value[1:]).verify(signature, message.encode())
        except InvalidSignature:
            raise ValueError(f"the signature of {name} is wrong") from None
        return said
    return None


def _check_checkpoints(dossier: Dossier, checkpoints: list[Checkpoint]) -> Iterator[str]:
    """They are of the book's log, and each continues the one before."""
    for number, (one, row) in enumerate(zip(checkpoints, dossier["checkpoints"], strict=True)):
        if one.origin.rpartition("/")[0] != f"orderledger/{dossier['book']}":
            yield f"the checkpoint of {one.size} events is of {one.origin}, another book"
        old = checkpoints[number - 1]
        is_next = old.size < one.size and old.origin == one.origin
        if number and not (is_next and _is_continued(old, one, _hashes(row))):
            yield f"the log of {one.size} events does not continue that of {old.size}: it forked"
    if dossier["checkpoints"][0]["proof"]:
        yield "the first checkpoint continues none, and has a proof of it"


def _check_signatures(checkpoints: list[Checkpoint], trusted: Sequence[str]) -> Iterator[Finding]:
    """Everybody trusted has signed the newest checkpoint, and one of them each older one."""
    if not trusted:
        names = ", ".join([name for name, _, _ in checkpoints[-1].signatures]) or "nobody"
        yield Finding(OPEN, "signatures", f"no key was given; {names} stands under the newest")
        return
    for one in checkpoints:
        what = f"the checkpoint of {one.size} events"
        try:
            found = [[signed_by(key, one) for key in keys.split()] for keys in trusted]
        except ImportError:
            yield Finding(OPEN, "signatures", "the package `cryptography` is not installed")
            return
        except ValueError as error:
            yield Finding(FAILED, "signatures", f"{what}: {error}")
            continue
        lacks = [
            keys.partition("+")[0] for keys, by in zip(trusted, found, strict=True) if not any(by)
        ]
        if lacks and (one is checkpoints[-1] or len(lacks) == len(trusted)):
            yield Finding(FAILED, "signatures", f"{what} has no signature of {', '.join(lacks)}")
        else:
            names = ", ".join([name for by in found for name in by if name])
            yield Finding(OK, "signatures", f"{what} is signed by {names}")


# -- what a reader must know -------------------------------------------------------------------


def _notes(dossier: Dossier, said: list[Any], checkpoints: list[Checkpoint]) -> Iterator[Finding]:
    """Tell when the steps of a dispute were under seal, what is withheld, and what is elsewhere."""
    named: set[str] = set()
    for event, payload in zip(dossier["events"], said, strict=True):
        if re.fullmatch(STEPS, event["topic"].rpartition(".")[0]):
            sizes = [one.size for one in checkpoints if one.size >= int(event["position"])]
            under = f"stands under the checkpoint of {min(sizes, default=0)} events"
            yield Finding(NOTE, "sealed", f"{event['topic']} at {place(event)} {under}")
        if payload is None:
            yield Finding(NOTE, "withheld", f"{place(event)}: what {event['topic']} says")
        for name, value in _texts(payload):
            if name == "sha256":
                yield Finding(NOTE, "evidence", f"SHA-256 {value} in {place(event)}")
            named.add(value if name == "cause" else f"{name.removesuffix('_id')}-{value}")
    for one in dossier["streams"]:
        if one["state"] is None:
            yield Finding(NOTE, "withheld", f"the state of {one['stream']}")
    for stream in sorted(named - {one["stream"] for one in dossier["streams"]}):
        if stream.partition("-")[0] in (*BELONGING, "payout"):
            yield Finding(
                NOTE, "elsewhere", f"{stream} is named by an event and is not in this file"
            )


def _texts(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield every text in a payload with the name of its field."""
    if isinstance(value, str):
        yield name, value
    for key, one in value.items() if isinstance(value, dict) else ():
        yield from _texts(one, key)
    for one in value if isinstance(value, list) else ():
        yield from _texts(one, name)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(description="Verify a dossier of an order or a dispute.")
    parser.add_argument("file", type=Path, help="the dossier: JSON, or a page that holds it")
    parser.add_argument("--trust", action="append", default=[], help="a public key, or its file")
    given = parser.parse_args(arguments)
    try:
        text = given.file.read_bytes().decode()
        trusted = [Path(one).read_text() if Path(one).is_file() else one for one in given.trust]
        for key in " ".join(trusted).split():
            read_key(key)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"cannot verify: {error}\n")
        return 2
    findings = verify(text, trusted)
    if text.startswith("<!"):
        findings.append(Finding(OPEN, "page", "only the data in it was checked, not what it shows"))
    for one in findings:
        sys.stdout.write(line_of(one) + "\n")
    status, verdict = verdict_of(findings, is_trusting=bool(trusted))
    sys.stdout.write(f"{verdict}\n")
    return status


def line_of(one: Finding) -> str:
    """Return a finding as a line of plain ASCII: names in a dossier may be anything."""
    return re.sub(r"[^ -~]", "?", f"{one.status:12} {one.check:12} {one.text}")


def verdict_of(findings: Sequence[Finding], *, is_trusting: bool) -> tuple[int, str]:
    """Return the exit status, and what it means."""
    if any(one.status == FAILED for one in findings):
        return 1, "NOT SOUND"
    if any(one.status == OPEN and one.check == "signatures" for one in findings):
        lacking = "give --trust with a key that you hold from elsewhere"
        return (2, "NOT VERIFIED") if is_trusting else (0, f"it agrees with itself; {lacking}")
    return 0, "SOUND"


if __name__ == "__main__":
    sys.exit(main())
