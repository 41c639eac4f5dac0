"""
Questions about postings in a SQLite file.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

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

from .models_sqlite import joined, table_of
from .named_sql import statements
from .sqlite_append import iso_text
from .sqlite_files import SqliteFile

_SQL: Final = statements("sqlite", "journal_queries")
_EARLIEST: Final = iso_text(datetime.min.replace(tzinfo=UTC))
_LATEST: Final = iso_text(datetime.max.replace(tzinfo=UTC))
_LAST_ACCOUNT: Final = "~"
"""Sorts after every account name, which are ASCII without a tilde."""
_LAYERS: Final = {layer.value: layer for layer in Layer}


class SqliteJournal:
    """Questions about postings in a SQLite file; see ``read_ports.Journal`` for the contract."""

    def __init__(self, file: SqliteFile, book_id: int) -> None:
        self._file: Final = file
        self._book_id: Final = book_id

    def totals(self, generation: Generation, selection: LineSelection) -> Sequence[AccountTotal]:
        """Return the sums per (account, currency, layer); see ``Journal.totals``."""
        return [
            AccountTotal(account, currency, _LAYERS[layer], joined(high, mid, low))
            for account, currency, layer, high, mid, low in self._rows(
                "totals", generation, _selected(selection)
            )
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
        return [
            AccountSum(account, currency, joined(high, mid, low), datetime.fromisoformat(first))
            for account, currency, high, mid, low, first in self._rows(
                "sums", generation, {**_selected(selection), **page}
            )
        ]

    def uses(self, generation: Generation, selection: LineSelection) -> Sequence[AccountUse]:
        """Return one row per account with selected lines, by name."""
        return [
            AccountUse(
                account,
                count,
                datetime.fromisoformat(first),
                datetime.fromisoformat(last),
                first_position,
                last_position,
            )
            for account, count, first, last, first_position, last_position in self._rows(
                "uses", generation, _selected(selection)
            )
        ]

    def lines(
        self,
        generation: Generation,
        selection: LineSelection,
        after: tuple[int, int],
        limit: int,
    ) -> Sequence[JournalLine]:
        """Return selected lines in log order; see ``Journal.lines``."""
        page = {"after_position": after[0], "after_line_no": after[1], "limit": limit}
        name = "account_lines" if selection.account else "lines"
        return [
            _line(row) for row in self._rows(name, generation, {**_selected(selection), **page})
        ]

    def lines_by_effect(
        self,
        generation: Generation,
        selection: LineSelection,
        after: tuple[datetime, int, int] | None,
        limit: int,
    ) -> Sequence[JournalLine]:
        """Return selected lines by effective_at; see ``Journal.lines_by_effect``."""
        instant, position, line_no = after or (datetime.min.replace(tzinfo=UTC), 0, 0)
        page = {
            "after_effective_at": iso_text(instant),
            "after_position": position,
            "after_line_no": line_no,
            "limit": limit,
        }
        rows = self._rows("lines_by_effect", generation, {**_selected(selection), **page})
        return [_line(row) for row in rows]

    def _rows(self, name: str, generation: Generation, parameters: dict[str, object]) -> list[Any]:
        table = table_of(self._book_id, generation, POSTINGS)
        statement = _SQL[name].format(postings=table)
        with self._file.reading() as connection:
            return connection.execute(statement, parameters).fetchall()


def _selected(selection: LineSelection) -> dict[str, object]:
    low, high = selection.effective_from, selection.effective_to
    return {
        "until": selection.until,
        "first": selection.account or selection.below,
        "last": selection.account or (f"{selection.below};" if selection.below else _LAST_ACCOUNT),
        "below": selection.below,
        "currency": selection.currency,
        "layer": selection.layer.value if selection.layer is not None else "",
        "effective_from": _EARLIEST if low is None else iso_text(low),
        "effective_to": _LATEST if high is None else iso_text(high),
    }


def _line(row: tuple[Any, ...]) -> JournalLine:
    position, line_no, account, currency, layer, high, mid, low, effective_at, recorded_at = row
    return JournalLine(
        position,
        line_no,
        account,
        currency,
        _LAYERS[layer],
        joined(high, mid, low),
        datetime.fromisoformat(effective_at),
        datetime.fromisoformat(recorded_at),
    )
