"""
Dossiers: one file that proves what happened to an order or in a dispute, and that it is all.

What stands in it is checked by ``verify_dossier``, which shares no code with what is here but the
form of the file. A dossier ends where its streams were closed for it (``AttestStreams``); for
closed streams the same dossier can be made again, as with a newer checkpoint.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

import msgspec

from orderledger.ledger import streams
from orderledger.ledger.attestation_events import (
    ATTESTED,
    StreamAttested,
    state_hash,
    state_text,
)
from orderledger.ledger.checkpoints import Checkpoint, SignedCheckpoint
from orderledger.ledger.codec import decode_event
from orderledger.ledger.dispute_events import DisputeFiled
from orderledger.ledger.errors import (
    IntegrityViolation,
    InvalidInput,
    LogForked,
    NotFound,
    Unavailable,
)
from orderledger.ledger.events import topic_of
from orderledger.ledger.folds import fold_of
from orderledger.ledger.journal import decode_entry, net_by_account
from orderledger.ledger.merkle_proofs import LogTree
from orderledger.ledger.order_disputes import DisputeOpened
from orderledger.ledger.order_events import LatePaymentDetected, OrderLinesMoved, PaymentLinked
from orderledger.ledger.ports import EventStore, StoredEvent

from . import verify_dossier
from .checkpoints import checkpoint_of, tree_of
from .history import linked_streams

_STEPS: Final = frozenset(
    {
        "dispute.filed.v1",
        "dispute.ruling_issued.v1",
        "dispute.default_ruling_issued.v1",
        "dispute.appeal_decided.v1",
        "dispute.ruling_amended.v1",
        "dispute.external_award_received.v1",
    }
)
"""Steps of a dispute of which the dossier shows the first checkpoint that covers them."""


_NEEDED: Final = frozenset(
    {
        ATTESTED,
        *[topic_of(one) for one in (PaymentLinked, LatePaymentDetected)],
        *[topic_of(one) for one in (DisputeOpened, OrderLinesMoved)],
    }
)
"""What names the streams of a dossier, and what closes them."""


class Subject(msgspec.Struct, frozen=True):
    """
    What a dossier is about: its stream, and all streams that belong to its order.

    ``order_version`` is the version of the order, the first of them, that named the others.
    """

    stream: str
    streams: tuple[str, ...]
    order_version: int


class Dossier(msgspec.Struct, frozen=True, kw_only=True):
    """
    A dossier as it is handed out: ``text`` is the file.

    ``position`` is where its streams were closed, ``checkpoint`` the one that the proofs lead to,
    ``withheld`` the events whose payload is left out, as ``stream:version``.
    """

    subject: str
    text: str
    position: int
    events: int
    checkpoint: SignedCheckpoint
    withheld: tuple[str, ...]


def subject_of(store: EventStore, kind: str, entity_id: str) -> Subject:
    """
    Return what belongs to an order or a dispute; raises NotFound, InvalidInput for another kind.

    Both have the same streams: the order's, and those of its payments, fulfilments, returns and
    disputes.
    """
    if kind not in ("order", "dispute"):
        raise InvalidInput(
            f"a dossier is of an `order` or a `dispute`, not of {kind!r:.40}", kind=kind
        )
    stream = streams.order(entity_id) if kind == "order" else streams.dispute(entity_id)
    first = next(store.stream(stream, until=1), None)
    if first is None:
        raise NotFound(f"book {store.book} has no {kind} {entity_id}", **{f"{kind}_id": entity_id})
    order_id = entity_id
    if kind == "dispute":
        filed = decode_event(first.topic, first.payload)
        if not isinstance(filed, DisputeFiled):
            raise IntegrityViolation(f"{stream} begins with {first.topic}", stream=stream)
        order_id = filed.order_id
    order = streams.order(order_id)
    # Read before what it names: whoever closes the streams finds out if it moved since.
    version = max([row.version for row in store.stream(order)], default=0)
    found = (order, *linked_streams(store, order_id))
    if stream not in found:
        raise IntegrityViolation(f"order {order_id} does not name {stream}", stream=stream)
    return Subject(stream, found, version)


def closed(store: EventStore, subject: Subject) -> Mapping[str, int] | None:
    """Return the versions at which the streams end, None unless all are closed for the subject."""
    ends: dict[str, int] = {}
    commands: set[UUID] = set()
    for stream in subject.streams:
        fold, last = fold_of(stream), None
        state: Any = fold.initial
        for row in store.stream(stream):
            last, state = row, fold.apply(state, decode_event(row.topic, row.payload))
        if last is None or last.topic != ATTESTED:
            return None
        closing = decode_event(last.topic, last.payload)
        assert isinstance(closing, StreamAttested), "so its topic says"
        said = (closing.subject, closing.streams, closing.state)
        if said != (subject.stream, subject.streams, state_hash(state)):
            return None
        ends[stream] = last.version
        commands.add(last.command_id)
    return ends if len(commands) == 1 else None


def make(
    store: EventStore,
    subject: Subject,
    ends: Mapping[str, int],
    held: Sequence[SignedCheckpoint],
    withhold: Sequence[str] = (),
) -> Dossier:
    """
    Make the dossier of a subject whose streams were closed with the versions ``ends``.

    ``held`` are checkpoints of this log, the newest at or after the end; without any, the dossier
    has one that nobody signed. ``withhold`` names topics, or events as ``stream:version``, whose
    payload is left out. Raises InvalidInput where it names none, for checkpoints of another book
    and for one that is too old; LogForked where the log is not the one that was signed;
    IntegrityViolation where the book does not bear out what the dossier would say.
    """
    rows = sorted(_rows(store, ends), key=lambda row: row.position or 0)
    end = rows[-1].position or 0
    tree = tree_of(store)
    shown = _shown(store, held, rows)
    newest = shown[-1].checkpoint
    hidden = _hidden(rows, withhold)
    document = {
        "format": verify_dossier.FORMAT,
        "book": store.book,
        "subject": subject.stream,
        "streams": [_stream(stream, rows, hidden) for stream in subject.streams],
        "events": [_event(row, tree, newest.size, is_hidden=_name(row) in hidden) for row in rows],
        "checkpoints": _proved(shown, tree),
        "money": _money(rows),
    }
    text = verify_dossier.canonical(document)
    for finding in verify_dossier.verify(text):
        if finding.status == verify_dossier.FAILED:
            raise IntegrityViolation(
                f"book {store.book} does not bear out a dossier of {subject.stream}: "
                f"{finding.text}; run `orderledger verify`",
                subject=subject.stream,
                check=finding.check,
            )
    return Dossier(
        subject=subject.stream,
        text=text,
        position=end,
        events=len(rows),
        checkpoint=shown[-1],
        withheld=tuple(sorted(hidden)),
    )


def _rows(store: EventStore, ends: Mapping[str, int]) -> Iterator[StoredEvent]:
    """Yield the events up to those that close the streams."""
    for stream, end in ends.items():
        for row in store.stream(stream, until=end):
            if row.position is None:
                raise Unavailable(
                    f"version {row.version} of {stream} waits for its position: try again",
                    stream=stream,
                )
            yield row


def _shown(
    store: EventStore, held: Sequence[SignedCheckpoint], rows: Sequence[StoredEvent]
) -> list[SignedCheckpoint]:
    """Return the checkpoints that the dossier shows, by size: of each step, and the newest."""
    if not held:
        return [SignedCheckpoint(checkpoint_of(store), ())]
    for one in held:
        _require_ours(store, one.checkpoint)
    by_size = _merged(held)
    newest, end = by_size[-1], rows[-1].position or 0
    if newest.checkpoint.size < end:
        raise InvalidInput(
            f"the newest checkpoint is of {newest.checkpoint.size} events, the dossier ends at "
            f"position {end}: publish one, and export again",
            size=newest.checkpoint.size,
            position=end,
        )
    sizes = {newest.checkpoint.size: newest}
    for row in rows:
        if row.topic in _STEPS:
            first = next(one for one in by_size if one.checkpoint.size >= (row.position or 0))
            sizes.setdefault(first.checkpoint.size, first)
    return [one for _, one in sorted(sizes.items())]


def _merged(held: Sequence[SignedCheckpoint]) -> list[SignedCheckpoint]:
    """Return one checkpoint of each size, with the signatures of all targets, by size."""
    found: dict[int, SignedCheckpoint] = {}
    for one in held:
        known = found.setdefault(one.checkpoint.size, one)
        for signature in one.signatures:
            known = known.with_signature(signature)
        found[one.checkpoint.size] = known
    return [one for _, one in sorted(found.items())]


def _require_ours(store: EventStore, one: Checkpoint) -> None:
    size = store.head().size
    if one.size > size:
        raise LogForked(
            f"a checkpoint of {one.size} events was signed, the log of book {store.book} ends at "
            f"{size}: it lost its end",
            signed_size=one.size,
            size=size,
        )
    ours = checkpoint_of(store, one.size)
    if ours.origin != one.origin:
        raise InvalidInput(
            f"a checkpoint is of {one.origin}, this book's log is {ours.origin}",
            held=one.origin,
            origin=ours.origin,
        )
    if ours.root != one.root:
        raise LogForked(
            f"the first {one.size} events of {one.origin} have the root {ours.root.hex()}, a "
            f"checkpoint with {one.root.hex()} was signed: history was rewritten",
            signed_size=one.size,
            root=ours.root.hex(),
            signed_root=one.root.hex(),
        )


def _proved(shown: Sequence[SignedCheckpoint], tree: LogTree) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    before = 0
    for one in shown:
        size = one.checkpoint.size
        found.append({"note": one.note, "proof": _hex(tree.consistency(before, size))})
        before = size
    return found


def _hidden(rows: Sequence[StoredEvent], withhold: Sequence[str]) -> frozenset[str]:
    """Return the events whose payload is withheld, as ``stream:version``."""
    found: set[str] = set()
    for wanted in withhold:
        matched = [row for row in rows if wanted in (row.topic, _name(row))]
        if not matched:
            raise InvalidInput(
                f"nothing of the dossier is {wanted!r:.200}: name a topic such as "
                "order.address_set.v1, or an event as STREAM:VERSION",
                withhold=wanted,
            )
        if any(row.topic in _NEEDED for row in matched):
            raise InvalidInput(
                f"{wanted} cannot be withheld: by it the dossier shows that nothing is left out",
                withhold=wanted,
            )
        found.update([_name(row) for row in matched])
    return frozenset(found)


def _name(row: StoredEvent) -> str:
    return f"{row.stream}:{row.version}"


def _stream(
    stream: str, rows: Sequence[StoredEvent], hidden: frozenset[str]
) -> dict[str, str | None]:
    """A state tells what its events say: where one of them is withheld, so is the state."""
    fold = fold_of(stream)
    state: Any = fold.initial
    own = [row for row in rows if row.stream == stream]
    for row in own:
        state = fold.apply(state, decode_event(row.topic, row.payload))
    is_hidden = any(_name(row) in hidden for row in own)
    return {"stream": stream, "state": None if is_hidden else state_text(state)}


def _event(row: StoredEvent, tree: LogTree, size: int, *, is_hidden: bool) -> dict[str, Any]:
    assert row.position is not None, "rows without a position were refused"
    assert row.recorded_at is not None, "a row with a position has an instant"
    return {
        "position": str(row.position),
        "recorded_at": _instant(row.recorded_at),
        "event_id": str(row.event_id),
        "stream": row.stream,
        "version": str(row.version),
        "topic": row.topic,
        "occurred_at": _instant(row.occurred_at),
        "appended_at": _instant(row.appended_at),
        "command_id": str(row.command_id),
        "context": row.context,
        "postings": row.postings,
        "payload": None if is_hidden else row.payload,
        "payload_sha256": _sha256(row.payload),
        "proof": _hex(tree.inclusion(row.position - 1, size)),
    }


def _money(rows: Sequence[StoredEvent]) -> list[dict[str, str]]:
    legs = [leg for row in rows for leg in decode_entry(row.postings).postings]
    found = {
        (account, layer.value, currency): minor
        for (layer, account, currency), minor in net_by_account(legs).items()
        if minor
    }
    return [
        {"account": account, "layer": layer, "currency": currency, "minor": str(minor)}
        for (account, layer, currency), minor in sorted(found.items())
    ]


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _sha256(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _hex(hashes: Sequence[bytes]) -> list[str]:
    return [one.hex() for one in hashes]
