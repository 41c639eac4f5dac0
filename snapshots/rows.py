"""
The rows of a read model as they were at a position: written in chunks, read as they are asked for.

A table is cut into runs of rows in key order. A run that did not change from one snapshot to the
next is the same part with the same hash, and is kept once. The body names the parts of every table
with the key that each begins at, so that a few rows are read without the others.
"""

import zlib
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from datetime import datetime
from functools import cache
from hashlib import sha256
from typing import Any, Final

import msgspec

from orderledger.ledger.model_ports import Column, Key, Kind, Row, Table
from orderledger.ledger.snapshot_ports import Header, SnapshotStore

from .bodies import Unreadable, seal
from .rejections import NotUsed, Rejection, place_of

ROWS: Final = "rows.json+zlib"
CODECS: Final = frozenset({ROWS})
CHUNK_ROWS: Final = 256
"""Rows of a part; up to twice as many before it is cut."""
CHUNKS_READ: Final = 512
"""Parts that are kept decoded while a snapshot is read."""
_LEVEL: Final = 1

_TYPES: Final[Mapping[Kind, Any]] = {
    Kind.TEXT: str,
    Kind.INTEGER: int,
    Kind.AMOUNT: int,
    Kind.INSTANT: datetime,
    Kind.BOOLEAN: bool,
}


class Chunks(msgspec.Struct, frozen=True):
    """Where the rows of a table are: the first key of each part, as JSON, and the part's hash."""

    first_keys: msgspec.Raw
    hashes: tuple[bytes, ...]


class Index(msgspec.Struct, frozen=True):
    """The body of a model's snapshot: the digest of all rows, and the parts of each table."""

    digest: bytes
    tables: dict[str, Chunks]


class Change(msgspec.Struct, frozen=True):
    """What a table has other than the snapshot before: rows by key, and keys that are gone."""

    rows: Mapping[Key, Row] = {}
    gone: Set[Key] = frozenset()


class Written(msgspec.Struct, frozen=True):
    """A body to be put, its new parts by hash, and the hashes of those that are there already."""

    body: bytes
    parts: Mapping[bytes, bytes]
    kept: Set[bytes]


class SavedModel:
    """The rows of one snapshot; see ``SavedRows`` for the contract."""

    def __init__(
        self,
        store: SnapshotStore,
        header: Header,
        index: Index,
        anew: Callable[[], Mapping[str, Sequence[Row]]],
    ) -> None:
        self.header: Final = header
        self.index = index
        self._store: Final = store
        self._anew: Final = anew
        self._made: Mapping[str, Sequence[Row]] | None = None
        self._first_keys: Final[dict[str, list[Any]]] = {}
        self._read: Final[OrderedDict[tuple[str, int], Mapping[Key, Row]]] = OrderedDict()

    @property
    def position(self) -> int:
        return self.header.position

    @property
    def leaf_hash(self) -> bytes:
        return self.header.leaf_hash

    @property
    def digest(self) -> bytes:
        return self.index.digest

    def fetch(self, table: Table, keys: Sequence[Key]) -> Mapping[Key, Row]:
        found: dict[Key, Row] = {}
        first_keys = self.first_keys(table)
        for key in keys:
            number = bisect_right(first_keys, key) - 1
            if number >= 0 and (row := self.chunk(table, number).get(key)) is not None:
                found[key] = row
        return found

    def rows(self, table: Table, after: Key | None) -> Iterator[Row]:
        first_keys = self.first_keys(table)
        begin = 0 if after is None else max(0, bisect_right(first_keys, after) - 1)
        for number in range(begin, len(first_keys)):
            for key, row in self.chunk(table, number).items():
                if after is None or _is_after(key, after):
                    yield row

    def first_keys(self, table: Table) -> list[Any]:
        """Return the key that each part of a table begins at."""
        found = self._first_keys.get(table.name)
        if found is None:
            chunks = self.index.tables[table.name]
            keys = _decoder(table.columns[: table.key_count])
            found = self._first_keys[table.name] = keys.decode(chunks.first_keys)
        return found

    def chunk(self, table: Table, number: int) -> Mapping[Key, Row]:
        """
        Return the rows of one part of a table by key, in key order.

        Where it is damaged, or was deleted meanwhile, the rows are made anew from the events: the
        answer is the same, later.
        """
        place = (table.name, number)
        found = self._read.get(place)
        if found is not None:
            self._read.move_to_end(place)
            return found
        rows = self._rows_of(table, number)
        if rows is None:
            return self._made_anew(table, number)
        found = self._read[place] = {table.key_of(row): row for row in rows}
        if len(self._read) > CHUNKS_READ:
            self._read.popitem(last=False)
        return found

    def _rows_of(self, table: Table, number: int) -> Sequence[Row] | None:
        if self._made is not None:
            return None
        part_hash = self.index.tables[table.name].hashes[number]
        part = self._store.part(self.header.subject, part_hash)
        if part is None or sha256(part).digest() != part_hash:
            return None
        try:
            rows: list[Row] = _decoder(table.columns).decode(zlib.decompress(part))
        except (zlib.error, msgspec.DecodeError):
            return None
        return rows

    def _made_anew(self, table: Table, number: int) -> Mapping[Key, Row]:
        if self._made is None:
            self._made = self._anew()
            # So that the next reader does not meet it.
            self._store.drop((self.header,))
        first_keys = self.first_keys(table)
        rows = self._made[table.name]
        keys: list[Any] = [table.key_of(row) for row in rows]
        begin = bisect_left(keys, first_keys[number])
        is_last = number + 1 == len(first_keys)
        end = len(keys) if is_last else bisect_left(keys, first_keys[number + 1])
        return dict(zip(keys[begin:end], rows[begin:end], strict=True))

    def check_parts(self, tables: Iterable[Table]) -> None:
        """
        Read every part; raises NotUsed for one that is damaged, not there or in another place.
        """
        for table in tables:
            for number, first_key in enumerate(self.first_keys(table)):
                rows = self._rows_of(table, number)
                which = f"part {number + 1} of table {table.name}"
                if rows is None:
                    raise NotUsed(
                        Rejection.DAMAGED,
                        f"{place_of(self.header)} lacks {which}, or that has another hash",
                    )
                if not rows or table.key_of(rows[0]) != first_key:
                    raise NotUsed(
                        Rejection.DAMAGED,
                        f"{place_of(self.header)} says of {which} that it begins at {first_key}, "
                        "which it does not",
                    )


