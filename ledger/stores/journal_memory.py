"""
Journal lines in memory: the executable description of what the databases must answer.
"""

import threading
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from orderledger.ledger.errors import Unavailable
from orderledger.ledger.journal import Layer
from orderledger.ledger.read_ports import (
    AccountTotal,
    AccountUse,
    Checkpoint,
    JournalLine,
    LineSelection,
)


class MemoryJournal:
    """The journal lines of one book that ends with the process; see ``JournalStore``."""

    def __init__(self) -> None:
        self._lock: Final = threading.Lock()
        self._lines: list[JournalLine] = []
        self._checkpoints: Final[dict[str, Checkpoint]] = {}
        self._is_closed = False

    def checkpoint(self, projection: str) -> Checkpoint | None:
        """Return the checkpoint of a projection, or None before its first batch."""
        self._check_open()
        return self._checkpoints.get(projection)

    def advance(
        self, before: Checkpoint | None, after: Checkpoint, rows: Sequence[JournalLine]
    ) -> bool:
        """Write lines and the checkpoint together; see ``JournalStore.advance``."""
        with self._lock:
            self._check_open()
            if self._checkpoints.get(after.projection) != before:
                return False
            # A new list: readers keep the one they started with.
            self._lines = [*self._lines, *rows]
            self._checkpoints[after.projection] = after
            return True

    def clear(self, projection: str) -> None:
        """Delete every line and the checkpoint."""
        with self._lock:
            self._check_open()
            self._lines = []
            self._checkpoints.pop(projection, None)

    def totals(self, selection: LineSelection) -> Sequence[AccountTotal]:
        """Return the sums per (account, currency, layer) in that order."""
        sums: dict[tuple[str, str, Layer], int] = {}
        for line in self._selected(selection):
            key = (line.account, line.currency, line.layer)
            sums[key] = sums.get(key, 0) + line.minor
        return [AccountTotal(*key, sums[key]) for key in sorted(sums)]

    def uses(self, selection: LineSelection) -> Sequence[AccountUse]:
        """Return one row per account with selected lines, by name."""
        of_account: dict[str, list[JournalLine]] = {}
        for line in self._selected(selection):
            of_account.setdefault(line.account, []).append(line)
        return [
            AccountUse(
                account,
                len(lines),
                min(line.effective_at for line in lines),
                max(line.effective_at for line in lines),
                lines[0].position,
                lines[-1].position,
            )
            for account, lines in sorted(of_account.items())
        ]

    def lines(
        self, selection: LineSelection, after: tuple[int, int], limit: int
    ) -> Sequence[JournalLine]:
        """Return selected lines in log order, after a (position, line_no)."""
        found = [
            line for line in self._selected(selection) if (line.position, line.line_no) > after
        ]
        return found[:limit]

    def lines_by_effect(
        self, selection: LineSelection, after: tuple[datetime, int, int] | None, limit: int
    ) -> Sequence[JournalLine]:
        """Return selected lines by (effective_at, position, line_no), after such a key."""
        found = sorted(self._selected(selection), key=_effect)
        return [line for line in found if after is None or _effect(line) > after][:limit]

    def close(self) -> None:
        """Refuse later calls with Unavailable."""
        self._is_closed = True

    def _check_open(self) -> None:
        if self._is_closed:
            raise Unavailable("the journal in memory is closed")

    def _selected(self, selection: LineSelection) -> Iterator[JournalLine]:
        self._check_open()
        for line in self._lines:
            if (
                line.position <= selection.until
                and selection.account in ("", line.account)
                and selection.currency in ("", line.currency)
                and selection.layer in (None, line.layer)
                and _is_below(line.account, selection.below)
                and _is_within(line.effective_at, selection)
            ):
                yield line


def _is_below(account: str, prefix: str) -> bool:
    return not prefix or account == prefix or account.startswith(f"{prefix}:")


def _is_within(instant: datetime, selection: LineSelection) -> bool:
    low, high = selection.effective_from, selection.effective_to
    return (low is None or low <= instant) and (high is None or instant <= high)


def _effect(line: JournalLine) -> tuple[datetime, int, int]:
    return (line.effective_at, line.position, line.line_no)
