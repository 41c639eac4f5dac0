"""
The read models of a book as it was, begun at snapshots: what changed since is kept beside them.
"""

import heapq
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from ..ids import utc_now
from ..model_ports import Generation, Key, Row, Table, TableChanges, Value
from ..snapshot_ports import RowSnapshots, SavedRows
from .model_tables import columns_of, rows_differ
from .models_memory import MemoryModels

_Place = tuple[str, int]


class SavedModels(MemoryModels):
    """
    Read models in memory that begin where a snapshot ends; see ``ModelStore`` for the contract.

    ``create`` returns a generation at the position of the last snapshot at or before ``until``, if
    there is one; its rows are read as they are asked for. With ``skipped`` it leaves out these
    positions, whatever had been acknowledged by then.
    """

    def __init__(
        self,
        saved: RowSnapshots,
        until: int,
        skipped: Sequence[int] | None = None,
        *,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        super().__init__(clock=clock)
        self._skipped: Final = skipped
        self._saved: Final = saved
        self._until: Final = until
        self._bases: Final[dict[_Place, SavedRows]] = {}
        self._tables: Final[dict[_Place, tuple[Table, ...]]] = {}
        self._gone: Final[dict[_Place, dict[str, set[Key]]]] = {}

    def create(
        self,
        model: str,
        version: int,
        fingerprint: str,
        tables: Sequence[Table],
        skipped: Sequence[int] = (),
    ) -> Generation:
        skipped = skipped if self._skipped is None else self._skipped
        made = super().create(model, version, fingerprint, tables, skipped)
        base = self._saved.nearest_rows(model, fingerprint, skipped, self._until)
        if base is None:
            return made
        begun = msgspec.structs.replace(
            made, position=base.position, leaf_hash=base.leaf_hash, digest=base.digest
        )
        place = (model, made.number)
        with self._lock:
            self._generations[place] = begun
            self._bases[place] = base
            self._tables[place] = tuple(tables)
            self._gone[place] = {table.name: set() for table in tables}
        return begun

    def changes(
        self, generation: Generation
    ) -> tuple[SavedRows | None, Mapping[str, tuple[Mapping[Key, Row], set[Key]]]]:
        """Return the snapshot that a generation began at, and by table its rows and keys since."""
        place = (generation.model, generation.number)
        with self._lock:
            gone = self._gone.get(place, {})
            rows = self._rows[place]
            return self._bases.get(place), {
                name: (of_table, gone.get(name, set())) for name, of_table in rows.items()
            }

    def fetch(self, generation: Generation, table: Table, keys: Sequence[Key]) -> Mapping[Key, Row]:
        place = (generation.model, generation.number)
        with self._lock:
            found = dict(super().fetch(generation, table, keys))
            base = self._bases.get(place)
            if base is not None:
                gone = self._gone[place][table.name]
                rest = [key for key in keys if key not in found and key not in gone]
                found.update(base.fetch(table, rest))
            return found

    def stored(self, generation: Generation, table: str) -> Sequence[Row]:
        place = (generation.model, generation.number)
        if place not in self._bases:
            return super().stored(generation, table)
        with self._lock:
            self._table(generation, table)
            (found,) = [one for one in self._tables[place] if one.name == table]
            return list(self._merged(generation, found, None))

    def page(
        self, generation: Generation, table: Table, after: Key | None, limit: int
    ) -> Sequence[Row]:
        if (generation.model, generation.number) not in self._bases:
            return super().page(generation, table, after, limit)
        with self._lock:
            self._table(generation, table.name)
            return list(itertools.islice(self._merged(generation, table, after), limit))

    def find(
        self,
        generation: Generation,
        table: Table,
        where: Mapping[str, Value],
        after: Key | None,
        limit: int,
    ) -> Sequence[Row]:
        """Return rows like ``page``; where the beginning of the key is given, only those."""
        if (generation.model, generation.number) not in self._bases:
            return super().find(generation, table, where, after, limit)
        columns_of(table, where)
        at = {column.name: number for number, column in enumerate(table.columns)}
        found: list[Row] = []
        for row in self._beginning(generation, table, where, after):
            if all(row[at[name]] == value for name, value in where.items()):
                found.append(row)
                if len(found) == limit:
                    break
        return found

    def _beginning(
        self, generation: Generation, table: Table, where: Mapping[str, Value], after: Key | None
    ) -> Iterator[Row]:
        """Iterate over the rows after a key that have the key columns wanted, as far as given."""
        names = itertools.takewhile(where.__contains__, table.key_names)
        prefix: Any = tuple([where[name] for name in names])
        if None in prefix:
            return
        if len(prefix) == table.key_count:
            if after is None or _is_later(prefix, after):
                yield from self.fetch(generation, table, (prefix,)).values()
            return
        start = after
        if prefix and (after is None or _is_later(prefix, after)):
            # Shorter than any key that begins with it, and so before all of them.
            start = prefix
        with self._lock:
            self._table(generation, table.name)
            for row in self._merged(generation, table, start):
                if row[: len(prefix)] != prefix:
                    return
                yield row

    def _merged(self, generation: Generation, table: Table, after: Key | None) -> Iterator[Row]:
        place = (generation.model, generation.number)
        own, gone = self._rows[place][table.name], self._gone[place][table.name]
        keys: list[Any] = sorted(own)
        newer = [own[key] for key in keys if after is None or _is_later(key, after)]
        older = (
            row
            for row in self._bases[place].rows(table, after)
            if (key := table.key_of(row)) not in own and key not in gone
        )
        return heapq.merge(newer, older, key=table.key_of)

    def _write(self, generation: Generation, table: Table, changes: TableChanges) -> None:
        place = (generation.model, generation.number)
        if place not in self._bases:
            super()._write(generation, table, changes)
            return
        inserted = [table.key_of(row) for row in changes.inserted]
        present = [*map(table.key_of, changes.updated), *changes.deleted]
        if self.fetch(generation, table, inserted) or len(
            self.fetch(generation, table, present)
        ) < len(set(present)):
            raise rows_differ(generation, table)
        own, gone = self._table(generation, table.name), self._gone[place][table.name]
        for row in (*changes.inserted, *changes.updated):
            own[table.key_of(row)] = row
        for key in changes.deleted:
            own.pop(key, None)
            gone.add(key)


def _is_later(key: Any, after: Any) -> bool:
    is_later: bool = key > after
    return is_later