def read_index(store: SnapshotStore, header: Header, tables: Sequence[Table]) -> Index:
    """Return what a snapshot says where its rows are; raises NotUsed where it is damaged."""
    body = store.body(header)
    if body is None or seal(header, body) != header.body_hash:
        raise NotUsed(Rejection.DAMAGED, f"{place_of(header)} has a body of another hash, or none")
    try:
        index = _decode_index(body)
        for table in tables:
            chunks = index.tables[table.name]
            keys = _decoder(table.columns[: table.key_count]).decode(chunks.first_keys)
            if len(keys) != len(chunks.hashes):
                raise Unreadable(f"{len(keys)} keys of {len(chunks.hashes)} parts")
    except (Unreadable, LookupError, zlib.error, msgspec.DecodeError) as error:
        raise NotUsed(Rejection.DAMAGED, f"{place_of(header)} cannot be read: {error}") from error
    return index


def write(
    tables: Sequence[Table], base: SavedModel | None, changes: Mapping[str, Change], digest: bytes
) -> Written:
    """
    Return the body of a snapshot: the rows of the one before with what has changed since.

    Parts in which nothing changed are named again, without being read.
    """
    found: dict[str, Chunks] = {}
    parts: dict[bytes, bytes] = {}
    kept: set[bytes] = set()
    for table in tables:
        first_keys: list[Key] = []
        hashes: list[bytes] = []
        for first_key, piece in _pieces(table, base, changes.get(table.name, Change())):
            if isinstance(piece, bytes):
                part_hash = piece
                kept.add(piece)
            else:
                part_hash = _add(parts, piece)
            first_keys.append(first_key)
            hashes.append(part_hash)
        found[table.name] = Chunks(msgspec.Raw(msgspec.json.encode(first_keys)), tuple(hashes))
    body = zlib.compress(msgspec.json.encode(Index(digest, found)), _LEVEL)
    return Written(body, parts, kept - parts.keys())


def _pieces(
    table: Table, base: SavedModel | None, change: Change
) -> Iterator[tuple[Key, bytes | Sequence[Row]]]:
    """Yield the parts of a table: the hash of one that stays, or the rows of a new one."""
    touched: list[Any] = sorted({*change.rows, *change.gone})
    first_keys = base.first_keys(table) if base is not None else []
    if base is None or not first_keys:
        yield from _cut(table, [change.rows[key] for key in touched if key in change.rows])
        return
    hashes = base.index.tables[table.name].hashes
    begin = 0
    for number, first_key in enumerate(first_keys):
        is_last = number + 1 == len(first_keys)
        end = len(touched) if is_last else bisect_left(touched, first_keys[number + 1])
        if begin == end:
            yield first_key, hashes[number]
            continue
        rows = {**base.chunk(table, number)}
        for key in touched[begin:end]:
            rows.pop(key, None)
            if key in change.rows:
                rows[key] = change.rows[key]
        in_order: list[Any] = sorted(rows)
        yield from _cut(table, [rows[key] for key in in_order])
        begin = end


def _cut(table: Table, rows: Sequence[Row]) -> Iterator[tuple[Key, Sequence[Row]]]:
    size = CHUNK_ROWS if len(rows) > 2 * CHUNK_ROWS else max(1, len(rows))
    for begin in range(0, len(rows), size):
        yield table.key_of(rows[begin]), rows[begin : begin + size]


def _add(parts: dict[bytes, bytes], rows: Sequence[Row]) -> bytes:
    part = zlib.compress(msgspec.json.encode(rows), _LEVEL)
    part_hash = sha256(part).digest()
    parts[part_hash] = part
    return part_hash


def hashes_of(body: bytes) -> Iterator[bytes]:
    """Iterate over the hashes of the parts that a body names; none where it cannot be read."""
    try:
        index = _decode_index(body)
    except (Unreadable, zlib.error, msgspec.DecodeError):
        return
    for chunks in index.tables.values():
        yield from chunks.hashes


def _decode_index(body: bytes) -> Index:
    index: Index = _INDEX.decode(zlib.decompress(body))
    return index


_INDEX: Final = msgspec.json.Decoder(Index)


@cache
def _decoder(columns: tuple[Column, ...]) -> msgspec.json.Decoder[Any]:
    """Return what reads rows of these columns."""
    kinds: list[Any] = [
        _TYPES[one.kind] | None if one.is_optional else _TYPES[one.kind] for one in columns
    ]
    row: Any = tuple[tuple(kinds)]  # type: ignore[misc]  # a tuple type made of the columns
    return msgspec.json.Decoder(list[row])


def _is_after(key: Any, after: Any) -> bool:
    is_after: bool = key > after
    return is_after
