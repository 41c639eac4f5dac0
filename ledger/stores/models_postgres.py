"""
The read models of one book in PostgreSQL.

A batch's rows go to the server as one binary array per column: one statement inserts all of a
table's new rows, one updates those that were there, one deletes.
"""

import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, LiteralString, cast

import psycopg
from psycopg import sql

from ..codec import encode_json
from ..errors import InvalidInput, NotFound, Unavailable
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
from ..ports import LockTimeout
from .model_tables import check_tables, columns_of, physical, rows_differ
from .named_sql import statements
from .postgres_arrays import BIGINT, BOOLEAN, TEXT, TIMESTAMP, Element
from .postgres_connections import Connections, Session

SCHEMA: Final = "orderledger_read"
PROMOTE_TRIES: Final = 100
"""Tries to replace a view that statements are reading, a tenth of a second each."""
PROMOTE_PAUSE_S: Final = 0.05


_INT64: Final = range(-(2**63), 2**63)
_CASTS: Final[Mapping[Kind, LiteralString]] = {
    Kind.TEXT: "text[]",
    Kind.AMOUNT: "numeric[]",
    Kind.INTEGER: "bigint[]",
    Kind.INSTANT: "timestamptz[]",
    Kind.BOOLEAN: "boolean[]",
}

_ELEMENTS: Final[Mapping[Kind, Element]] = {
    Kind.TEXT: TEXT,
    Kind.INTEGER: BIGINT,
    Kind.INSTANT: TIMESTAMP,
    Kind.BOOLEAN: BOOLEAN,
}


def _array(kind: Kind, values: Sequence[Any]) -> bytes:
    """
    Return a column's values as one array.

    Amounts are bigints where all of them are, else decimal text: the server reads either into a
    numeric, exactly.
    """
    if kind is Kind.AMOUNT:
        if all(value is None or value in _INT64 for value in values):
            kind = Kind.INTEGER
        else:
            kind = Kind.TEXT
            values = [None if value is None else str(value) for value in values]
    element = _ELEMENTS[kind]
    if None not in values:
        return element.array(values)
    encode = element.encode
    return element.of_bytes([None if value is None else encode(value) for value in values])


