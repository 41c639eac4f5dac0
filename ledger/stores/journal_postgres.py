"""
Journal lines in PostgreSQL, beside the events they are made from.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final, cast

from orderledger.ledger.errors import NotFound
from orderledger.ledger.journal import Layer
from orderledger.ledger.read_ports import (
    AccountTotal,
    AccountUse,
    Checkpoint,
    JournalLine,
    LineSelection,
)

from .named_sql import statements
from .postgres_arrays import bigint_array, text_array, timestamp_array
from .postgres_connections import Connections, Row

_LAST_ACCOUNT: Final = "~"
"""Sorts after every account name in the "C" collation."""
_LAYERS: Final = {layer.value: layer for layer in Layer}


class PostgresJournal:
    """The journal lines of one book in PostgreSQL; see ``JournalStore`` for the contract."""

    def __init__(self, url: str, book: str = "main", *, connections_max: int = 8) -> None:
        self._sql: Final = statements("postgres", "journal_queries")
        self._connections: Final = Connections(url, max_size=connections_max)
        self._book_id: object = None
        try:
            rows = self._rows("find_book", {"book": book})
            if not rows:
                raise NotFound(f"the database has no book {book}", book=book)
        except BaseException:
            self._connections.close()
            raise
        self._book_id = rows[0][0]

    def checkpoint(self, projection: str) -> Checkpoint | None:
        """Return the checkpoint of a projection, or None before its first batch."""
        rows = self._rows("checkpoint", {"projection": projection})
        if not rows:
            return None
        version, position, leaf = cast(tuple[int, int, bytes], rows[0])
        return Checkpoint(projection, version, position, bytes(leaf))

    def advance(
        self, before: Checkpoint | None, after: Checkpoint, rows: Sequence[JournalLine]
    ) -> bool:
        """Write lines and checkpoint in one transaction; see ``JournalStore.advance``."""
        parameters: dict[str, object] = {
            "book_id": self._book_id,
            "projection": after.projection,
            "version": after.version,
            "position": after.position,
            "leaf_hash": after.leaf_hash,
        }
        name = "first_checkpoint"
        if before is not None:
            name = "move_checkpoint"
            parameters["before_version"] = before.version
            parameters["before_position"] = before.position
            parameters["before_leaf_hash"] = before.leaf_hash
        with self._connections.session() as session, session.connection.transaction():
            cursor = session.connection.cursor()
            cursor.execute(self._sql["patience"].encode())
            # First, so that of several processes one copies and the others wait.
            if cursor.execute(self._sql[name].encode(), parameters).rowcount == 0:
                return False
            if rows:
                # One array a column: the driver takes five times as long over COPY, row by row.
                session.cursor.execute(
                    self._sql["insert_lines"].encode(),
                    (
                        self._book_id,
                        bigint_array([line.position for line in rows]),
                        bigint_array([line.line_no for line in rows]),
                        text_array([line.account for line in rows]),
                        text_array([line.currency for line in rows]),
                        text_array([line.layer.value for line in rows]),
                        text_array([str(line.minor) for line in rows]),
                        timestamp_array([line.effective_at for line in rows]),
                        timestamp_array([line.recorded_at for line in rows]),
                    ),
                )
        return True

    def clear(self, projection: str) -> None:
        """Delete every line and the checkpoint, in one transaction."""
        parameters = {"book_id": self._book_id, "projection": projection}
        with self._connections.session() as session, session.connection.transaction():
            cursor = session.connection.cursor()
            cursor.execute(self._sql["patience"].encode())
            cursor.execute(self._sql["clear_checkpoint"].encode(), parameters)
            cursor.execute(self._sql["clear_lines"].encode(), {"book_id": self._book_id})

    def totals(self, selection: LineSelection) -> Sequence[AccountTotal]:
        """Return the sums per (account, currency, layer); see ``JournalStore.totals``."""
        rows = cast(
            Sequence[tuple[str, str, str, Decimal]], self._rows("totals", _selected(selection))
        )
        return [
            AccountTotal(account, currency, _LAYERS[layer], int(minor))
            for account, currency, layer, minor in rows
        ]

    def uses(self, selection: LineSelection) -> Sequence[AccountUse]:
        """Return one row per account with selected lines, by name."""
        rows = cast(
            Sequence[tuple[str, int, datetime, datetime, int, int]],
            self._rows("uses", _selected(selection)),
        )
        return [AccountUse(*row) for row in rows]

    def lines(
        self, selection: LineSelection, after: tuple[int, int], limit: int
    ) -> Sequence[JournalLine]:
        """Return selected lines in log order; see ``JournalStore.lines``."""
        page = {"after_position": after[0], "after_line_no": after[1], "limit": limit}
        return [_line(row) for row in self._rows("lines", {**_selected(selection), **page})]

    def lines_by_effect(
        self, selection: LineSelection, after: tuple[datetime, int, int] | None, limit: int
    ) -> Sequence[JournalLine]:
        """Return selected lines by effective_at; see ``JournalStore.lines_by_effect``."""
        instant, position, line_no = after or (None, 0, 0)
        page = {
            "after_effective_at": instant,
            "after_position": position,
            "after_line_no": line_no,
            "limit": limit,
        }
        rows = self._rows("lines_by_effect", {**_selected(selection), **page})
        return [_line(row) for row in rows]

    def close(self) -> None:
        """Release connections. Later calls raise Unavailable."""
        self._connections.close()

    def _rows(self, name: str, parameters: Mapping[str, object]) -> list[Row]:
        with self._connections.session() as session:
            session.cursor.execute(
                self._sql[name].encode(), {**parameters, "book_id": self._book_id}
            )
            return session.cursor.fetchall()


def _selected(selection: LineSelection) -> dict[str, object]:
    return {
        "until": selection.until,
        "first": selection.account or selection.below,
        "last": selection.account or (f"{selection.below};" if selection.below else _LAST_ACCOUNT),
        "below": selection.below,
        "currency": selection.currency,
        "layer": selection.layer.value if selection.layer is not None else "",
        "effective_from": selection.effective_from,
        "effective_to": selection.effective_to,
    }


def _line(row: Row) -> JournalLine:
    position, line_no, account, currency, layer, minor, effective_at, recorded_at = cast(
        tuple[int, int, str, str, str, Decimal, datetime, datetime], row
    )
    return JournalLine(
        position,
        line_no,
        account,
        currency,
        _LAYERS[layer],
        int(minor),
        effective_at,
        recorded_at,
    )
