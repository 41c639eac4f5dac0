"""
Journal lines in a SQLite file, beside the events they are made from.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from orderledger.ledger.errors import Unavailable
from orderledger.ledger.journal import Layer
from orderledger.ledger.read_ports import (
    AccountTotal,
    AccountUse,
    Checkpoint,
    JournalLine,
    LineSelection,
)

from .named_sql import statements
from .sqlite_append import iso_text
from .sqlite_files import SqliteFile

_SQL: Final = statements("sqlite", "journal_queries")
_LIMB: Final = 10**10
"""Ten digits a limb; see ``0002_balances.pre.sql``."""
_EARLIEST: Final = iso_text(datetime.min.replace(tzinfo=UTC))
_LATEST: Final = iso_text(datetime.max.replace(tzinfo=UTC))
_LAST_ACCOUNT: Final = "~"
"""Sorts after every account name, which are ASCII without a tilde."""
_LAYERS: Final = {layer.value: layer for layer in Layer}


class SqliteJournal:
    """
    The journal lines of one book in one SQLite file; see ``JournalStore`` for the contract.

    It works on the connections of the store whose events these are.
    """

    def __init__(self, file: SqliteFile, book_id: int) -> None:
        self._file: Final = file
        self._book_id: Final = book_id
        self._is_closed = False

    def checkpoint(self, projection: str) -> Checkpoint | None:
        """Return the checkpoint of a projection, or None before its first batch."""
        rows = self._rows("checkpoint", {"projection": projection})
        return Checkpoint(projection, *rows[0]) if rows else None

    def advance(
        self, before: Checkpoint | None, after: Checkpoint, rows: Sequence[JournalLine]
    ) -> bool:
        """Write lines and checkpoint in one transaction; see ``JournalStore.advance``."""
        self._check_open()
        # Made before the write lock is taken: an appender waits only for the inserts.
        values = self._values(rows)
        name = {"book_id": self._book_id, "projection": after.projection}
        with self._file.writing() as connection:
            found = connection.execute(_SQL["checkpoint"], name).fetchone()
            if found != (
                None if before is None else (before.version, before.position, before.leaf_hash)
            ):
                return False
            connection.executemany(_SQL["insert_line"], values)
            connection.execute(
                _SQL["set_checkpoint"],
                {
                    **name,
                    "version": after.version,
                    "position": after.position,
                    "leaf_hash": after.leaf_hash,
                },
            )
        return True

    def clear(self, projection: str) -> None:
        """Delete every line and the checkpoint, in one transaction."""
        self._check_open()
        name = {"book_id": self._book_id, "projection": projection}
        with self._file.writing() as connection:
            connection.execute(_SQL["clear_lines"], {"book_id": self._book_id})
            connection.execute(_SQL["clear_checkpoint"], name)

    def totals(self, selection: LineSelection) -> Sequence[AccountTotal]:
        """Return the sums per (account, currency, layer); see ``JournalStore.totals``."""
        return [
            AccountTotal(account, currency, _LAYERS[layer], _joined(high, mid, low))
            for account, currency, layer, high, mid, low in self._rows(
                "totals", _selected(selection)
            )
        ]

    def uses(self, selection: LineSelection) -> Sequence[AccountUse]:
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
                "uses", _selected(selection)
            )
        ]

    def lines(
        self, selection: LineSelection, after: tuple[int, int], limit: int
    ) -> Sequence[JournalLine]:
        """Return selected lines in log order; see ``JournalStore.lines``."""
        page = {"after_position": after[0], "after_line_no": after[1], "limit": limit}
        name = "account_lines" if selection.account else "lines"
        return [_line(row) for row in self._rows(name, {**_selected(selection), **page})]

    def lines_by_effect(
        self, selection: LineSelection, after: tuple[datetime, int, int] | None, limit: int
    ) -> Sequence[JournalLine]:
        """Return selected lines by effective_at; see ``JournalStore.lines_by_effect``."""
        instant, position, line_no = after or (datetime.min.replace(tzinfo=UTC), 0, 0)
        page = {
            "after_effective_at": iso_text(instant),
            "after_position": position,
            "after_line_no": line_no,
            "limit": limit,
        }
        rows = self._rows("lines_by_effect", {**_selected(selection), **page})
        return [_line(row) for row in rows]

    def close(self) -> None:
        """Refuse later calls with Unavailable; the connections are the event store's."""
        self._is_closed = True

    def _check_open(self) -> None:
        if self._is_closed:
            raise Unavailable("the journal lines are closed")

    def _rows(self, name: str, parameters: dict[str, object]) -> list[Any]:
        self._check_open()
        with self._file.reading() as connection:
            return connection.execute(
                _SQL[name], {**parameters, "book_id": self._book_id}
            ).fetchall()

    def _values(self, lines: Sequence[JournalLine]) -> list[tuple[object, ...]]:
        values: list[tuple[object, ...]] = []
        position, effective_at, recorded_at = 0, "", ""
        for line in lines:
            # The lines of an entry share their instants; writing one takes longer than the rest.
            if line.position != position:
                position = line.position
                effective_at, recorded_at = iso_text(line.effective_at), iso_text(line.recorded_at)
            values.append(
                (
                    self._book_id,
                    position,
                    line.line_no,
                    line.account,
                    line.currency,
                    line.layer.value,
                    *_limbs(line.minor),
                    effective_at,
                    recorded_at,
                )
            )
        return values


def _limbs(minor: int) -> tuple[int, int, int]:
    """Split into three limbs of ten digits that all have the sign of the whole."""
    if -_LIMB < minor < _LIMB:
        return (0, 0, minor)
    sign = -1 if minor < 0 else 1
    upper, low = divmod(abs(minor), _LIMB)
    high, mid = divmod(upper, _LIMB)
    return (sign * high, sign * mid, sign * low)


def _joined(high: int, mid: int, low: int) -> int:
    return (high * _LIMB + mid) * _LIMB + low


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
        _joined(high, mid, low),
        datetime.fromisoformat(effective_at),
        datetime.fromisoformat(recorded_at),
    )