class PostgresModels:
    """Read models in PostgreSQL; see ``ModelStore`` for the contract."""

    def __init__(self, url: str, book: str = "main", *, connections_max: int = 8) -> None:
        self._sql: Final = statements("postgres", "model_queries")
        self.connections: Final = Connections(url, max_size=connections_max)
        self.book_id = 0
        try:
            rows = self._rows("find_book", {"book": book})
            if not rows:
                raise NotFound(f"the database has no book {book}", book=book)
        except BaseException:
            self.connections.close()
            raise
        self.book_id = cast(int, rows[0][0])

    @property
    def is_at_hand(self) -> bool:
        return False

    def generations(self, model: str | None = None) -> Sequence[Generation]:
        return [
            Generation(
                model=row[0],
                number=row[1],
                version=row[2],
                fingerprint=row[3],
                state=GenerationState(row[4]),
                position=row[5],
                leaf_hash=bytes(row[6]),
                digest=bytes(row[7]),
                skipped=tuple(row[8]),
            )
            for row in self._rows("generations", {"model": model})
        ]

    def create(
        self,
        model: str,
        version: int,
        fingerprint: str,
        tables: Sequence[Table],
        skipped: Sequence[int] = (),
    ) -> Generation:
        check_tables(model, tables)
        parameters = {
            "model": model,
            "version": version,
            "fingerprint": fingerprint,
            "shape": encode_json(list(tables)),
            "book_id": self.book_id,
        }
        with self.connections.session() as session, session.connection.transaction():
            cursor = session.cursor
            ((made,),) = cursor.execute(self._sql["create"].encode(), parameters).fetchall()
            number = cast(int, made)
            if skipped:
                left_out = {**parameters, "number": number, "skipped": list(skipped)}
                cursor.execute(self._sql["leave_out"].encode(), left_out)
        return Generation(
            model=model,
            number=number,
            version=version,
            fingerprint=fingerprint,
            state=GenerationState.BUILDING,
            skipped=tuple(skipped),
        )

    def advance(
        self,
        before: Generation,
        after: Generation,
        tables: Sequence[Table],
        changes: Changes,
        parked: Sequence[Parked],
    ) -> bool:
        checkpoint = {
            **self._place(before),
            "state": before.state.value,
            "version": before.version,
            "fingerprint": before.fingerprint,
            "position": after.position,
            "leaf_hash": after.leaf_hash,
            "digest": after.digest,
            "before_position": before.position,
            "before_leaf_hash": before.leaf_hash,
            "before_digest": before.digest,
        }
        with self.connections.session() as session, session.connection.transaction():
            cursor = session.cursor
            cursor.execute(self._sql["patience"].encode())
            # First, so that of several processes one writes and the others wait.
            if cursor.execute(self._sql["move"].encode(), checkpoint).rowcount == 0:
                return False
            for table in tables:
                if table.name in changes:
                    self._write(session, before, table, changes[table.name])
            for one in parked:
                cursor.execute(
                    self._sql["park"].encode(),
                    {
                        **self._place(before),
                        "stream": one.stream,
                        "position": one.position,
                        "topic": one.topic,
                        "error": one.error.replace("\x00", "\\x00"),
                        "parked_at": one.parked_at,
                    },
                )
        return True

    def _write(
        self, session: Session, generation: Generation, table: Table, changes: TableChanges
    ) -> None:
        name = self._table(generation, table)
        columns, keys = table.columns, table.columns[: table.key_count]
        cursor = session.cursor
        if changes.inserted:
            statement = sql.SQL("INSERT INTO {} SELECT {}").format(name, _unnested(columns))
            try:
                cursor.execute(statement, _arrays(columns, changes.inserted))
            except psycopg.errors.UniqueViolation as error:
                raise rows_differ(generation, table) from error
        if changes.updated:
            statement = sql.SQL("UPDATE {} AS t SET {} FROM (SELECT {}) AS n ({}) WHERE {}").format(
                name,
                sql.SQL(", ").join(
                    [
                        sql.SQL("{0} = n.{0}").format(sql.Identifier(column.name))
                        for column in columns[table.key_count :]
                    ]
                ),
                _unnested(columns),
                _listed(columns),
                _same(keys),
            )
            if cursor.execute(statement, _arrays(columns, changes.updated)).rowcount != len(
                changes.updated
            ):
                raise rows_differ(generation, table)
        if changes.deleted:
            statement = sql.SQL("DELETE FROM {} AS t USING (SELECT {}) AS n ({}) WHERE {}").format(
                name, _unnested(keys), _listed(keys), _same(keys)
            )
            if cursor.execute(statement, _arrays(keys, changes.deleted)).rowcount != len(
                changes.deleted
            ):
                raise rows_differ(generation, table)

    def claim(self, generation: Generation, owner: str, lease_ms: int) -> int | None:
        parameters = {**self._place(generation), "owner": owner, "lease_ms": lease_ms}
        rows = self._rows("claim", parameters)
        return cast(int, rows[0][0]) if rows else None

    def claim_build(
        self, generation: Generation, owner: str, lease_ms: int, at_once: int
    ) -> int | None:
        parameters = {
            "book_id": self.book_id,
            **self._place(generation),
            "owner": owner,
            "lease_ms": lease_ms,
            "at_once": at_once,
        }
        with self.connections.session() as session, session.connection.transaction():
            session.cursor.execute(self._sql["one_claim"].encode(), parameters)
            row = session.cursor.execute(self._sql["claim_build"].encode(), parameters).fetchone()
        return None if row is None else cast(int, row[0])

    def holds(self) -> Sequence[Hold]:
        return [
            Hold(model=model, number=number, since=since, until=until)
            for model, number, since, until in self._rows("holds", {})
        ]

    def release(self, generation: Generation, owner: str) -> None:
        with self.connections.session() as session:
            session.cursor.execute(
                self._sql["release"].encode(),
                {"book_id": self.book_id, **self._place(generation), "owner": owner},
            )

    def fetch(self, generation: Generation, table: Table, keys: Sequence[Key]) -> Mapping[Key, Row]:
        key_columns = table.columns[: table.key_count]
        # A scan of the keys that looks each up in the index, whatever the planner thinks of them.
        statement = sql.SQL(
            "SELECT r.* FROM (SELECT {}) AS n ({}) CROSS JOIN LATERAL "
            "(SELECT {} FROM {} AS t WHERE {} LIMIT 1) AS r"
        ).format(
            _unnested(key_columns),
            _listed(key_columns),
            _listed(table.columns),
            self._table(generation, table),
            _same(key_columns),
        )
        with self.connections.session() as session:
            rows = session.cursor.execute(statement, _arrays(key_columns, keys)).fetchall()
        found = [_row(table, row) for row in rows]
        return {table.key_of(row): row for row in found}

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
        key_columns = table.columns[: table.key_count]
        conditions: list[sql.Composable] = []
        values: list[Value] = []
        for column, value in zip(columns_of(table, where), where.values(), strict=True):
            if value is None:
                conditions.append(sql.SQL("{} IS NULL").format(sql.Identifier(column.name)))
            else:
                conditions.append(sql.SQL("{} = %s").format(sql.Identifier(column.name)))
                values.append(value)
        if after is not None:
            places = sql.SQL(", ").join([sql.SQL("%s")] * len(after))
            conditions.append(sql.SQL("({}) > ({})").format(_listed(key_columns), places))
            values += after
        condition: sql.Composable = sql.SQL("")
        if conditions:
            condition = sql.SQL("WHERE {}").format(sql.SQL(" AND ").join(conditions))
        statement = sql.SQL("SELECT {} FROM {} {} ORDER BY {} LIMIT %s").format(
            _listed(table.columns),
            self._table(generation, table),
            condition,
            _listed(key_columns),
        )
        with self.connections.session() as session:
            rows = session.cursor.execute(statement, [*values, limit]).fetchall()
        return [_row(table, row) for row in rows]

    def promote(
        self, generation: Generation, tables: Sequence[Table], *, over_diverged: bool = False
    ) -> bool:
        parameters = {
            **self._place(generation),
            "position": generation.position,
            "digest": generation.digest,
            "over_diverged": over_diverged,
        }
        for _ in range(PROMOTE_TRIES):
            try:
                ((promoted,),) = self._rows("promote", parameters)
            except LockTimeout:
                # A long statement reads the view; who comes meanwhile must not wait behind us.
                time.sleep(PROMOTE_PAUSE_S)
                continue
            return bool(promoted)
        raise Unavailable(
            f"the views of read model {generation.model} are being read without a pause; try again",
            model=generation.model,
        )

    def refuse(self, generation: Generation) -> None:
        state = {"state": GenerationState.REFUSED.value}
        with self.connections.session() as session:
            session.cursor.execute(
                self._sql["set_state"].encode(), {**self._place(generation), **state}
            )

    def drop(self, generation: Generation) -> None:
        ((dropped,),) = self._rows("drop", self._place(generation))
        if dropped:
            return
        for one in self.generations(generation.model):
            if one.number == generation.number:
                raise InvalidInput(
                    f"generation {generation.number} of read model {generation.model} is live",
                    model=generation.model,
                    generation=generation.number,
                )

    def parked(self, generation: Generation) -> Sequence[Parked]:
        return [
            Parked(
                model=generation.model,
                number=generation.number,
                stream=stream,
                position=position,
                topic=topic,
                error=error,
                parked_at=parked_at,
            )
            for stream, position, topic, error, parked_at in self._rows(
                "parked", self._place(generation)
            )
        ]

    def close(self) -> None:
        self.connections.close()

    def _place(self, generation: Generation) -> dict[str, object]:
        return {
            "book_id": self.book_id,
            "model": generation.model,
            "number": generation.number,
        }

    def _table(self, generation: Generation, table: Table) -> sql.Identifier:
        return sql.Identifier(SCHEMA, physical(self.book_id, generation, table.name))

    def _rows(self, name: str, parameters: Mapping[str, object]) -> list[Any]:
        with self.connections.session() as session:
            cursor = session.cursor
            cursor.execute(self._sql[name].encode(), {"book_id": self.book_id, **parameters})
            return cursor.fetchall()


def _listed(columns: Sequence[Column]) -> sql.Composed:
    return sql.SQL(", ").join([sql.Identifier(column.name) for column in columns])


def _unnested(columns: Sequence[Column]) -> sql.Composed:
    return sql.SQL(", ").join([sql.SQL(f"unnest(%s::{_CASTS[column.kind]})") for column in columns])


def _same(keys: Sequence[Column]) -> sql.Composed:
    return sql.SQL(" AND ").join(
        [sql.SQL("t.{0} = n.{0}").format(sql.Identifier(column.name)) for column in keys]
    )


def _arrays(columns: Sequence[Column], rows: Sequence[Row]) -> list[bytes]:
    if not rows:
        return [_array(column.kind, ()) for column in columns]
    return [
        _array(column.kind, values)
        for column, values in zip(columns, zip(*rows, strict=True), strict=False)
    ]


def _row(table: Table, stored: Sequence[Any]) -> Row:
    return tuple([int(value) if isinstance(value, Decimal) else value for value in stored])
