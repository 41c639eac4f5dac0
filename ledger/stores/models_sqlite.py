"""
The read models of one book in its SQLite file.

SQLite's integers have 64 bits and amounts up to 30 digits, so an amount stands in three columns,
its limbs of ten digits, each with the amount's sign: (high * 10^10 + mid) * 10^10 + low. A limb is
below 10^10, so that sum() is exact for 900 million rows, and fails beyond instead of being wrong.
Ordinary amounts have zero in the upper two, which take no space. The views show one column.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, cast

import msgspec

from ..codec import encode_json
from ..errors import IntegrityViolation, InvalidInput, Unavailable
from ..ids import utc_now
from ..model_ports import (
    Changes,
    Column,
    Generation,
    GenerationState,
    Hold,
    Key,
    Kind,
    Parked,
    Row,
    Table,
    TableChanges,
    Value,
)
from .model_tables import check_tables, columns_of, physical, rows_differ
from .named_sql import statements
from .sqlite_append import iso_text
from .sqlite_files import SqliteFile

_SQL: Final = statements("sqlite", "model_queries")
_LIMB: Final = 10**10
_TYPES: Final = {
    Kind.TEXT: "TEXT",
    Kind.INTEGER: "INTEGER",
    Kind.INSTANT: "TEXT",
    Kind.BOOLEAN: "INTEGER",
}
_LIMBS: Final = ("high", "mid", "low")
UNITED_MAX: Final = 200
"""Selects that a view unites at one level. SQLite takes 500; each live book of the file has one."""
_shape: Final = msgspec.json.Decoder(tuple[Table, ...])
_positions: Final = msgspec.json.Decoder(tuple[int, ...])


def table_of(book_id: int, generation: Generation, table: str) -> str:
    """Return the name of the table that holds a generation's rows; the file may be a shop's own."""
    return f"orderledger_{physical(book_id, generation, table)}"


class SqliteModels:
    """Read models in a SQLite file; see ``ModelStore`` for the contract."""

    def __init__(
        self, file: SqliteFile, book_id: int, *, clock: Callable[[], datetime] = utc_now
    ) -> None:
        self.file: Final = file
        self.book_id: Final = book_id
        self._clock: Final = clock
        self._is_closed = False

    @property
    def is_at_hand(self) -> bool:
        return False

    def generations(self, model: str | None = None) -> Sequence[Generation]:
        rows = self._read("generations", {"book_id": self.book_id, "model": model})
        return [_generation(row) for row in rows]

    def create(
        self,
        model: str,
        version: int,
        fingerprint: str,
        tables: Sequence[Table],
        skipped: Sequence[int] = (),
    ) -> Generation:
        check_tables(model, tables)
        self._check_open()
        place = {"book_id": self.book_id, "model": model}
        with self.file.writing() as connection:
            number = int(connection.execute(_SQL["last_number"], place).fetchone()[0]) + 1
            made = Generation(
                model=model,
                number=number,
                version=version,
                fingerprint=fingerprint,
                state=GenerationState.BUILDING,
                skipped=tuple(skipped),
            )
            connection.execute(
                _SQL["insert_generation"],
                {
                    **place,
                    "number": number,
                    "version": version,
                    "fingerprint": fingerprint,
                    "digest": made.digest,
                    "shape": encode_json(list(tables)),
                    "skipped": encode_json(list(skipped)),
                },
            )
            for table in tables:
                for statement in _definition(table_of(self.book_id, made, table.name), table):
                    connection.execute(statement)
        return made

    def advance(
        self,
        before: Generation,
        after: Generation,
        tables: Sequence[Table],
        changes: Changes,
        parked: Sequence[Parked],
    ) -> bool:
        self._check_open()
        place = self._place(before)
        with self.file.writing() as connection:
            if self._current(connection, before) != before:
                return False
            for table in tables:
                if table.name in changes:
                    _write(
                        connection,
                        table_of(self.book_id, before, table.name),
                        before,
                        table,
                        changes[table.name],
                    )
            for one in parked:
                connection.execute(
                    _SQL["park"],
                    {
                        **place,
                        "stream": one.stream,
                        "position": one.position,
                        "topic": one.topic,
                        "error": one.error,
                        "parked_at": iso_text(one.parked_at),
                    },
                )
            connection.execute(
                _SQL["move"],
                {
                    **place,
                    "position": after.position,
                    "leaf_hash": after.leaf_hash,
                    "digest": after.digest,
                },
            )
        return True

    def claim(self, generation: Generation, owner: str, lease_ms: int) -> int | None:
        return self._claimed("claim", self._lease(generation, owner, lease_ms))

    def claim_build(
        self, generation: Generation, owner: str, lease_ms: int, at_once: int
    ) -> int | None:
        lease = self._lease(generation, owner, lease_ms)
        return self._claimed("claim_build", {**lease, "at_once": at_once})

    def _lease(self, generation: Generation, owner: str, lease_ms: int) -> dict[str, object]:
        now = self._clock()
        return {
            **self._place(generation),
            "owner": owner,
            "now": iso_text(now),
            "until": iso_text(now + timedelta(milliseconds=lease_ms)),
        }

    def _claimed(self, name: str, parameters: Mapping[str, object]) -> int | None:
        self._check_open()
        with self.file.writing() as connection:
            row = connection.execute(_SQL[name], parameters).fetchone()
        return None if row is None else int(row[0])

    def holds(self) -> Sequence[Hold]:
        return [
            Hold(
                model=model,
                number=number,
                since=datetime.fromisoformat(since),
                until=datetime.fromisoformat(until),
            )
            for model, number, since, until in self._read(
                "holds", {"book_id": self.book_id, "now": iso_text(self._clock())}
            )
        ]

    def release(self, generation: Generation, owner: str) -> None:
        self._check_open()
        with self.file.writing() as connection:
            connection.execute(_SQL["release"], {**self._place(generation), "owner": owner})

    def fetch(self, generation: Generation, table: Table, keys: Sequence[Key]) -> Mapping[Key, Row]:
        name = table_of(self.book_id, generation, table.name)
        condition = " AND ".join([f"{column} = ?" for column in _key_columns(table)])
        query = f"SELECT {_columns(table)} FROM {name} WHERE {condition}"  # noqa: S608  # checked
        found: dict[Key, Row] = {}
        self._check_open()
        with self.file.reading() as connection:
            for key in keys:
                values = _flat(table.columns[: table.key_count], key)
                row = connection.execute(query, values).fetchone()
                if row is not None:
                    found[key] = _row(table, row)
        return found

    def page(
        self, generation: Generation, table: Table, after: Key | None, limit: int
    ) -> Sequence[Row]:
        return self.find(generation, table, {}, after, limit)

    def find(
        self,
        generation: Generation,
        table: Table,
        where: Mapping[str, Value],
        after: Key | None,
        limit: int,
    ) -> Sequence[Row]:
        name = table_of(self.book_id, generation, table.name)
        keys = ", ".join(_key_columns(table))
        asked = columns_of(table, where)
        values = _flat(asked, tuple(where.values()))
        # IS, not =: None finds the empty ones.
        conditions = [f"{one} IS ?" for column in asked for one in _names(column)]
        if after is not None:
            key = _flat(table.columns[: table.key_count], after)
            conditions.append(f"({keys}) > ({', '.join('?' * len(key))})")
            values += key
        condition = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        query = (
            f"SELECT {_columns(table)} FROM {name} {condition} "  # noqa: S608  # names are checked
            f"ORDER BY {keys} LIMIT ?"
        )
        self._check_open()
        with self.file.reading() as connection:
            return [_row(table, row) for row in connection.execute(query, [*values, limit])]

    def promote(
        self, generation: Generation, tables: Sequence[Table], *, over_diverged: bool = False
    ) -> bool:
        self._check_open()
        place = self._place(generation)
        with self.file.writing() as connection:
            if self._current(connection, generation) != generation:
                return False
            live = connection.execute(_SQL["live_position"], place).fetchone()
            if not over_diverged and live is not None and live[1] > generation.position:
                return False
            connection.execute(_SQL["demote"], place)
            connection.execute(_SQL["set_state"], {**place, "state": GenerationState.LIVE.value})
            _make_views(connection, generation.model, tables)
        return True

    def refuse(self, generation: Generation) -> None:
        self._check_open()
        with self.file.writing() as connection:
            connection.execute(_SQL["refuse"], self._place(generation))

    def drop(self, generation: Generation) -> None:
        self._check_open()
        place = self._place(generation)
        with self.file.writing() as connection:
            shape = connection.execute(_SQL["shape"], place).fetchone()
            if shape is None:
                return
            connection.execute(_SQL["unpark_all"], place)
            if connection.execute(_SQL["delete_generation"], place).rowcount == 0:
                raise InvalidInput(
                    f"generation {generation.number} of read model {generation.model} is live",
                    model=generation.model,
                    generation=generation.number,
                )
            for table in _shape.decode(shape[0]):
                name = table_of(self.book_id, generation, table.name)
                connection.execute(f"DROP TABLE IF EXISTS {name}")

    def parked(self, generation: Generation) -> Sequence[Parked]:
        return [
            Parked(
                model=generation.model,
                number=generation.number,
                stream=stream,
                position=position,
                topic=topic,
                error=error,
                parked_at=datetime.fromisoformat(parked_at),
            )
            for stream, position, topic, error, parked_at in self._read(
                "parked", self._place(generation)
            )
        ]

    def close(self) -> None:
        self._is_closed = True

    def _place(self, generation: Generation) -> dict[str, object]:
        return {
            "book_id": self.book_id,
            "model": generation.model,
            "number": generation.number,
        }

    def _current(self, connection: sqlite3.Connection, wanted: Generation) -> Generation | None:
        row = connection.execute(_SQL["generation"], self._place(wanted)).fetchone()
        return None if row is None else _generation(row)

    def _read(self, name: str, parameters: Mapping[str, object]) -> list[Any]:
        self._check_open()
        with self.file.reading() as connection:
            return connection.execute(_SQL[name], parameters).fetchall()

    def _check_open(self) -> None:
        if self._is_closed:
            raise Unavailable("the read models are closed")


def _generation(row: tuple[Any, ...]) -> Generation:
    model, number, version, fingerprint, state, position, leaf_hash, digest, skipped = row
    return Generation(
        model=model,
        number=number,
        version=version,
        fingerprint=fingerprint,
        state=GenerationState(state),
        position=position,
        leaf_hash=leaf_hash,
        digest=digest,
        skipped=_positions.decode(skipped),
    )


def _names(column: Column) -> tuple[str, ...]:
    if column.kind is Kind.AMOUNT:
        return tuple([f"{column.name}_{limb}" for limb in _LIMBS])
    return (column.name,)


def _columns(table: Table) -> str:
    return ", ".join([name for column in table.columns for name in _names(column)])


def _key_columns(table: Table) -> list[str]:
    return [name for column in table.columns[: table.key_count] for name in _names(column)]


def _definition(name: str, table: Table) -> Iterator[str]:
    columns = [
        f"{one} {_TYPES.get(column.kind, 'INTEGER')}{'' if column.is_optional else ' NOT NULL'}"
        for column in table.columns
        for one in _names(column)
    ]
    key = ", ".join(_key_columns(table))
    yield (f"CREATE TABLE {name} ({', '.join(columns)}, PRIMARY KEY ({key})) STRICT, WITHOUT ROWID")
    of_name = {column.name: column for column in table.columns}
    for number, index in enumerate(table.indexes, 1):
        indexed = ", ".join([one for column in index for one in _names(of_name[column])])
        yield f"CREATE INDEX {name}_{number} ON {name} ({indexed})"


def _flat(columns: Sequence[Column], values: Sequence[Value]) -> list[object]:
    """Return values as SQLite stores them."""
    flat: list[object] = []
    for column, value in zip(columns, values, strict=True):
        if column.kind is Kind.AMOUNT:
            flat += (None, None, None) if value is None else _limbs(cast(int, value))
        elif isinstance(value, datetime):
            flat.append(iso_text(value))
        else:
            flat.append(value)
    return flat


def joined(high: int, mid: int, low: int) -> int:
    """Return the amount whose limbs these are, or sums of limbs."""
    return (high * _LIMB + mid) * _LIMB + low


def _limbs(minor: int) -> tuple[int, int, int]:
    sign = -1 if minor < 0 else 1
    upper, low = divmod(abs(minor), _LIMB)
    high, mid = divmod(upper, _LIMB)
    return sign * high, sign * mid, sign * low


def _row(table: Table, stored: tuple[Any, ...]) -> Row:
    values: list[Value] = []
    at = 0
    for column in table.columns:
        value = stored[at]
        at += 1
        match column.kind:
            case Kind.AMOUNT:
                if value is not None:
                    value = joined(value, stored[at], stored[at + 1])
                at += 2
            case Kind.INSTANT if value is not None:
                value = datetime.fromisoformat(value)
            case Kind.BOOLEAN if value is not None:
                value = bool(value)
            case _:
                pass
        values.append(value)
    return tuple(values)


def _write(
    connection: sqlite3.Connection,
    name: str,
    generation: Generation,
    table: Table,
    changes: TableChanges,
) -> None:
    width = len(_columns(table).split(", "))
    keys = " AND ".join([f"{column} = ?" for column in _key_columns(table)])
    try:
        if changes.inserted:
            connection.executemany(
                f"INSERT INTO {name} VALUES ({', '.join('?' * width)})",  # noqa: S608  # checked
                [_flat(table.columns, row) for row in changes.inserted],
            )
    except sqlite3.IntegrityError as error:
        raise rows_differ(generation, table) from error
    if changes.updated:
        count = table.key_count
        values = [one for column in table.columns[count:] for one in _names(column)]
        assigned = ", ".join([f"{one} = ?" for one in values])
        cursor = connection.executemany(
            f"UPDATE {name} SET {assigned} WHERE {keys}",  # noqa: S608  # names are checked
            [
                _flat(table.columns[count:], row[count:])
                + _flat(table.columns[:count], row[:count])
                for row in changes.updated
            ],
        )
        if cursor.rowcount != len(changes.updated):
            raise rows_differ(generation, table)
    if changes.deleted:
        cursor = connection.executemany(
            f"DELETE FROM {name} WHERE {keys}",  # noqa: S608  # names are checked
            [_flat(table.columns[: table.key_count], key) for key in changes.deleted],
        )
        if cursor.rowcount != len(changes.deleted):
            raise rows_differ(generation, table)


def _make_views(connection: sqlite3.Connection, model: str, tables: Sequence[Table]) -> None:
    """Make the views of a model's tables anew over the live generations of every book."""
    lives = connection.execute(_SQL["live_everywhere"], {"model": model}).fetchall()
    for table in tables:
        selects: list[str] = []
        for book, book_id, number, version, fingerprint, shape in lives:
            theirs = {one.name: one for one in _shape.decode(shape)}.get(table.name)
            if theirs is None:
                continue
            generation = Generation(
                model=model,
                number=number,
                version=version,
                fingerprint=fingerprint,
                state=GenerationState.LIVE,
            )
            known = {column.name: column.kind for column in theirs.columns}
            shown = ", ".join(
                [
                    f"{_shown(column)} AS {column.name}"
                    if known.get(column.name) is column.kind
                    else f"NULL AS {column.name}"
                    for column in table.columns
                ]
            )
            selects.append(
                f"SELECT {_text(book)} AS book, {shown} "  # noqa: S608  # names are checked
                f"FROM {table_of(book_id, generation, table.name)}"
            )
        connection.execute(f"DROP VIEW IF EXISTS orderledger_{table.name}")
        connection.execute(f"CREATE VIEW orderledger_{table.name} AS {_union(selects)}")


def _union(selects: Sequence[str]) -> str:
    """Return all of the selects as one, in groups of groups where SQLite takes no more at once."""
    while len(selects) > UNITED_MAX:
        groups = [
            " UNION ALL ".join(selects[first : first + UNITED_MAX])
            for first in range(0, len(selects), UNITED_MAX)
        ]
        selects = [f"SELECT * FROM ({group})" for group in groups]  # noqa: S608  # made above
    return " UNION ALL ".join(selects)


def _shown(column: Column) -> str:
    if column.kind is not Kind.AMOUNT:
        return column.name
    high, mid, low = _names(column)
    return (
        f"CASE WHEN {high} = 0 AND abs({mid}) < 900000000 THEN {mid} * 10000000000 + {low} "
        f"WHEN {high} IS NULL THEN NULL ELSE "
        f"CASE WHEN min({high}, {mid}, {low}) < 0 THEN '-' ELSE '' END || "
        f"ltrim(printf('%d%010d%010d', abs({high}), abs({mid}), abs({low})), '0') END"
    )


def _text(value: str) -> str:
    if "\x00" in value:
        raise IntegrityViolation(f"the book name {value!r} has a NUL character", name=value)
    return "'" + value.replace("'", "''") + "'"
