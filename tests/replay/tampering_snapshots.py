"""
Kinds of tampering with the snapshots of a book, and what must be found of each.

Those "with right hashes" are sealed anew: what is wrong is what they say.
"""

import zlib
from collections.abc import Callable
from hashlib import sha256
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from orderledger.ledger.folds import FOLDS
from orderledger.ledger.snapshot_ports import Header, SnapshotKind, SnapshotStore
from orderledger.ledger.stores.snapshots import snapshots_of
from orderledger.replay.findings import Check
from orderledger.snapshots.bodies import decode_state, encode_state, sealed
from orderledger.snapshots.rows import Index
from tests.replay.forger import Forger
from tests.replay.tampered_book import SAVED_MODEL, SAVED_STREAM
from tests.replay.tampering import LAST, PLACED, Kind, at

Change = Callable[[SnapshotStore, Header, bytes], object]


def _of(kind: SnapshotKind, subject: str, change: Change) -> Callable[[Forger], None]:
    """Return what changes the last snapshot of a subject."""

    def forge(forger: Forger) -> None:
        store = forger.database.open()
        kept = snapshots_of(store)
        header = kept.headers(kind, subject)[-1]
        change(kept, header, kept.body(header) or b"")
        kept.close()
        store.close()

    return forge


def _of_stream(change: Change) -> Callable[[Forger], None]:
    return _of(SnapshotKind.STREAM, SAVED_STREAM, change)


def _of_model(change: Change) -> Callable[[Forger], None]:
    return _of(SnapshotKind.MODEL, SAVED_MODEL, change)


def _torn(kept: SnapshotStore, header: Header, body: bytes) -> None:
    kept.put(header, body[:-4], {})


def _edited(kept: SnapshotStore, header: Header, body: bytes) -> None:
    state = decode_state(header.codec, FOLDS["order"].state_type, body)
    codec, edited = encode_state(replace(state, buyer_ref="somebody"))
    kept.put(sealed(replace(header, codec=codec), edited), edited, {})


def _put(**changes: Any) -> Change:
    """Return what gives a snapshot another header, sealed anew."""
    return lambda kept, header, body: kept.put(sealed(replace(header, **changes), body), body, {})


def _index(change: Callable[[Index], Index]) -> Change:
    """Return what changes where the rows of a model are said to be, sealed anew."""

    def forge(kept: SnapshotStore, header: Header, body: bytes) -> None:
        changed = change(msgspec.json.decode(zlib.decompress(body), type=Index))
        written = zlib.compress(msgspec.json.encode(changed))
        kept.put(sealed(header, written), written, {})

    return forge


def _part(change: Callable[[bytes], bytes]) -> Change:
    """Return what changes the first part of the orders, with its name and whatever names it."""

    def forge(kept: SnapshotStore, header: Header, body: bytes) -> None:
        index = msgspec.json.decode(zlib.decompress(body), type=Index)
        orders = index.tables["orders"]
        part = change(kept.part(header.subject, orders.hashes[0]) or b"")
        hashes = (sha256(part).digest(), *orders.hashes[1:])
        tables = {**index.tables, "orders": replace(orders, hashes=hashes)}
        written = zlib.compress(msgspec.json.encode(replace(index, tables=tables)))
        kept.put(sealed(header, written), written, {hashes[0]: part})

    return forge


def _row_edited(part: bytes) -> bytes:
    rows = msgspec.json.decode(zlib.decompress(part), type=list[list[Any]])
    rows[0][1] = "somebody"
    return zlib.compress(msgspec.json.encode(rows))


def _begun_elsewhere(index: Index) -> Index:
    orders = replace(index.tables["orders"], first_keys=msgspec.Raw(b'[["o0"]]'))
    return replace(index, tables={**index.tables, "orders": orders})


def _unfoldable(forger: Forger) -> None:
    forger.edit(PLACED, lambda payload: payload.pop("buyer_ref"))
    forger.agree(PLACED)


_DAMAGED: Final = at(Check.SNAPSHOT_DAMAGED, stream=SAVED_STREAM)
_PARTS: Final = at(Check.SNAPSHOT_DAMAGED, LAST)
_ROWS: Final = at(Check.SNAPSHOT_DIFFERS, LAST)


def _kind(name: str, forge: Callable[[Forger], object], *expected: Any) -> Kind:
    return Kind(name, forge, expected, is_deep=True)


SNAPSHOTS: Final = (
    _kind("a snapshot of a stream is torn", _of_stream(_torn), _DAMAGED),
    _kind(
        "the header of a snapshot is another",
        _of_stream(lambda kept, header, body: kept.put(replace(header, size=1), body, {})),
        _DAMAGED,
    ),
    _kind(
        "a snapshot of a stream says something else, with right hashes",
        _of_stream(_edited),
        at(Check.SNAPSHOT_DIFFERS, stream=SAVED_STREAM),
    ),
    _kind(
        "a snapshot is of another version, with right hashes",
        _of_stream(_put(version=1)),
        at(Check.SNAPSHOT_MISPLACED, stream=SAVED_STREAM),
    ),
    _kind(
        "a snapshot is given to another stream, with right hashes",
        _of_stream(_put(subject="order-o3")),
        at(Check.SNAPSHOT_MISPLACED, stream="order-o3"),
    ),
    _kind(
        "a snapshot is of another log, with right hashes",
        _of_stream(_put(leaf_hash=bytes(32))),
        at(Check.SNAPSHOT_OTHER_LOG, stream=SAVED_STREAM),
    ),
    _kind(
        "a snapshot is of a stream that cannot be folded, with right hashes",
        _unfoldable,
        at(Check.SNAPSHOT_UNAVAILABLE, stream=SAVED_STREAM),
        _ROWS,
    ),
    _kind("a snapshot of a model is torn", _of_model(_torn), _PARTS),
    _kind(
        "a part of a model's snapshot is edited",
        lambda forger: forger.update("orderledger.snapshot_parts", {"body": b"other"}, {}),
        _PARTS,
    ),
    _kind(
        "a part of a model's snapshot is deleted",
        lambda forger: forger.delete("orderledger.snapshot_parts", {"subject": SAVED_MODEL}),
        _PARTS,
    ),
    _kind(
        "a part of a model's snapshot is no rows, with right hashes",
        _of_model(_part(lambda _: b"no rows")),
        _PARTS,
    ),
    _kind(
        "a row of a model's snapshot is edited, with right hashes",
        _of_model(_part(_row_edited)),
        _ROWS,
    ),
    _kind(
        "a part of a model's snapshot begins elsewhere, with right hashes",
        _of_model(_index(_begun_elsewhere)),
        _PARTS,
    ),
    _kind(
        "the digest of a model's snapshot is another, with right hashes",
        _of_model(_index(lambda index: replace(index, digest=bytes(32)))),
        _ROWS,
    ),
)
