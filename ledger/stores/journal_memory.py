"""
Questions about postings in memory: the executable description of what the databases must answer.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final, cast

from orderledger.ledger.journal import Layer
from orderledger.ledger.model_ports import Generation, Row
from orderledger.ledger.read_ports import (
    POSTINGS,
    AccountSum,
    AccountTotal,
    AccountUse,
    JournalLine,
    LineSelection,
)

from .models_memory import MemoryModels


class MemoryJournal:
    """Questions about postings in memory; see ``read_ports.Journal`` for the contract."""

    def __init__(self, models: MemoryModels) -> None:
        self._models: Final = models

    def totals(self, generation: Generation, selection: LineSelection) -> Sequence[AccountTotal]:
        """Return the sums per (account, currency, layer) in that order."""
        sums: dict[tuple[str, str, Layer], int] = {}
        for line in self._selected(generation, selection):
            key = (line.account, line.currency, line.layer)
            sums[key] = sums.get(key, 0) + line.minor
        return [AccountTotal(*key, sums[key]) for key in sorted(sums)]

    def sums(
        self,
        generation: Generation,
        selection: LineSelection,
        after: tuple[str, str],
        limit: int,
    ) -> Sequence[AccountSum]:
        """Return sums per (account, currency) in that order; see ``Journal.sums``."""
        found: dict[tuple[str, str], tuple[int, datetime]] = {}
        for line in self._selected(generation, selection):
            key = (line.account, line.currency)
            minor, first = found.get(key, (0, line.effective_at))
            found[key] = (minor + line.minor, min(first, line.effective_at))
        return [AccountSum(*key, *found[key]) for key in sorted(found) if key > after][:limit]

    def uses(self, generation: Generation, selection: LineSelection) -> Sequence[AccountUse]:
        """Return one row per account with selected lines, by name."""
        of_account: dict[str, list[JournalLine]] = {}
        for line in self._selected(generation, selection):
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
        self,
        generation: Generation,
        selection: LineSelection,
        after: tuple[int, int],
        limit: int,
    ) -> Sequence[JournalLine]:
        """Return selected lines in log order, after a (position, line_no)."""
        found = [
            line
            for line in self._selected(generation, selection)
            if (line.position, line.line_no) > after
        ]
        return found[:limit]

    def lines_by_effect(
        self,
        generation: Generation,
        selection: LineSelection,
        after: tuple[datetime, int, int] | None,
        limit: int,
    ) -> Sequence[JournalLine]:
        """Return selected lines by (effective_at, position, line_no), after such a key."""
        found = sorted(self._selected(generation, selection), key=_effect)
        return [line for line in found if after is None or _effect(line) > after][:limit]

    def _selected(self, generation: Generation, selection: LineSelection) -> Iterator[JournalLine]:
        for row in self._models.stored(generation, POSTINGS):
            line = _line(row)
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


def _line(row: Row) -> JournalLine:
    position, line_no, account, currency, layer, minor, *instants = cast(tuple[Any, ...], row)
    return JournalLine(position, line_no, account, currency, Layer(layer), minor, *instants)
