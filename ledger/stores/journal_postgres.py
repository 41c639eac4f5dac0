"""
Questions about postings in PostgreSQL.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final, cast

from orderledger.ledger.journal import Layer
from orderledger.ledger.model_ports import Generation
from orderledger.ledger.read_ports import (
    POSTINGS,
    AccountSum,
    AccountTotal,
    AccountUse,
    JournalLine,
    LineSelection,
)

from .model_tables import physical
from .models_postgres import SCHEMA
from .named_sql import statements
from .postgres_connections import Connections, Row

_SQL: Final = statements("postgres", "journal_queries")

_LAST_ACCOUNT: Final = "~"
"""Sorts after every account name in the "C" collation."""
_LAYERS: Final = {layer.value: layer for layer in Layer}


class PostgresJournal:
    """Questions about postings in PostgreSQL; see ``read_ports.Journal`` for the contract."""

    def __init__(self, connections: Connections, book_id: int) -> None:
        self._connections: Final = connections
        self._book_id: Final = book_id

    def totals(self, generation: Generation, selection: LineSelection) -> Sequence[AccountTotal]:
        """Return the sums per (account, currency, layer); see ``Journal.totals``."""
        rows = cast(
            Sequence[tuple[str, str, str, Decimal]],
            self._rows("totals", generation, _selected(selection)),
        )
        return [
            AccountTotal(account, currency, _LAYERS[layer], int(minor))
            for account, currency, layer, minor in rows
        ]

    def sums(
        self,
        generation: Generation,
        selection: LineSelection,
        after: tuple[str, str],
        limit: int,
    ) -> Sequence[AccountSum]:
        """Return sums per (account, currency) in that order; see ``Journal.sums``."""
        page = {"after_account": after[0], "after_currency": after[1], "limit": limit}
        rows = cast(
            Sequence[tuple[str, str, Decimal, datetime]],
            self._rows("sums", generation, {**_selected(selection), **page}),
        )
        return [
            AccountSum(account, currency, int(minor), first)
            for account, currency, minor, first in rows
        ]

    def uses(self, generation: Generation, selection: LineSelection) -> Sequence[AccountUse]:
        """Return one row per account with selected lines, by name."""
        rows = cast(
            Sequence[tuple[str, int, datetime, datetime, int, int]],
            self._rows("uses", generation, _selected(selection)),
        )
        return [AccountUse(*row) for row in rows]

    def lines(
        self,
        generation: Generation,
        selection: LineSelection,
        after: tuple[int, int],
        limit: int,
    ) -> Sequence[JournalLine]:
        """Return selected lines in log order; see ``Journal.lines``."""
        page = {"after_position": after[0], "after_line_no": after[1], "limit": limit}
        return [
            _line(row) for row in self._rows("lines", generation, {**_selected(selection), **page})
        ]

    def lines_by_effect(
        self,
        generation: Generation,
        selection: LineSelection,
        after: tuple[datetime, int, int] | None,
        limit: int,
    ) -> Sequence[JournalLine]:
        """Return selected lines by effective_at; see ``Journal.lines_by_effect``."""
        instant, position, line_no = after or (None, 0, 0)
        page = {
            "after_effective_at": instant,
            "after_position": position,
            "after_line_no": line_no,
            "limit": limit,
        }
        rows = self._rows("lines_by_effect", generation, {**_selected(selection), **page})
        return [_line(row) for row in rows]

    def _rows(
        self, name: str, generation: Generation, parameters: Mapping[str, object]
    ) -> list[Row]:
        # The name is checked where it is made: lower case letters, digits and underlines.
        table = f"{SCHEMA}.{physical(self._book_id, generation, POSTINGS)}"
        statement = _SQL[name].format(postings=table)
        with self._connections.session() as session:
            session.cursor.execute(statement.encode(), parameters)
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
